#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: install.sh FLAVOUR DESTDIR     FLAVOUR: debian, rhel or suse
# Puts what the packages bring beside the program's own files into DESTDIR, with the names that the distribution uses.
# debian/rules and rpm/kms.spec both call it, so that the families cannot drift apart.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
flavour=$1 dest=$2
case $flavour in
  debian)
    user=www-data group=www-data unit=apache2 ctl=/usr/sbin/apache2ctl libexec=/usr/lib/hadoop-kms
    home=/var/www confd=/usr/share/libapache2-mod-kms live=/etc/apache2/mods-available/kms.conf modconf='' pids=/run/apache2/apache2.pid
    ;;
  rhel)
    user=apache group=apache unit=httpd ctl=/usr/sbin/apachectl libexec=/usr/libexec/hadoop-kms
    home=/usr/share/httpd confd=/etc/httpd/conf.d live=/etc/httpd/conf.d/kms.conf modconf=/etc/httpd/conf.modules.d pids=/run/httpd/httpd.pid
    ;;
  suse)
    user=wwwrun group=www unit=apache2 ctl=/usr/sbin/apachectl libexec=/usr/lib/hadoop-kms
    home=/var/lib/wwwrun confd=/etc/apache2/conf.d live=/etc/apache2/conf.d/kms.conf modconf=/etc/apache2/conf.d pids='/run/httpd.pid /run/apache2.pid'
    ;;
  *) echo "usage: $0 debian|rhel|suse DESTDIR" >&2; exit 2 ;;
esac

# put MODE FILE PATH: with the words between @ replaced.
put() {
  mkdir -p "$dest$(dirname "$3")"
  sed -e "s|@USER@|$user|g;s|@GROUP@|$group|g;s|@UNIT@|$unit|g;s|@CTL@|$ctl|g;s|@LIBEXECDIR@|$libexec|g" \
    -e "s|@HOME@|$home|g;s|@PIDFILES@|$pids|g;s|@CONF@|$live|g" "$here/$2" >"$dest$3"
  chmod "$1" "$dest$3"
}

put 0755 setup.in "$libexec/setup"
put 0755 reload.in "$libexec/reload"
put 0644 logrotate.in /etc/logrotate.d/hadoop-kms
put 0644 tmpfiles.in /usr/lib/tmpfiles.d/hadoop-kms.conf
put 0644 sysusers.in /usr/lib/sysusers.d/hadoop-kms.conf
put 0644 unit.conf.in "/usr/lib/systemd/system/$unit.service.d/10-hadoop-kms.conf"
if [ "$flavour" = debian ]; then
  # Templates: setup copies them where nothing is, so that dpkg never has to ask about a file of the Java KMS.
  put 0644 conf/kms-site.xml /usr/share/hadoop-kms/conf/kms-site.xml
  put 0644 conf/kms-acls.xml /usr/share/hadoop-kms/conf/kms-acls.xml
else
  put 0644 conf/kms-site.xml /etc/hadoop-kms/conf/kms-site.xml
  put 0644 conf/kms-acls.xml /etc/hadoop-kms/conf/kms-acls.xml
  put 0755 kms-upgrade-cleanup /usr/sbin/kms-upgrade-cleanup
  put 0644 kms-upgrade-cleanup.8 /usr/share/man/man8/kms-upgrade-cleanup.8
  put 0644 selinux/hadoop_kms.cil /usr/share/selinux/packages/hadoop_kms.cil
fi
mkdir -p "$dest/var/lib/hadoop-kms" "$dest/var/log/hadoop-kms" "$dest/etc/hadoop-kms/conf"

# The drop-in. "make install" has put it among the examples, with the path of the module.
examples=$dest/usr/share/doc/hadoop-kms/conf.d
put 0644 credential.conf.in /etc/hadoop-kms/httpd.d/10-credential.conf
mkdir -p "$dest$confd"
cp "$examples/kms.conf" "$dest$confd/kms.conf"
if [ -n "$modconf" ]; then
  mkdir -p "$dest$modconf"
  cp "$examples/10-kms.conf" "$dest$modconf/10-kms.conf"
fi
