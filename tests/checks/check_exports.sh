#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mod_kms.so must export its module record and nothing else; libkms.so nothing outside of namespace kms.
set -eu
module=mod_kms/.libs/mod_kms.so
library=libkms/.libs/libkms.so
exported=$(nm -D --defined-only "$module" | awk '{print $3}' | grep -v '^_init$\|^_fini$\|^__gcov\|^__asan\|^__odr_asan\|^__ubsan\|^__sanitizer' || :)
if [ "$exported" != kms_module ]; then
  echo "$module exports: $exported"
  exit 1
fi
count=$(nm -DC --defined-only "$library" | grep -c 'kms::' || :)
[ "$count" -gt 0 ] || { echo "$library exports nothing"; exit 1; }
foreign=$(nm -DC --defined-only "$library" | grep -v 'kms::\|KMS_0\| _init\| _fini\|__gcov\|__asan\|__odr_asan\|__ubsan\|__sanitizer' || :)
if [ -n "$foreign" ]; then
  echo "$library exports beside kms::"
  echo "$foreign"
  exit 1
fi
soname=$(objdump -p "$library" | awk '$1 == "SONAME" {print $2}')
case $soname in
  libkms.so.[0-9]*) ;;
  *) echo "$library has no versioned soname: $soname"; exit 1 ;;
esac
echo "exports: $module 1, $library $count, soname $soname"
