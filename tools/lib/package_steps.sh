# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # these files share variables
# The steps of tools/packages. Needs common.sh; steps that take long go to DIR/NAME.log.

# Seconds of the last entry of debian/changelog, without dpkg, which RPM distributions do not have.
changelog_epoch() { date -u -d "$(sed -n 's/^ -- .*>  //p' "$top/debian/changelog" | head -n 1)" +%s; }

project_version() { sed -n 's/^AC_INIT(\[hadoop-kms\],\[\([0-9.]*\)\].*/\1/p' "$top/configure.ac"; }

# logged DIR NAME COMMAND...
logged() {
  local log=$1/$2.log
  shift 2
  run_step "$@" >"$log" 2>&1 || { say "failed: $*; the end of $log:"; tail -n 40 "$log" >&2; exit 1; }
}

# The release tarball, with nothing in it of who made it and when.
make_source() {
  local dir=$1 name
  name=hadoop-kms-$(project_version)
  [ -e "$build_dir/Makefile" ] || die "$build_dir is not configured"
  say "making $name.tar.gz"
  rm -rf "$dir/stage"
  mkdir -p "$dir/stage"
  logged "$dir" source make -C "$build_dir" distdir "distdir=$dir/stage/$name" "top_distdir=$dir/stage/$name"
  tar -C "$dir/stage" --sort=name "--mtime=@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=go=rX,u+rw,a-s -cf - "$name" | gzip -9n >"$dir/$name.tar.gz"
}

build_deb() {
  local dir=$1 prebuilt=$2 name
  name=hadoop-kms-$(project_version)
  say "building the DEB packages"
  rm -rf "$dir/deb" "$dir/stage/deb"
  mkdir -p "$dir/deb" "$dir/stage/deb"
  cp "$dir/$name.tar.gz" "$dir/stage/deb/kms_$(project_version).orig.tar.gz"
  tar -C "$dir/stage/deb" -xzf "$dir/$name.tar.gz"
  # The source package has the release's own debian/ once more, as its second tarball.
  (
    cd "$dir/stage/deb/$name" || exit
    DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)"
    KMS_PREBUILT=${prebuilt:+$prebuilt/debian}
    export DEB_BUILD_OPTIONS KMS_PREBUILT
    if [ -n "$prebuilt" ]; then set -- -d; else set --; fi
    logged "$dir" deb dpkg-buildpackage -us -uc -F "$@"
  ) || exit 1
  mv "$dir"/stage/deb/kms_* "$dir"/stage/deb/*.deb "$dir/deb/"
}

build_rpm() {
  local dir=$1 kind=$2 prebuilt=$3 name
  local -a more=()
  name=hadoop-kms-$(project_version)
  say "building the RPM packages for $kind"
  rm -rf "${dir:?}/$kind" "$dir/stage/$kind"
  mkdir -p "$dir/stage/$kind/SOURCES" "$dir/$kind"
  cp "$dir/$name.tar.gz" "$dir/stage/$kind/SOURCES/"
  # Away from its own distribution a flavour has to be named, and no package database knows what is needed.
  if [ ! -e /etc/redhat-release ] && [ ! -e /etc/SUSE-brand ]; then
    more+=(--nodeps --define '_docdir /usr/share/doc' --define "kms_apxs /usr/bin/apxs")
    case $kind in
      rhel) more+=(--define 'rhel 9' --define 'dist .el9' --define '_httpd_mmn 20120211x8664') ;;
      suse) more+=(--define 'suse_version 1500') ;;
    esac
  fi
  if [ -n "$prebuilt" ]; then
    more+=(--define "kms_prebuilt $prebuilt/$kind")
  fi
  logged "$dir" "$kind" rpmbuild -ba --define "_topdir $dir/stage/$kind" --define '_buildhost reproducible' \
    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
    "${more[@]}" "$top/rpm/kms.spec"
  find "$dir/stage/$kind/RPMS" "$dir/stage/$kind/SRPMS" -name '*.rpm' -exec mv {} "$dir/$kind/" \;
}

sign_packages() {
  local dir=$1 key=$2
  local -a files
  mapfile -t files < <(find "$dir" -maxdepth 2 -name '*.rpm' | sort)
  if [ ${#files[@]} -gt 0 ]; then
    say "signing ${#files[@]} RPM packages"
    logged "$dir" sign rpmsign --addsign --define "_gpg_name $key" \
      --define "__gpg $(command -v gpg)" "${files[@]}"
  fi
}

# sign_file KEY FILE: FILE.asc
sign_file() { gpg --batch --yes --quiet --local-user "$1" --armor --detach-sign --output "$2.asc" "$2"; }

make_repositories() {
  local dir=$1 key=$2 kind
  rm -rf "$dir/repo"
  mkdir -p "$dir/repo"
  if [ -d "$dir/deb" ]; then
    apt_repository "$dir" "$key"
  fi
  for kind in rhel suse; do
    [ ! -d "$dir/$kind" ] || rpm_repository "$dir" "$kind" "$key"
  done
}

apt_repository() {
  local repo=$1/repo/apt key=$2
  say "making the repository for apt"
  mkdir -p "$repo"
  cp "$1"/deb/*.deb "$repo/"
  (
    cd "$repo" || exit
    apt-ftparchive packages . >Packages
    gzip -9nk Packages
    apt-ftparchive -o APT::FTPArchive::Release::Origin=mod_kms -o APT::FTPArchive::Release::Label=mod_kms \
      -o "APT::FTPArchive::Release::Date=$(LC_ALL=C date -u -d "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S UTC')" \
      release . >../Release
    mv ../Release Release
    if [ -n "$key" ]; then
      gpg --batch --yes --quiet --local-user "$key" --clearsign --output InRelease Release
      gpg --batch --yes --quiet --local-user "$key" --armor --detach-sign --output Release.gpg Release
      gpg --batch --yes --export "$key" >hadoop-kms.gpg
      echo "deb [signed-by=/usr/share/keyrings/hadoop-kms.gpg] https://REPOSITORY/apt ./" >hadoop-kms.list
    else
      echo "deb [trusted=yes] https://REPOSITORY/apt ./" >hadoop-kms.list
    fi
  )
}

rpm_repository() {
  local kind=$2 key=$3 name=yum repo check=0
  [ "$kind" = rhel ] || name=zypper
  repo=$1/repo/$name
  say "making the repository for $name"
  mkdir -p "$repo"
  cp "$1/$kind"/*.rpm "$repo/"
  # The list of packages has the times of their files in it.
  touch -d "@$SOURCE_DATE_EPOCH" "$repo"/*.rpm
  createrepo_c --quiet --no-database --revision "$SOURCE_DATE_EPOCH" --set-timestamp-to-revision "$repo"
  if [ -n "$key" ]; then
    check=1
    sign_file "$key" "$repo/repodata/repomd.xml"
    gpg --batch --yes --armor --export "$key" >"$repo/repodata/repomd.xml.key"
  fi
  cat >"$repo/hadoop-kms.repo" <<REPO
[hadoop-kms]
name=Hadoop KMS in Apache httpd
baseurl=https://REPOSITORY/$name
enabled=1
gpgcheck=$check
repo_gpgcheck=$check
gpgkey=https://REPOSITORY/$name/repodata/repomd.xml.key
REPO
}
