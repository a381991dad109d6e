# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# TLS of a Java KMS for httpd: the keystores that ssl-server.xml names become PEM files in a private directory, and the
# lines that use them are those of conf.d/kms.conf. Needs common.sh and site_property of quickstart.

tls_hint='docs/tls.md shows how to convert the keystore by hand; --no-tls serves plain HTTP'

# A property of the server's TLS settings, which Hadoop looks for in kms-site.xml, then in core-site.xml.
hadoop_ssl_property() {
  local value
  value=$(site_property "$1/kms-site.xml" "$2")
  [ -n "$value" ] || value=$(site_property "$1/core-site.xml" "$2")
  echo "$value"
}

# tls_from_hadoop CONF OUT: makes server.pem, server.key and, for mutual TLS, clients-ca.pem in OUT, which must be new.
# Sets tls_parts, the parts of kms.conf that use them.
tls_from_hadoop() {
  local conf=$1 out=$2 ssl store password key_password
  ssl=$(hadoop_ssl_property "$conf" hadoop.ssl.server.conf)
  ssl=$conf/${ssl:-ssl-server.xml}
  [ -r "$ssl" ] || die "hadoop.kms.ssl.enabled is true, but there is no $ssl to read. $tls_hint"
  have openssl || die "TLS needs the openssl command"
  store=$(store_property "$ssl" ssl.server.keystore.location)
  password=$(store_property "$ssl" ssl.server.keystore.password)
  key_password=$(store_property "$ssl" ssl.server.keystore.keypassword)
  [ -n "$store" ] || die "$ssl has no ssl.server.keystore.location. $tls_hint"
  [ -n "$password" ] || die "$ssl has no ssl.server.keystore.password (a credential provider is not read). $tls_hint"
  (umask 077 && mkdir "$out") || die "$out cannot be made"
  keystore_to_pem "$store" "$password" "${key_password:-$password}" "$out"
  tls_parts=('TLS: caches' 'TLS')
  if [ "$(hadoop_ssl_property "$conf" hadoop.ssl.require.client.cert)" = true ]; then
    store=$(store_property "$ssl" ssl.server.truststore.location)
    password=$(store_property "$ssl" ssl.server.truststore.password)
    [ -n "$store" ] || die "hadoop.ssl.require.client.cert is true, but $ssl has no ssl.server.truststore.location"
    truststore_to_pem "$store" "$password" "$out/clients-ca.pem"
    tls_parts+=('TLS: client certificates')
  fi
}

store_property() {
  local value
  value=$(site_property "$1" "$2")
  [[ $value != *\$\{* ]] || die "$1: $2 has a variable in it, which is not resolved here. $tls_hint"
  echo "$value"
}

# jks, jceks or pkcs12, by the first bytes: Java since version 9 takes either whatever the configuration says.
store_type() {
  [ -r "$1" ] || die "the keystore $1 is not there, or not readable"
  case $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') in
    feedfeed) echo jks ;;
    cececece) echo jceks ;;
    30*) echo pkcs12 ;;
    *) die "$1 is neither JKS nor PKCS#12. $tls_hint" ;;
  esac
}

# Passwords travel in the environment: everybody can read command lines.
run_keytool() {
  have keytool || die "keytool, of any JDK, is needed to read $1. $tls_hint"
  shift
  STORE_PASSWORD=$store_password KEY_PASSWORD=${key_password:-} keytool -J-Duser.language=en "$@"
}

run_pkcs12() {
  local error
  error=$(STORE_PASSWORD=$store_password openssl pkcs12 -passin env:STORE_PASSWORD "$@" 2>&1) && return
  # The old ciphers of a keystore made by Java 8 are in OpenSSL's legacy provider.
  if [[ $error == *unsupported* ]]; then
    error=$(STORE_PASSWORD=$store_password openssl pkcs12 -legacy -passin env:STORE_PASSWORD "$@" 2>&1) && return
  fi
  tail -n 3 <<<"$error" >&2
  return 1
}

# The one private key of a JKS file, as PKCS#12 under the password of the store.
jks_to_pkcs12() {
  local store=$1 type=$2 to=$3 said alias count
  said=$(run_keytool "$store" -list -keystore "$store" -storetype "$type" -storepass:env STORE_PASSWORD) ||
    die "keytool cannot read $store: $said"
  alias=$(sed -nE 's/^(.*), [A-Z][a-z]{2} [0-9]{1,2}, [0-9]{4}, PrivateKeyEntry, *$/\1/p' <<<"$said")
  count=$(grep -c . <<<"$alias" || true)
  [ "$count" = 1 ] || die "$store holds $count private keys where one is expected. $tls_hint"
  said=$(run_keytool "$store" -importkeystore -noprompt -srckeystore "$store" -srcstoretype "$type" \
    -srcstorepass:env STORE_PASSWORD -srcalias "$alias" -srckeypass:env KEY_PASSWORD -destkeystore "$to" \
    -deststoretype PKCS12 -deststorepass:env STORE_PASSWORD -destkeypass:env STORE_PASSWORD 2>&1) ||
    die "keytool cannot take the key $alias out of $store: $said"
}

keystore_to_pem() {
  local store=$1 store_password=$2 key_password=$3 out=$4 type count
  type=$(store_type "$store")
  if [ "$type" != pkcs12 ]; then
    jks_to_pkcs12 "$store" "$type" "$out/store.p12"
    store=$out/store.p12
  fi
  run_pkcs12 -in "$store" -nocerts -nodes -out "$out/server.key" ||
    die "openssl cannot take the key out of $1: see above (wrong password?)"
  count=$(grep -c 'BEGIN.*PRIVATE KEY' "$out/server.key" || true)
  [ "$count" = 1 ] || die "$1 holds $count private keys where one is expected. $tls_hint"
  if ! run_pkcs12 -in "$store" -clcerts -nokeys -out "$out/leaf" ||
    ! run_pkcs12 -in "$store" -cacerts -nokeys -out "$out/chain"; then
    die "openssl cannot take the certificates out of $1: see above"
  fi
  cat "$out/leaf" "$out/chain" | only_certificates >"$out/server.pem"
  chmod 0400 "$out/server.key"
  rm -f "$out/store.p12" "$out/leaf" "$out/chain"
}

truststore_to_pem() {
  local store=$1 store_password=$2 pem=$3 type
  type=$(store_type "$store")
  if [ "$type" = pkcs12 ]; then
    run_pkcs12 -in "$store" -nokeys -out "$pem.all" || die "openssl cannot read $store: see above (wrong password?)"
  else
    run_keytool "$store" -list -rfc -keystore "$store" -storetype "$type" -storepass:env STORE_PASSWORD >"$pem.all" ||
      die "keytool cannot read $store: $(cat "$pem.all")"
  fi
  only_certificates <"$pem.all" >"$pem"
  rm -f "$pem.all"
  [ -s "$pem" ] || die "$store holds no certificate"
}

only_certificates() { sed -n '/^-----BEGIN CERTIFICATE/,/^-----END CERTIFICATE/p'; }

# tls_lines DIR: the examples in the parts of kms.conf that tls_parts names, their files in DIR.
tls_lines() {
  local part
  for part in "${tls_parts[@]}"; do
    awk -v part="$part" '
      /^ *# --- / { sub(/^ *# --- /, ""); sub(/ -+$/, ""); sub(/,.*/, ""); here = $0 == part; next }
      here && /^ *#[A-Z]/ { sub(/^ *#/, ""); print }' "$top/conf.d/kms.conf"
  done | sed "s|/etc/hadoop-kms/tls|$1|"
}
