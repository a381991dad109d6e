# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # these files share variables
# Builds the tree out of source, only what is not up to date. Needs common.sh.

# The C++20 compiler: what the user says, else the default one where it is new enough, else a versioned one (SLES).
pick_compiler() {
  [ -z "${CXX:-}" ] || return 0
  local v
  if [ "$(g++ -dumpversion 2>/dev/null | cut -d. -f1)" -lt 11 ] 2>/dev/null; then
    for v in 14 13 12 11; do
      if have "g++-$v"; then
        export CXX=g++-$v CC=gcc-$v
        return
      fi
    done
  fi
}

# configure is generated, and made anew when something that it is made from is newer. Under a lock: several build
# trees share the source tree.
generate_configure() {
  (
    exec 9<"$top/configure.ac"
    flock 9
    if [ ! -e "$top/configure" ] || [ ! -e "$top/Makefile.in" ] ||
      [ -n "$(find "$top/configure.ac" "$top"/m4/kms*.m4 -newer "$top/configure" -print -quit 2>/dev/null)" ]; then
      cd "$top" && autoreconf -fi
    fi
  )
}

tell_log() {
  say "$1; the end of $2:"
  tail -n 40 "$2" >&2
  exit 1
}

# configure_tree DIR [ARGUMENT...]
configure_tree() {
  local dir=$1
  shift
  [ ! -e "$top/config.status" ] ||
    die "$top itself is configured, which keeps other build trees from working: make distclean there first"
  mkdir -p "$dir"
  [ ! -e "$dir/Makefile" ] || return 0
  say "configuring $dir"
  pick_compiler
  generate_configure >"$dir/configure.log" 2>&1 || tell_log "autoreconf failed" "$dir/configure.log"
  run_step env -C "$dir" "$top/configure" "$@" >>"$dir/configure.log" 2>&1 ||
    tell_log "configure failed" "$dir/configure.log"
}

# make_tree DIR [ARGUMENT...]: quiet when all is up to date.
make_tree() {
  local dir=$1
  shift
  if ! make -C "$dir" -q "$@" >/dev/null 2>&1; then
    [ -w "$dir" ] || die "$dir is not up to date and not mine to write: build it as its owner, or set KMS_BUILD_DIR"
    say "building in $dir"
    run_step make -C "$dir" -j"$(nproc)" "$@" >"$dir/make.log" 2>&1 || tell_log "the build failed" "$dir/make.log"
  fi
}

module_of() { echo "$1/mod_kms/.libs/mod_kms.so"; }
