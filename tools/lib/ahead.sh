# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Work of later stages that goes on below the stages that run, which wait most of their time: with the lowest priority, so that
# tests that look at the clock do not notice. Needs common.sh.

declare -A ahead_pids=()

# ahead NAME LOG COMMAND...: in a session of its own. Its priority is that of the session, where the kernel shares the
# processors between sessions (autogroup), and that of the process elsewhere.
ahead() {
  local name=$1 log=$2
  shift 2
  # shellcheck disable=SC2016 # for the inner shell
  setsid bash -c 'echo 19 >/proc/self/autogroup || true; exec nice -n 19 "$@"' bash "$@" >"$log" 2>&1 </dev/null &
  ahead_pids[$name]=$!
}

# await NAME: waits until it has ended, with the usual priority from now on; its exit status, 0 when it was never begun.
await() {
  local pid=${ahead_pids[$1]:-} rc=0
  [ -n "$pid" ] || return 0
  { echo 0 >"/proc/$pid/autogroup"; } 2>/dev/null || true
  wait "$pid" || rc=$?
  unset "ahead_pids[$1]"
  return "$rc"
}

# For signal handlers.
end_ahead() {
  local pid
  local -a enders=()
  for pid in "${ahead_pids[@]}"; do
    end_session "$pid" &
    enders+=($!)
  done
  # Not for all: a step may run that is ended after these.
  [ ${#enders[@]} = 0 ] || wait "${enders[@]}"
  ahead_pids=()
}
