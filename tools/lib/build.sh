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

# precompile DIR NAME FLAGS: compiles the standard headers once for what is built in DIR with FLAGS, and prints the option
# that uses them; a build with other flags reads them as text. With g++ alone: elsewhere it prints nothing.
precompile() {
  local into=$1/precompiled/$2 kind compiler options
  # shellcheck disable=SC2016 # for make
  { read -r compiler && read -r options; } < <(
    printf 'include Makefile\nshow:\n\t@echo "$(CXX)"; echo "$(AM_CXXFLAGS)"\n' |
      make -s --no-print-directory -C "$1" -f - show 2>/dev/null | tail -n 2
  ) || return 0
  ! $compiler -dM -E -x c++ /dev/null 2>/dev/null | grep -q __clang__ || return 0
  # Made once: what was compiled with it hangs on its date.
  if [ "$(cat "$into/of" 2>/dev/null)" != "$compiler $options $3" ]; then
    mkdir -p "$into/standard_headers.h.gch"
    cp "$tools_lib/standard_headers.h" "$into/"
    for kind in '' '-fPIC -DPIC'; do
      # shellcheck disable=SC2086 # words
      $compiler $options $3 $kind -x c++-header "$into/standard_headers.h" \
        -o "$into/standard_headers.h.gch/code${kind// /}" >"$into/log" 2>&1 || return 0
    done
    echo "$compiler $options $3" >"$into/of"
  fi
  echo "-include $into/standard_headers.h"
}

module_of() { echo "$1/mod_kms/.libs/mod_kms.so"; }
