dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_PKCS11: p11-kit, which brings the headers of PKCS#11 and reads its URIs; optional. Sets the macro and the
dnl conditional HAVE_PKCS11, P11_KIT_CFLAGS and P11_KIT_LIBS.
AC_DEFUN([KMS_PKCS11],[
  AC_ARG_WITH([pkcs11],
    [AS_HELP_STRING([--with-pkcs11],[keys in HSMs by PKCS#11 @<:@default: where p11-kit is installed@:>@])],
    [],[with_pkcs11=check])
  have_pkcs11=no
  AS_IF([test "x$with_pkcs11" != xno],[
    PKG_CHECK_MODULES([P11_KIT],[p11-kit-1 >= 0.23],[have_pkcs11=yes],[:])
    AS_IF([test "x$have_pkcs11" = xno && test "x$with_pkcs11" = xyes],
      [AC_MSG_ERROR([p11-kit is missing (libp11-kit-dev, p11-kit-devel)])])
  ])
  AS_IF([test "x$have_pkcs11" = xyes],
    [AC_DEFINE([HAVE_PKCS11],[1],[Define when p11-kit is there.])])
  AM_CONDITIONAL([HAVE_PKCS11],[test "x$have_pkcs11" = xyes])
])
