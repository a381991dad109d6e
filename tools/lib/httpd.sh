# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# Finds httpd and writes the configuration of a private one. Needs common.sh.

find_apxs() {
  local a
  for a in ${APXS:-} apxs apxs2 /usr/sbin/apxs2; do
    if have "$a"; then
      command -v "$a"
      return
    fi
  done
  return 1
}

# Debian calls the binary apache2. SUSE has one for each MPM, each with its MPM built in.
find_httpd() {
  local apxs candidates=(${HTTPD:+"$HTTPD"} /usr/sbin/httpd-event)
  if apxs=$(find_apxs); then
    candidates+=("$("$apxs" -q SBINDIR 2>/dev/null)/$("$apxs" -q PROGNAME 2>/dev/null)")
  fi
  local h
  for h in "${candidates[@]}" httpd apache2 /usr/sbin/httpd /usr/sbin/apache2; do
    if have "$h"; then
      command -v "$h"
      return
    fi
  done
  return 1
}

find_module_dir() {
  local apxs d
  if apxs=$(find_apxs) && d=$("$apxs" -q LIBEXECDIR 2>/dev/null) && [ -d "$d" ]; then
    echo "$d"
    return
  fi
  for d in /usr/lib/apache2/modules /usr/lib64/httpd/modules /usr/lib64/apache2; do
    if [ -e "$d/mod_authz_core.so" ]; then
      echo "$d"
      return
    fi
  done
  return 1
}

# The account that the distribution's own httpd uses.
httpd_account() {
  local u
  for u in www-data apache wwwrun; do
    if id "$u" >/dev/null 2>&1; then
      echo "$u"
      return
    fi
  done
  return 1
}

# LoadModule lines for the modules named, but those that are built in.
load_modules() {
  local httpd=$1 dir=$2 m static
  shift 2
  static=$("$httpd" -l)
  for m in "$@"; do
    if [[ $static == *"mod_$m.c"* || $static == *" ${m#mpm_}.c"* ]]; then
      continue
    fi
    [ -e "$dir/mod_$m.so" ] || die "no mod_$m.so in $dir"
    echo "LoadModule ${m}_module \"$dir/mod_$m.so\""
  done
}

# httpd_frame HTTPD MODULES RUN HOST PORT MOD_KMS: everything of a private server but what it serves.
httpd_frame() {
  local httpd=$1 modules=$2 run=$3 host=$4 port=$5 mod_kms=$6
  load_modules "$httpd" "$modules" mpm_event authn_core authz_core authz_user unixd
  cat <<CONF
LoadModule kms_module "$mod_kms"
ServerRoot "$run"
DefaultRuntimeDir "$run"
PidFile "$run/httpd.pid"
Mutex "file:$run" default
ErrorLog "$run/error_log"
LogLevel warn kms:info
ServerName $host:$port
Listen $host:$port
ListenBacklog 500
ServerTokens Prod
TraceEnable On
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestLine 65536
LimitRequestFieldSize 65536
AllowEncodedSlashes NoDecode
MergeSlashes Off
StartServers 3
ServerLimit 4
ThreadsPerChild 64
MaxRequestWorkers 256
MinSpareThreads 64
MaxSpareThreads 256
CONF
}

# wait_until_it_answers PID RUN URL SECONDS: any HTTP answer counts. httpd writes its pid file once it has the port, so
# that another server on the same port is not taken for it.
wait_until_it_answers() {
  local pid=$1 run=$2 url=$3 end=$((SECONDS + $4))
  while kill -0 "$pid" 2>/dev/null; do
    if [ -s "$run/httpd.pid" ] && curl -s -o /dev/null --noproxy '*' --max-time 5 "$url"; then
      return 0
    fi
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
  return 1
}
