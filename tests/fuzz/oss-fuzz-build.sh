#!/bin/bash -eu
# SPDX-License-Identifier: Apache-2.0
# Builds every fuzz target as OSS-Fuzz wants it. From the environment: CC CXX CFLAGS CXXFLAGS
# LIB_FUZZING_ENGINE OUT. Run in a source tree with a configure script; builds in a folder of its own.
#
# To try it without OSS-Fuzz:
#   flags='-O1 -g -fsanitize=fuzzer-no-link,address,undefined'
#   CC=clang CXX=clang++ CFLAGS="$flags" CXXFLAGS="$flags" LIB_FUZZING_ENGINE=-fsanitize=fuzzer \
#     OUT=/tmp/out tests/fuzz/oss-fuzz-build.sh
: "${CC:?}" "${CXX:?}" "${CFLAGS?}" "${CXXFLAGS?}" "${LIB_FUZZING_ENGINE:?}" "${OUT:?}"

source=$(cd "$(dirname "$0")/../.." && pwd)
build=${WORK:-$(mktemp -d)}/kms-fuzz-build
mkdir -p "$build" "$OUT"
cd "$build"

[ -x "$source/configure" ] || (cd "$source" && autoreconf -fi)
"$source/configure" --quiet --disable-shared --enable-static
make -j"$(nproc)" libkms/libkmscore.la mod_kms/librest.la

# The machine that runs the targets has no libraries of ours: static ones are taken where they are.
libraries=
for name in crypto jansson expat unistring pcre2-8 krb5; do
  static=$("$CC" -print-file-name="lib$name.a")
  case $static in
    /*) libraries="$libraries $static" ;;
    *) libraries="$libraries -l$name" ;;
  esac
done

for target in "$source"/tests/fuzz/fuzz_*.cpp; do
  program=$(basename "$target" .cpp)
  # CXXFLAGS, LIB_FUZZING_ENGINE and the list of libraries are lists of words.
  # shellcheck disable=SC2086
  "$CXX" $CXXFLAGS -std=gnu++20 -I"$source/libkms" -I"$source/mod_kms" "$target" -o "$OUT/$program" \
    mod_kms/.libs/librest.a libkms/.libs/libkmscore.a $LIB_FUZZING_ENGINE $libraries -ldl -lpthread
  corpus=$source/tests/fuzz/corpus/${program#fuzz_}
  (cd "$corpus" && python3 -m zipfile -c "$OUT/${program}_seed_corpus.zip" ./*)
  echo "built $program"
done
