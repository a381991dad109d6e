# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# Who serves. httpd keeps its children from running as root, yet a test or an administrator may well hand us a directory
# that root alone can enter, and it must stay as it is. Needs common.sh and httpd.sh.

# choose_identity CONF KEYSTORE [OURS]: who can read the directory CONF and keep the file KEYSTORE. OURS is a directory
# of this run's own, which may be given away if need be. Sets launch (a command prefix for httpd), user_lines (for its
# configuration) and serve_as (UID:GID of httpd's children, or empty when that is who runs this).
choose_identity() {
  local conf=$1 keystore=$2 store owner group account
  launch=() user_lines='' serve_as=''
  is_root || return 0
  store=$(dirname "$keystore")
  [ -d "$store" ] || store=$conf
  [ -e "$keystore" ] || keystore=$store
  owner=$(stat -c %u "$keystore")
  group=$(stat -c %g "$keystore")
  if [ "$owner" != 0 ]; then
    can_use "$owner" "$group" "$conf" "$store" ||
      die "$keystore belongs to uid $owner, who cannot read $conf or write in $store"
    serve_as_account "$owner" "$group"
    return
  fi
  # In a user namespace where root's own uid bears another number, httpd sees an ordinary user, while to the file system
  # it is still root without a single capability.
  account=$(httpd_account) || account=nobody
  owner=$(id -u "$account")
  group=$(id -g "$account")
  if have unshare && unshare --user --map-user="$owner" --map-group="$group" test -w "$store" 2>/dev/null; then
    launch=(unshare --user --map-user="$owner" --map-group="$group")
    return
  fi
  if [ $# = 3 ]; then
    chown -R "$owner:$group" "$3"
  fi
  if can_use "$owner" "$group" "$conf" "$store"; then
    serve_as_account "$owner" "$group"
    return
  fi
  die "httpd does not serve as root, user namespaces are not available here, and $account cannot write in $store:
chown -R $account $store (and let it pass through the directories above), or run this as the owner of the files"
}

serve_as_account() {
  user_lines="User \"#$1\"
Group \"#$2\""
  serve_as=$1:$2
}

# can_use UID GID CONF STORE
can_use() {
  # shellcheck disable=SC2016 # for the inner shell
  setpriv --reuid="$1" --regid="$2" --clear-groups \
    sh -c 'test -r "$1" && test -x "$1" && test -w "$2" && test -x "$2"' sh "$3" "$4" 2>/dev/null
}

# Makes httpd end when this script is killed in a way that no trap sees. Last in the prefix: entering the namespace
# would undo it.
tie_to_parent() {
  if have setpriv && setpriv --pdeathsig TERM true 2>/dev/null; then
    launch+=(setpriv --pdeathsig TERM)
  fi
}
