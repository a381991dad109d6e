#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two servers on one keystore and one that limits calls, started as a user would, and the tests of the real Java client
# against them.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
# shellcheck source=demo.sh
. "$here/demo.sh"

area=$(mktemp -d "${TMPDIR:-/tmp}/kms-interop.XXXXXX")
servers=()
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  trap '' TERM INT HUP
  end_step
  [ ${#servers[@]} = 0 ] || kill -TERM "${servers[@]}" 2>/dev/null || true
  wait || true
  rm -rf "$area"
}
trap clean_up EXIT
trap 'exit 130' TERM INT HUP

free_port() {
  PYTHONPATH=$top/tests/integration "${PYTHON3:-python3}" -c 'import harness; print(harness.free_port())'
}

# serve NAME [OPTION...]: starts a server and sets url to where it answers.
serve() {
  local out=$area/$1.out i
  : >"$out"
  "$top/tools/quickstart" --no-install --conf "$area/conf" --port "$(free_port)" --log-dir "$area/$1" \
    --directive 'KMSKeystoreIterations 10000' "${@:2}" >"$out" &
  servers+=($!)
  for ((i = 0; i < 600; i++)); do
    url=$(sed -n 's/^KMS ready //p' "$out")
    [ -z "$url" ] || return 0
    kill -0 "${servers[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  die "the server $1 did not start"
}

write_demo_conf "$area/conf"
sed -i "s|</configuration>|$(demo_property hadoop.kms.proxyuser.gateway.users '*')\n$(
  demo_property hadoop.kms.proxyuser.gateway.hosts '*')\n</configuration>|" "$area/conf/kms-site.xml"
serve first
first=$url
serve second
second=$url
serve limited --directive 'KMSRateLimit user decrypt 20/minute burst=3'
rc=0
run_step "$top/tests/interop/run" --url "$first" --url2 "$second" --limited-url "$url" --conf "$area/conf" --proxy-user gateway "$@" || rc=$?
if [ "$rc" != 0 ]; then
  tail -n 40 "$area"/*/error_log || true
fi
exit "$rc"
