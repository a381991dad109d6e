#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the release's source with ASan and UBSan, unit tests included: what the tarball lacks shows here.
# usage: sanitizer_tree.sh DIR FLAGS TEST-FLAGS; the source goes to DIR/source. Needs a build tree that is configured.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
# shellcheck source=build.sh
. "$here/build.sh"
trap end_step EXIT
trap 'exit 130' TERM INT HUP

mkdir -p "$1"
dir=$(cd "$1" && pwd) flags=$2 test_flags=$3
source=$dir/source
# One that was made from other source is of no use.
if ! grep -qsx "abs_top_srcdir = $source" "$dir/Makefile"; then
  rm -rf "$dir"
  mkdir -p "$dir"
fi
# Of files that did not change the ones that are there stay, with their dates. What did change is of now: it may have been edited
# while its copy was compiled.
run_step make -s -C "$build_dir" distdir "distdir=$dir/fresh" "top_distdir=$dir/fresh"
if [ -d "$source" ]; then
  now=$(date +%s)
  while read -r -d '' file; do
    if cmp -s "$source/$file" "$dir/fresh/$file"; then
      touch -r "$source/$file" "$dir/fresh/$file"
    else
      touch -d "@$now" "$dir/fresh/$file"
    fi
  done < <(cd "$dir/fresh" && find . -type f -print0)
  rm -rf "$source"
fi
mv "$dir/fresh" "$source"
if [ ! -e "$dir/Makefile" ]; then
  pick_compiler
  run_step env -C "$dir" "$source/configure" --enable-sanitizers
fi
run_step make -s -C "$dir" Makefile
headers=$(precompile "$dir" all "$flags")
run_step make -C "$dir" -j"$(nproc)" CXXFLAGS="$flags $headers"
headers=$(precompile "$dir" tests "$test_flags")
run_step make -C "$dir" -j"$(nproc)" check TESTS= CXXFLAGS="$test_flags $headers"
