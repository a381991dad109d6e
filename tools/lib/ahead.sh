# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Work of later stages that goes on below what runs now, with the lowest priority. Needs common.sh.

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
  end_sessions "${ahead_pids[@]}"
  ahead_pids=()
}
