# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# What every tool here needs: where the tree is, how to speak, how to run something that a signal can end.

tools_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this
top=$(cd "$tools_lib/../.." && pwd)
build_dir=${KMS_BUILD_DIR:-$top/build}
tool_name=${0##*/}

# Progress and mistakes go to stderr: stdout is kept for what a caller parses.
say() { printf '%s: %s\n' "$tool_name" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" = 0 ]; }

# Session of the step that runs now; the signal handlers of a tool end it by end_step.
step_pid=

# Runs a command in a session of its own and waits for it. bash handles a signal only between two commands of its own,
# so a step in the foreground would delay SIGTERM until a whole build is over.
run_step() {
  setsid "$@" &
  step_pid=$!
  local rc=0
  wait "$step_pid" || rc=$?
  step_pid=
  return "$rc"
}

end_step() {
  [ -n "$step_pid" ] || return 0
  end_session "$step_pid" 10
  wait "$step_pid" 2>/dev/null || true
  step_pid=
}

# Processes of a session, one a line. Not those of a process group alone: timeout makes one of its own.
session_pids() {
  local stat line
  local -a fields
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    read -r -a fields <<<"${line##*) }"
    if [ "${fields[3]}" = "$1" ] && [ "${fields[0]}" != Z ]; then
      echo "${line%% *}"
    fi
  done
}

# end_session ID [SECONDS]: ends all processes of a session, with force those that are still there after SECONDS.
end_session() {
  local i
  local -a pids
  mapfile -t pids < <(session_pids "$1")
  for ((i = 0; ${#pids[@]} > 0; i++)); do
    if [ "$i" = 0 ]; then
      kill -TERM "${pids[@]}" 2>/dev/null || true
    elif [ "$i" = $((${2:-5} * 10)) ]; then
      kill -KILL "${pids[@]}" 2>/dev/null || true
      return 0
    fi
    sleep 0.1
    mapfile -t pids < <(session_pids "$1")
  done
}
