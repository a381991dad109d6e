dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_SANITIZERS: --enable-sanitizers builds everything with ASan and UBSan; =thread with TSan.
AC_DEFUN([KMS_SANITIZERS],[
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers@<:@=thread@:>@],[build with ASan and UBSan, or with TSan])],
    [],[enable_sanitizers=no])
  SANITIZER_FLAGS=
  AS_CASE([$enable_sanitizers],
    [yes],[SANITIZER_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"],
    [thread],[SANITIZER_FLAGS="-fsanitize=thread -fno-omit-frame-pointer"],
    [no],[],
    [AC_MSG_ERROR([--enable-sanitizers takes yes, no or thread])])
  AC_SUBST([SANITIZER_FLAGS])
])

dnl KMS_FUZZING: --enable-fuzzing builds the fuzz targets with libFuzzer (clang only). Without it the same
dnl targets are built with a driver that replays the corpus, for make check.
AC_DEFUN([KMS_FUZZING],[
  AC_ARG_ENABLE([fuzzing],[AS_HELP_STRING([--enable-fuzzing],[build the fuzz targets for libFuzzer (clang)])],
    [],[enable_fuzzing=no])
  FUZZER_FLAGS=
  AS_IF([test "x$enable_fuzzing" = xyes],[
    AS_CASE([`$CXX --version`],[*clang*],[],[AC_MSG_ERROR([--enable-fuzzing needs clang: CC=clang CXX=clang++])])
    FUZZER_FLAGS="-fsanitize=fuzzer"
    SANITIZER_FLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer"])
  AM_CONDITIONAL([FUZZING],[test "x$enable_fuzzing" = xyes])
  AC_SUBST([FUZZER_FLAGS])
])

dnl KMS_COVERAGE: --enable-coverage instruments for gcov (gcovr or lcov read what make check leaves).
AC_DEFUN([KMS_COVERAGE],[
  AC_ARG_ENABLE([coverage],[AS_HELP_STRING([--enable-coverage],[instrument for gcov])],[],[enable_coverage=no])
  COVERAGE_FLAGS=
  AS_IF([test "x$enable_coverage" = xyes],[COVERAGE_FLAGS="--coverage -O0"])
  AM_CONDITIONAL([COVERAGE],[test "x$enable_coverage" = xyes])
  AC_SUBST([COVERAGE_FLAGS])
])
