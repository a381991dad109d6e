dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_CXX20: the flag for C++20, as far as GCC 11 has it.
AC_DEFUN([KMS_CXX20],[
  AC_CACHE_CHECK([for the flag of C++20],[kms_cv_cxx20],[
    kms_cv_cxx20=no
    kms_save_CXXFLAGS=$CXXFLAGS
    for flag in -std=gnu++20 -std=gnu++2a; do
      CXXFLAGS="$kms_save_CXXFLAGS $flag"
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <span>
#include <unordered_map>
#if __cplusplus < 202000L
#error no C++20
#endif]],[[int a[2] = {}; return std::span<int>(a).size() == 2 ? 0 : 1;]])],
        [kms_cv_cxx20=$flag; break])
    done
    CXXFLAGS=$kms_save_CXXFLAGS])
  AS_IF([test "x$kms_cv_cxx20" = xno],[AC_MSG_ERROR([the C++ compiler has no C++20 (GCC 11 or later is needed)])])
  AC_SUBST([CXX20_FLAG],[$kms_cv_cxx20])
])
