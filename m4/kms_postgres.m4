dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_POSTGRES: libpq, which is optional. Sets the conditional HAVE_POSTGRES, LIBPQ_CFLAGS and LIBPQ_LIBS.
AC_DEFUN([KMS_POSTGRES],[
  AC_ARG_WITH([postgres],
    [AS_HELP_STRING([--with-postgres],[keys in PostgreSQL, trustee:// @<:@default: where libpq is installed@:>@])],
    [],[with_postgres=check])
  have_postgres=no
  AS_IF([test "x$with_postgres" != xno],[
    PKG_CHECK_MODULES([LIBPQ],[libpq >= 13],[have_postgres=yes],[have_postgres=no])
    AS_IF([test "x$have_postgres" = xno && test "x$with_postgres" = xyes],
      [AC_MSG_ERROR([libpq is missing (libpq-dev, libpq-devel, postgresql-devel)])])
  ])
  AM_CONDITIONAL([HAVE_POSTGRES],[test "x$have_postgres" = xyes])
])
