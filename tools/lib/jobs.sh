# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # these files share variables
# Jobs side by side, so many at a time. What a job prints is kept and shown whole when it ends, as two that speak at once
# cannot be read. Needs common.sh.

job_names=()
job_pids=()
jobs_rc=0

# jobs_begin DIR COUNT: where output goes, and how many run at a time.
jobs_begin() {
  jobs_dir=$1 jobs_most=$2
  mkdir -p "$jobs_dir"
  jobs_start=$SECONDS
}

# job NAME COMMAND...: waits until there is room, then starts it, in a session of its own.
job() {
  local name=$1
  shift
  while [ ${#job_names[@]} -ge "$jobs_most" ]; do jobs_reap; done
  # shellcheck disable=SC2016 # for the inner shell
  setsid bash -c 'rc=0; start=$SECONDS; "${@:2}" >"$1.out" 2>&1 </dev/null || rc=$?; echo "$rc $((SECONDS - start))" >"$1.rc"' \
    bash "$jobs_dir/$name" "$@" &
  job_names+=("$name")
  job_pids+=($!)
}

# Waits for one job at least, and shows what ended. By the files of results: bash 4 does not say which one it waited for.
jobs_reap() {
  local i rc seconds names=() pids=() ended=
  wait -n "${job_pids[@]}" 2>/dev/null || true
  for i in "${!job_names[@]}"; do
    if kill -0 "${job_pids[i]}" 2>/dev/null; then
      names+=("${job_names[i]}")
      pids+=("${job_pids[i]}")
      continue
    fi
    ended=yes rc=1 seconds='?'
    # Without a result it was killed.
    read -r rc seconds 2>/dev/null <"$jobs_dir/${job_names[i]}.rc" || true
    printf -- '-- %s: exit status %s after %s s, at %s s\n' "${job_names[i]}" "$rc" "$seconds" $((SECONDS - jobs_start))
    cat "$jobs_dir/${job_names[i]}.out" || true
    # Not every program ends its last line.
    [ -z "$(tail -c 1 "$jobs_dir/${job_names[i]}.out")" ] || echo
    [ "$rc" = 0 ] || jobs_rc=$rc
  done
  [ -n "$ended" ] || sleep 0.1
  job_names=("${names[@]}")
  job_pids=("${pids[@]}")
}

# Waits for all; the exit status is that of one that failed.
jobs_end() {
  while [ ${#job_names[@]} -gt 0 ]; do jobs_reap; done
  return "$jobs_rc"
}

# For signal handlers: ends the jobs with all that they started.
jobs_kill() {
  end_sessions "${job_pids[@]}"
  job_names=()
  job_pids=()
}
