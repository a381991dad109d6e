# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# The show of tools/quickstart: a configuration of its own, a first key, a DEK decrypted. Needs common.sh.

demo_property() { printf '  <property><name>%s</name><value>%s</value></property>\n' "$1" "$2"; }

demo_file() {
  {
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo '<configuration>'
    cat
    echo '</configuration>'
  } >"$1"
}

# A configuration directory as a Java KMS would have it.
write_demo_conf() {
  local dir=$1 op
  mkdir -p "$dir"
  (umask 077 && head -c 24 /dev/urandom | base64 >"$dir/kms.keystore.password")
  {
    demo_property hadoop.kms.key.provider.uri "jceks://file@$dir/kms.keystore"
    demo_property hadoop.security.keystore.java-keystore-provider.password-file kms.keystore.password
    demo_property hadoop.kms.authentication.type simple
  } | demo_file "$dir/kms-site.xml"
  {
    for op in MANAGEMENT GENERATE_EEK DECRYPT_EEK READ; do
      demo_property "default.key.acl.$op" '*'
    done
  } | demo_file "$dir/kms-acls.xml"
  demo_file "$dir/core-site.xml" </dev/null
}

# demo_call BASE METHOD PATH [BODY]: prints the answer's body; fails on any status but 2xx.
demo_call() {
  local base=$1 method=$2 path=$3 glue='?' answer
  [[ $path != *\?* ]] || glue='&'
  shift 3
  if ! answer=$(curl -sS --noproxy '*' --max-time 30 --fail-with-body -X "$method" \
    -H 'Content-Type: application/json' ${1:+--data "$1"} "$base/v1/$path${glue}user.name=demo"); then
    die "$method $path failed: $answer"
  fi
  echo "$answer"
}

# One member of a JSON answer, by a path of names and numbers.
demo_pick() {
  python3 -c '
import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1:]:
    value = value[int(step) if step.isdigit() else step]
print(value)' "$@"
}

show_demo() {
  local base=$1 key=first-key eek dek again moved
  echo "1. a key (create):"
  demo_call "$base" POST keys '{"name": "'$key'", "cipher": "AES/CTR/NoPadding", "length": 256}'
  echo "2. an encrypted data key, what a NameNode stores with a file (generate):"
  eek=$(demo_call "$base" GET "key/$key/_eek?eek_op=generate&num_keys=1")
  echo "$eek"
  echo "3. the data key itself, what a client gets to read that file (decrypt):"
  dek=$(demo_decrypt "$base" "$(demo_pick 0 versionName <<<"$eek")" "$(demo_pick 0 iv <<<"$eek")" \
    "$(demo_pick 0 encryptedKeyVersion material <<<"$eek")")
  echo "$dek"
  echo "4. the key rolled, and the same data key wrapped by the new version (roll, reencrypt):"
  demo_call "$base" POST "key/$key" '{}' >/dev/null
  moved=$(demo_call "$base" POST "keyversion/$key%400/_eek?eek_op=reencrypt" "$(demo_body "$key" \
    "$(demo_pick 0 iv <<<"$eek")" "$(demo_pick 0 encryptedKeyVersion material <<<"$eek")")")
  echo "$moved"
  again=$(demo_decrypt "$base" "$(demo_pick versionName <<<"$moved")" "$(demo_pick iv <<<"$moved")" \
    "$(demo_pick encryptedKeyVersion material <<<"$moved")")
  [ "$(demo_pick material <<<"$dek")" = "$(demo_pick material <<<"$again")" ] ||
    die "the data key did not come back the same"
  echo "   decrypted again, it is the same data key."
  cat <<NEXT

A Hadoop client uses it by this URI, in core-site.xml as hadoop.security.key.provider.path or on the command line:
  hadoop key list -provider kms://http@${base#http://}
NEXT
}

demo_body() { printf '{"name": "%s", "iv": "%s", "material": "%s"}' "$@"; }

demo_decrypt() {
  local base=$1 version=$2
  demo_call "$base" POST "keyversion/${version/@/%40}/_eek?eek_op=decrypt" "$(demo_body "${version%@*}" "$3" "$4")"
}
