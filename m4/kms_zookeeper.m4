dnl SPDX-License-Identifier: Apache-2.0
dnl KMS_ZOOKEEPER: the C client of ZooKeeper, which is optional. Sets the macro and the conditional HAVE_ZOOKEEPER,
dnl ZOOKEEPER_LIBS, and ZOOKEEPER_CPPFLAGS, which say by HAVE_ZOOKEEPER_SASL and HAVE_ZOOKEEPER_SSL what the client was
dnl built with.
AC_DEFUN([KMS_ZOOKEEPER],[
  AC_ARG_WITH([zookeeper],
    [AS_HELP_STRING([--with-zookeeper],[share cookie secrets and tokens through ZooKeeper @<:@default: where its C client is installed@:>@])],
    [],[with_zookeeper=check])
  have_zookeeper=no
  AS_IF([test "x$with_zookeeper" != xno],[
    AC_CHECK_HEADER([zookeeper/zookeeper.h],
      [AC_CHECK_LIB([zookeeper_mt],[zoo_awget],[have_zookeeper=yes])],[],[#define THREADED])
    AS_IF([test "x$have_zookeeper" = xno && test "x$with_zookeeper" = xyes],
      [AC_MSG_ERROR([the C client of ZooKeeper is missing (libzookeeper-mt-dev)])])
  ])
  AS_IF([test "x$have_zookeeper" = xyes],[
    AC_DEFINE([HAVE_ZOOKEEPER],[1],[Define when the C client of ZooKeeper is there.])
    AC_SUBST([ZOOKEEPER_LIBS],[-lzookeeper_mt])
    # The header shows these functions only to who says how the library was built.
    have_zookeeper_sasl=no have_zookeeper_ssl=no
    AC_CHECK_LIB([zookeeper_mt],[zookeeper_init_sasl],
      [AC_CHECK_HEADER([sasl/sasl.h],
        [AC_CHECK_LIB([sasl2],[sasl_client_init],
          [PKG_CHECK_MODULES([GSSAPI],[krb5-gssapi],[have_zookeeper_sasl=yes],[:])])])])
    AC_CHECK_LIB([zookeeper_mt],[zookeeper_init_ssl],[have_zookeeper_ssl=yes])
    AS_IF([test "x$have_zookeeper_sasl" = xyes],[
      ZOOKEEPER_CPPFLAGS="-DHAVE_ZOOKEEPER_SASL=1 -DHAVE_CYRUS_SASL_H=1 $GSSAPI_CFLAGS"
      ZOOKEEPER_LIBS="$ZOOKEEPER_LIBS -lsasl2 $GSSAPI_LIBS"
    ])
    AS_IF([test "x$have_zookeeper_ssl" = xyes],
      [ZOOKEEPER_CPPFLAGS="$ZOOKEEPER_CPPFLAGS -DHAVE_ZOOKEEPER_SSL=1 -DHAVE_OPENSSL_H=1"])
    AC_SUBST([ZOOKEEPER_CPPFLAGS])
    have_zookeeper="yes (SASL $have_zookeeper_sasl, TLS $have_zookeeper_ssl)"
  ])
  AM_CONDITIONAL([HAVE_ZOOKEEPER],[test "x$have_zookeeper" != xno])
])
