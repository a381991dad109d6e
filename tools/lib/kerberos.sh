# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# Kerberos of a Java KMS for httpd: keytab and principal of kms-site.xml become directives of mod_auth_gssapi.
# Needs common.sh, packages.sh, httpd.sh and site_property of quickstart.

kerberos_prefix=hadoop.kms.authentication.kerberos

# kerberos_from_hadoop CONF: where the configuration is one with Kerberos, sets kerberos_keytab, and kerberos_acceptor
# unless every HTTP/ principal of the keytab is to be served. Installs mod_auth_gssapi where that is allowed ($install).
kerberos_from_hadoop() {
  local site=$1/kms-site.xml principal
  kerberos_keytab='' kerberos_acceptor=''
  [ "$(site_property "$site" hadoop.kms.authentication.type)" = kerberos ] || return 0
  [ -z "$install" ] || install_missing krb
  met module:auth_gssapi ||
    die "hadoop.kms.authentication.type is kerberos, but mod_auth_gssapi is not here (apt: libapache2-mod-auth-gssapi," \
      "dnf: mod_auth_gssapi, zypper: apache2-mod_auth_gssapi)"
  kerberos_keytab=$(kerberos_property "$site" keytab "$HOME/kms.keytab")
  kerberos_keytab=$(realpath -m "$kerberos_keytab")
  [ -e "$kerberos_keytab" ] || die "the keytab $kerberos_keytab is not there; $site has it as $kerberos_prefix.keytab" \
    "(docs/kerberos.md shows how to make one)"
  [ -r "$kerberos_keytab" ] ||
    die "the keytab $kerberos_keytab cannot be read by $(id -un); $site has it as $kerberos_prefix.keytab"
  principal=$(kerberos_property "$site" principal HTTP/localhost)
  case $principal in
    '*') ;;
    HTTP/?*) kerberos_acceptor=HTTP@$(kerberos_host "$principal") ;;
    *) die "$site: $kerberos_prefix.principal is '$principal', which is neither '*' nor HTTP/HOST" ;;
  esac
}

# kerberos_property SITE NAME DEFAULT: with the two variables that paths of home directories have.
kerberos_property() {
  local value
  value=$(site_property "$1" "$kerberos_prefix.$2")
  value=${value:-$3}
  # shellcheck disable=SC2016 # Hadoop's variables
  value=${value//'${user.home}'/$HOME}
  # shellcheck disable=SC2016
  value=${value//'${user.name}'/$(id -un)}
  [[ $value != *\$\{* ]] || die "$1: $kerberos_prefix.$2 has a variable in it, which is not resolved here"
  echo "$value"
}

# The host of HTTP/HOST@REALM; Hadoop writes _HOST for the name of this one.
kerberos_host() {
  local host=${1#HTTP/}
  host=${host%@*}
  [ "$host" != _HOST ] || host=$(hostname -f | tr '[:upper:]' '[:lower:]')
  echo "$host"
}

# prepare_kerberos RUN: after choose_identity. Who serves may not be who can read the keytab, and gets a copy then. The
# cache of tickets that were seen goes into RUN too: in a user namespace its owner would not be who another httpd of
# this host thinks.
prepare_kerberos() {
  [ -n "$kerberos_keytab" ] || return 0
  export KRB5RCACHENAME=${KRB5RCACHENAME:-file2:$1/rcache}
  if those_who_serve test -r "$kerberos_keytab"; then
    return
  fi
  say "httpd's children cannot read $kerberos_keytab: they get a copy, which goes at the end"
  mkdir -m 700 "$1/kerberos"
  install -m 400 "$kerberos_keytab" "$1/kerberos/kms.keytab"
  [ -z "$serve_as" ] || chown -R "$serve_as" "$1/kerberos"
  kerberos_keytab=$1/kerberos/kms.keytab
}

# Runs a command as httpd's children will run.
those_who_serve() {
  if [ -n "$serve_as" ]; then
    setpriv --reuid="${serve_as%:*}" --regid="${serve_as#*:}" --clear-groups "$@"
  else
    "${launch[@]}" "$@"
  fi
}

# What the location needs. The argument is not empty where there is TLS.
kerberos_lines() {
  cat <<CONF
  AuthType GSSAPI
  AuthName "Hadoop KMS"
  GssapiCredStore "keytab:$kerberos_keytab"
  GssapiAllowedMech krb5
CONF
  [ -z "$kerberos_acceptor" ] || echo "  GssapiAcceptorName $kerberos_acceptor"
  [ -z "$1" ] || echo '  GssapiSSLonly On'
}
