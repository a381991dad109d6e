dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_APXS: finds apxs, and from it httpd, its headers and its module folder. Debian calls the pair
dnl apxs/apache2 (older: apxs2), RHEL apxs/httpd, SUSE apxs2 or apxs2-event / httpd.
AC_DEFUN([KMS_APXS],[
  AC_ARG_WITH([apxs],[AS_HELP_STRING([--with-apxs=PATH],[apxs of the httpd to build for])],
    [],[with_apxs=yes])
  AS_CASE([$with_apxs],
    [yes],[AC_PATH_PROGS([APXS],[apxs apxs2 apxs2-event apxs2-prefork],[],
             [$PATH:/usr/sbin:/usr/local/apache2/bin:/usr/local/sbin])],
    [no],[AC_MSG_ERROR([mod_kms needs apxs])],
    [APXS=$with_apxs])
  AS_IF([test -z "$APXS"],
    [AC_MSG_ERROR([apxs was not found: install apache2-dev (Debian), httpd-devel (RHEL) or apache2-devel (SUSE), or give --with-apxs=PATH])])
  AS_IF([test ! -x "$APXS"],[AC_MSG_ERROR([$APXS is not a program])])
  AC_SUBST([APXS])

  kms_apxs() { "$APXS" -q "$[]1" 2>/dev/null; }
  APXS_INCLUDEDIR=`kms_apxs INCLUDEDIR`
  APXS_LIBEXECDIR=`kms_apxs LIBEXECDIR`
  APXS_SBINDIR=`kms_apxs SBINDIR`
  kms_progname=`kms_apxs PROGNAME`
  test -n "$kms_progname" || kms_progname=`kms_apxs progname`
  test -n "$kms_progname" || kms_progname=httpd
  AC_PATH_PROGS([HTTPD],[$kms_progname httpd apache2],[$APXS_SBINDIR/$kms_progname],
    [$APXS_SBINDIR:/usr/sbin:/usr/local/sbin:$PATH])
  HTTPD_VERSION=`"$HTTPD" -v 2>/dev/null | $SED -n 's|^Server version: *||p'`
  APR_CONFIG=`kms_apxs APR_CONFIG`
  AS_IF([test ! -x "$APR_CONFIG"],[AC_PATH_PROGS([APR_CONFIG],[apr-1-config])])
  AS_IF([test ! -x "$APR_CONFIG"],[AC_MSG_ERROR([apr-1-config was not found])])
  APU_CONFIG=`kms_apxs APU_CONFIG`
  AS_IF([test ! -x "$APU_CONFIG"],[AC_PATH_PROGS([APU_CONFIG],[apu-1-config])])
  HTTPD_CPPFLAGS="-I$APXS_INCLUDEDIR `$APR_CONFIG --includes --cppflags`"
  test -x "$APU_CONFIG" && HTTPD_CPPFLAGS="$HTTPD_CPPFLAGS `$APU_CONFIG --includes`"

  kms_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $HTTPD_CPPFLAGS"
  AC_CHECK_HEADER([httpd.h],[],[AC_MSG_ERROR([httpd.h was not found in $APXS_INCLUDEDIR])],[
/* httpd's headers have its own, and a second definition is an error under -Werror. */
#undef PACKAGE_NAME
#undef PACKAGE_STRING
#undef PACKAGE_TARNAME
#undef PACKAGE_VERSION
#undef PACKAGE_BUGREPORT
#undef PACKAGE_URL
#include <apr.h>])
  CPPFLAGS=$kms_save_CPPFLAGS

  AC_ARG_WITH([moduledir],[AS_HELP_STRING([--with-moduledir=DIR],[where mod_kms.so goes @<:@from apxs@:>@])],
    [kms_moduledir=$withval],[kms_moduledir=$APXS_LIBEXECDIR])
  AC_SUBST([moduledir],[$kms_moduledir])
  AC_SUBST([HTTPD_CPPFLAGS])
  AC_SUBST([HTTPD])
  AC_SUBST([APXS_LIBEXECDIR])
])
