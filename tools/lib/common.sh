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

# Processes of a session and all that they started, one a line. Not those of a process group alone: timeout makes one of its own,
# and steps have sessions of their own.
session_pids() {
  local stat line pid more=yes
  local -a fields
  local -A parent=() chosen=()
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    read -r -a fields <<<"${line##*) }"
    [ "${fields[0]}" != Z ] || continue
    pid=${line%% *}
    parent[$pid]=${fields[1]}
    [ "${fields[3]}" != "$1" ] || chosen[$pid]=yes
  done
  while [ -n "$more" ]; do
    more=
    for pid in "${!parent[@]}"; do
      if [ -z "${chosen[$pid]:-}" ] && [ -n "${chosen[${parent[$pid]}]:-}" ]; then
        chosen[$pid]=yes more=yes
      fi
    done
  done
  [ ${#chosen[@]} = 0 ] || printf '%s\n' "${!chosen[@]}"
}

# end_session ID [SECONDS]: ends all processes of a session and what they started, with force those that are still there after
# SECONDS.
end_session() {
  local pid told='' end=$((SECONDS + ${2:-5}))
  local -a pids=() there
  while :; do
    # Those that were there before too: what lost its parent belongs to nobody.
    there=()
    for pid in $(session_pids "$1") "${pids[@]}"; do
      if kill -0 "$pid" 2>/dev/null; then
        there+=("$pid")
      fi
    done
    pids=("${there[@]}")
    [ ${#pids[@]} -gt 0 ] || return 0
    if [ -z "$told" ]; then
      kill -TERM "${pids[@]}" 2>/dev/null || true
      told=yes
    elif [ "$SECONDS" -ge "$end" ]; then
      kill -KILL "${pids[@]}" 2>/dev/null || true
      return 0
    fi
    sleep 0.1
  done
}

# end_sessions ID...: at once, and waits for that alone: a step may run that is ended after these.
end_sessions() {
  local pid
  local -a enders=()
  for pid in "$@"; do
    end_session "$pid" &
    enders+=($!)
  done
  [ ${#enders[@]} = 0 ] || wait "${enders[@]}"
}
