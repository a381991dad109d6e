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

# Process group of the step that runs now; the signal handlers of a tool end it by end_step.
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
  kill -TERM -- "-$step_pid" 2>/dev/null || kill -TERM "$step_pid" 2>/dev/null || return 0
  local i
  for ((i = 0; i < 50; i++)); do
    kill -0 -- "-$step_pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL -- "-$step_pid" 2>/dev/null || true
  wait "$step_pid" 2>/dev/null || true
  step_pid=
}
