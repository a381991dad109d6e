# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# Which distribution package brings what the project needs, and how to install what is missing.
# Needs common.sh.

# One need a line: group, test, and the package by apt (Debian 12, Ubuntu 22.04), dnf (RHEL 9 and its rebuilds) and
# zypper (SLES 15 SP5). "-" means that this family needs nothing there. The test decides, not the package database: a
# compiler or a JDK from elsewhere is as good. Tests: cmd:A|B a command, pc:M a pkg-config module, hdr:F a header,
# httpd, cxx, python:M a module of some python3, sasl:P a plugin of Cyrus SASL, sbin:A a command that may be in a
# directory of administrators, module:M a module of httpd, pgsql:A a PostgreSQL server, which is not in the path.
# apache2-bin instead of apache2: the server without a service that would start on the user's machine.
package_table() {
  cat <<'TABLE'
build  cxx                  g++              gcc-c++            gcc13-c++
build  cmd:make             make             make               make
build  cmd:autoreconf       autoconf         autoconf           autoconf
build  cmd:automake         automake         automake           automake
build  cmd:libtoolize       libtool          libtool            libtool
build  cmd:pkg-config       pkg-config       pkgconf-pkg-config pkg-config
build  python:sys           python3          python3            python311
build  cmd:apxs|apxs2       apache2-dev      httpd-devel        apache2-devel
build  pc:libcrypto         libssl-dev       openssl-devel      libopenssl-3-devel
build  pc:jansson           libjansson-dev   jansson-devel      libjansson-devel
build  pc:expat             libexpat1-dev    expat-devel        libexpat-devel
build  hdr:unicase.h        libunistring-dev libunistring-devel libunistring-devel
build  pc:libpcre2-8       libpcre2-dev     pcre2-devel        pcre2-devel
build  pc:krb5             libkrb5-dev      krb5-devel         krb5-devel
build  pc:libcurl           libcurl4-openssl-dev libcurl-devel  libcurl-devel
build  hdr:zookeeper/zookeeper.h libzookeeper-mt-dev - -
build  pc:libpq             libpq-dev        libpq-devel        postgresql-devel
build  pc:p11-kit-1         libp11-kit-dev   p11-kit-devel      p11-kit-devel
serve  httpd                apache2-bin      httpd-core         apache2-event
serve  cmd:curl             curl             curl               curl
serve  cmd:setsid           util-linux       util-linux         util-linux
check  pc:cmocka            libcmocka-dev    libcmocka-devel    libcmocka-devel
check  python:pytest        python3-pytest   -                  -
check  python:ensurepip     python3-venv     -                  -
check  mod:ssl              apache2-bin      mod_ssl            apache2-event
check  cmd:openssl          openssl          openssl            openssl-3
check  pgsql:postgres        postgresql       postgresql-server  postgresql-server
check  cmd:patroni         patroni          -                  -
check  cmd:etcd            etcd-server      -                  -
check  cmd:sslscan          sslscan          -                  -
check  cmd:testssl|testssl.sh testssl.sh     -                  -
check  sbin:krb5kdc         krb5-kdc         krb5-server        krb5-server
check  sbin:kadmin.local    krb5-admin-server krb5-server       krb5-server
check  sbin:kinit           krb5-user        krb5-workstation   krb5-client
krb    module:auth_gssapi   libapache2-mod-auth-gssapi mod_auth_gssapi apache2-mod_auth_gssapi
java   cmd:javac            default-jdk-headless java-17-openjdk-devel java-17-openjdk-devel
java   cmd:mvn              maven            maven              maven
java   cmd:cmake            cmake            -                  -
java   hdr:sasl/sasl.h      libsasl2-dev     -                  -
java   sasl:gssapiv2        libsasl2-modules-gssapi-mit -       -
check  cmd:softhsm2-util    softhsm2         softhsm            -
check  cmd:p11-kit          p11-kit          p11-kit            p11-kit
check  cmd:pkcs11-tool      opensc           opensc             opensc
check  p11:p11-kit-client.so p11-kit-modules p11-kit-server    -
tokens sbin:pkcsslotd       opencryptoki     opencryptoki       -
tokens cmd:unshare          util-linux       util-linux         util-linux
krypt  hdr:sqlite3.h        libsqlite3-dev   sqlite-devel       sqlite3-devel
krypt  lib:libclang-14.so.1 libclang-dev     -                  -
check  cmd:shellcheck       shellcheck       ShellCheck         ShellCheck
check  cmd:chromium|chromium-browser chromium -      -
sanit  lib:libasan.so       -                libasan            libasan8
sanit  lib:libubsan.so      -                libubsan           libubsan1
pkg    cmd:dpkg-buildpackage dpkg-dev        -                  -
pkg    hdr:sasl/sasl.h      libsasl2-dev     -                  -
pkg    cmd:dh               debhelper        -                  -
pkg    cmd:dh_apache2       dh-apache2       -                  -
pkg    cmd:fakeroot         fakeroot         -                  -
pkg    cmd:lintian          lintian          -                  -
pkg    sbin:debootstrap     debootstrap      -                  -
pkg    cmd:apt-ftparchive   apt-utils        -                  -
pkg    cmd:rpmbuild         rpm              rpm-build          rpm-build
pkg    cmd:rpmsign          rpm              rpm-sign           rpm-build
pkg    cmd:rpmlint          rpmlint          -                  -
pkg    cmd:createrepo_c     createrepo-c     createrepo_c       createrepo_c
pkg    cmd:gpg              gnupg            gnupg2             gpg2
pkg    sbin:ip              iproute2         iproute            iproute2
pkg    cmd:secilc           secilc           -                  -
bench  cmd:wrk              wrk              wrk                wrk
TABLE
}

# apt, dnf or zypper; empty when none is there.
package_manager() {
  local m
  for m in apt-get dnf zypper; do
    if have "$m"; then
      case $m in
        apt-get) echo apt ;;
        *) echo "$m" ;;
      esac
      return
    fi
  done
}

has_cxx() {
  local c major
  for c in ${CXX:-} g++ g++-13 g++-12 g++-11; do
    major=$("$c" -dumpversion 2>/dev/null | cut -d. -f1) || continue
    [ "${major:-0}" -ge 11 ] && return 0
  done
  return 1
}

has_httpd_module() {
  local dir httpd
  dir=$(find_module_dir) && [ -e "$dir/mod_$1.so" ] && return
  httpd=$(find_httpd) && [[ $("$httpd" -l 2>/dev/null) == *" mod_$1.c"* ]]
}

# Is the need met? An unknown kind of test is a mistake in the table.
met() {
  local what=${1#*:} name
  case $1 in
    cxx) has_cxx ;;
    httpd) find_httpd >/dev/null 2>&1 ;;
    cmd:*)
      for name in ${what//|/ }; do have "$name" && return 0; done
      return 1
      ;;
    sbin:*) (PATH=$PATH:/usr/sbin:/sbin:/usr/lib/mit/sbin:/usr/lib/mit/bin && have "$what") ;;
    pgsql:*) "$top/tests/postgres" check 2>/dev/null ;;
    module:*) [ -e "$(find_module_dir)/mod_$what.so" ] ;;
    pc:*) have pkg-config && pkg-config --exists "$what" ;;
    hdr:*) [ -e "/usr/include/$what" ] || echo "#include <$what>" | ${CC:-cc} -E - >/dev/null 2>&1 ;;
    p11:*) have pkg-config && [ -e "$(pkg-config --variable=p11_module_path p11-kit-1)/$what" ] ;;
    lib:*) [ "$(${CXX:-g++} -print-file-name="$what" 2>/dev/null)" != "$what" ] ;;
    mod:*) has_httpd_module "$what" ;;
    python:*) find_python "$what" >/dev/null ;;
    sasl:*) compgen -G "/usr/lib/*/sasl2/lib$what.so" >/dev/null || compgen -G "/usr/lib64/sasl2/lib$what.so" >/dev/null ;;
    *) die "no such test in the package table: $1" ;;
  esac
}

# A python3 of at least 3.9 that has the module; the one of the build tree's own environment counts.
find_python() {
  local p
  for p in ${PYTHON3:-} "$build_dir/python/bin/python3" python3 /usr/bin/python3 python3.11 python3.12; do
    if have "$p" && "$p" -c "import sys, ${1:-sys}; sys.exit(sys.version_info < (3, 9))" >/dev/null 2>&1; then
      command -v "$p"
      return
    fi
  done
  return 1
}

# Packages that are missing for the groups named, one a line, as "TEST PACKAGE".
missing_packages() {
  local manager=$1 group test apt dnf zypper package
  shift
  while read -r group test apt dnf zypper; do
    [[ " $* " == *" $group "* ]] || continue
    case $manager in
      apt) package=$apt ;;
      dnf) package=$dnf ;;
      *) package=$zypper ;;
    esac
    if [ "$package" != - ] && ! met "$test"; then
      echo "$test $package"
    fi
  done < <(package_table)
}

as_root() {
  if is_root; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "root is needed to run: $* (be root, install sudo, or install the packages by hand and use --no-install)"
  fi
}

# Debian starts what it installs, and at each boot. A KDC that came for the tests, which run their own, is not to.
switch_off_services() {
  local package service
  for package in krb5-kdc krb5-admin-server postgresql opencryptoki; do
    [[ " $* " == *" $package "* ]] || continue
    service=${package/opencryptoki/pkcsslotd}
    if [ -d /run/systemd/system ]; then
      as_root systemctl -q disable --now "$service" || true
    fi
    as_root update-rc.d "$service" disable >/dev/null 2>&1 || true
  done
}

install_packages() {
  local manager=$1
  shift
  case $manager in
    apt)
      # A machine that was just made has no package lists; one with old lists may ask for files that are gone.
      as_root apt-get -q update
      as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
      switch_off_services "$@"
      ;;
    dnf)
      as_root dnf -y install "$@" ||
        die "dnf could not install all of: $*
libcmocka-devel and libunistring-devel are in CodeReady Builder (dnf config-manager --set-enabled crb,
or subscription-manager repos --enable codeready-builder-for-rhel-9-\$(arch)-rpms), wrk and ShellCheck in EPEL."
      ;;
    zypper)
      as_root zypper --non-interactive install "$@" ||
        die "zypper could not install all of: $*
g++ 13, libcmocka-devel and apache2-devel are in the modules Development Tools and Server Applications (SUSEConnect),
python311 in the module Python 3, apache2-mod_auth_gssapi in Package Hub."
      ;;
  esac
}

# Installs what the groups named lack. pytest may also come another way, see ensure_test_python.
install_missing() {
  local manager missing packages

  manager=$(package_manager)
  missing=$(missing_packages "${manager:-none}" "$@")
  [ -n "$missing" ] || return 0
  say "missing: $(echo "$missing" | cut -d' ' -f1 | paste -sd' ')"
  [ -n "$manager" ] || die "no apt-get, dnf or zypper here: install these by hand and use --no-install"
  packages=$(echo "$missing" | cut -d' ' -f2 | sort -u)
  say "installing with $manager: $(echo "$packages" | paste -sd' ')"
  # shellcheck disable=SC2086 # one word a package
  install_packages "$manager" $packages >&2
  missing=$(missing_packages "$manager" "$@" | grep -v '^python:pytest' || true)
  [ -z "$missing" ] || die "still missing after the installation: $(echo "$missing" | cut -d' ' -f1 | paste -sd' ')"
}

# What the tests on a real httpd need, as pip and as Python call it. The distributions have no schemathesis.
test_packages=('pytest>=7,<10' 'pytest-xdist>=3,<4' 'schemathesis>=4,<5'
  'prometheus_client>=0.14,<1')
test_modules='pytest, xdist, schemathesis, prometheus_client'

# Makes a python3 with these in the build tree, where none that is there has them all. Without them, but with the
# distribution's pytest, the tests that need more fail.
ensure_test_python() {
  find_python "$test_modules" >/dev/null && return
  local base
  base=$(find_python ensurepip) || die "no python3 of at least 3.9 that can make an environment (python3-venv)"
  say "making a Python environment with ${test_packages[*]} in $build_dir/python"
  mkdir -p "$build_dir"
  if "$base" -m venv "$build_dir/python" >&2 && "$build_dir/python/bin/pip" -q install "${test_packages[@]}" >&2; then
    find_python "$test_modules" >/dev/null && return
  fi
  say "pip could not install them"
  find_python pytest >/dev/null || die "there is no pytest"
}
