#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The interop stage of tools/check: the programs of tests/interop, side by side, as each waits more than it works.
# usage: interop_stage.sh [--prepare]     --prepare: only fetches and compiles what they share
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
# shellcheck source=jobs.sh
. "$here/jobs.sh"

interop=$top/tests/interop
target=$interop/target
python=${PYTHON3:-python3}
export KMS_BUILD_DIR=$build_dir
# Programs that live for seconds spend more on the second compiler than they gain.
export MAVEN_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${MAVEN_OPTS:-}"

# shellcheck disable=SC2317 # called by the trap
clean_up() {
  trap '' TERM INT HUP
  jobs_kill
  end_step
}
trap clean_up EXIT
trap 'exit 130' TERM INT HUP

# What would be done twice at the same time: the Java classes, what Maven downloads, programs of unit tests.
prepare() {
  run_step "$interop/classpath" >/dev/null
  # A class whose tests are all left out without servers.
  run_step mvn -B -ntp -q -f "$interop/pom.xml" test -Dtest=TlsClientTest
  run_step "$python" "$interop/run-postgres" --fetch
}

programs() {
  local name
  local -a wanted=()
  for name in zookeeper zookeeper_faults trustee_store trustee_rows trustee_states; do
    if grep -q "^tests_unit_test_${name}_OBJECTS" "$build_dir/Makefile"; then
      wanted+=("tests/unit/test_$name")
    fi
  done
  run_step make -s -C "$build_dir" -j"$(nproc)" "${wanted[@]}"
}

# beside NAME COMMAND...: as job does, with folders of its own for what the Java tests write.
beside() { job "$1" env "KMS_INTEROP_JOB=$1" "${@:2}"; }

prepare
if [ "${1:-}" = --prepare ]; then
  exit
fi
programs
rm -rf "$target/surefire-reports" "$target/jobs" "$target/scratch"
jobs_begin "$target/jobs" "$(nproc)"
# The long ones first. Those with ZooKeeper, whose sessions end after seconds, one after the other. Classes that need servers which
# "run" does not bring have programs of their own.
beside zookeeper "$interop/run-zookeeper"
beside postgres-oldest "$python" "$interop/run-postgres" oldest
beside postgres-newest "$python" "$interop/run-postgres" newest
beside keystore "$here/interop_java.sh" --test '!Tls*Test,!HighAvailabilityTest,!Kerberos*Test,!Hsm*Test,!ZooKeeper*Test'
beside trustee "$python" "$interop/run-trustee"
beside hsm "$python" "$interop/run-hsm"
beside ha "$python" "$interop/run-ha"
beside kerberos "$python" "$interop/run-kerberos"
beside metrics "$python" "$interop/run-metrics"
jobs_end
