# SPDX-License-Identifier: Apache-2.0
"""Packages to test: made from the build tree that tools/check has built, so that nothing is compiled twice."""
from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rootfs import TOP, run

BUILD = Path(os.environ.get("KMS_BUILD_DIR", TOP / "build")).resolve()
LAYOUT = {"debian": ("lib/x86_64-linux-gnu", "/usr/lib/apache2/modules"),
          "rhel": ("lib64", "/usr/lib64/httpd/modules"),
          "suse": ("lib64", "/usr/lib64/apache2")}
RPM_MACROS = {"rhel": ["rhel 9", "dist .el9", "_httpd_mmn 20120211x8664"], "suse": ["suse_version 1500"]}


def version() -> str:
    return re.search(r"AC_INIT\(\[hadoop-kms\],\[([\d.]+)\]", (TOP / "configure.ac").read_text())[1]


def changelog_time() -> str:
    """SOURCE_DATE_EPOCH of a package: the date of its last entry."""
    return run("dpkg-parsechangelog", "-l", TOP / "debian/changelog", "-STimestamp").stdout.strip()


def source_tree(work: Path) -> Path:
    """What "make dist" would release."""
    name = f"hadoop-kms-{version()}"
    run("make", "-s", "-C", BUILD, "distdir", f"distdir={work / name}", f"top_distdir={work / name}", timeout=1800)
    return work / name


def installed_tree(work: Path, flavour: str) -> Path:
    """The build tree's "make install" for a distribution."""
    where = work / f"installed-{flavour}"
    libdir, moduledir = LAYOUT[flavour]
    if flavour == "debian":
        multiarch = run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").stdout.strip()
        libdir = f"lib/{multiarch}"
    paths = ["prefix=/usr", f"libdir=/usr/{libdir}", f"moduledir={moduledir}", "docdir=/usr/share/doc/hadoop-kms"]
    run("make", "-s", "-C", BUILD, "install", f"DESTDIR={where}", *paths, timeout=600)
    # These two have the paths that configure was given.
    pc = where / f"usr/{libdir}/pkgconfig/kms.pc"
    pc.write_text(re.sub(r"^libdir=.*$", f"libdir=/usr/{libdir}",
                         re.sub(r"^prefix=.*$", "prefix=/usr", pc.read_text(), flags=re.M), flags=re.M))
    load = where / "usr/share/doc/hadoop-kms/conf.d/10-kms.conf"
    load.write_text((TOP / "conf.d/10-kms.conf.in").read_text().replace("%MODULEDIR%", moduledir))
    for binary in [where / "usr/bin/kmsctl", where / moduledir.lstrip("/") / "mod_kms.so",
                   *(where / f"usr/{libdir}").glob("libkms.so.0.0.0")]:
        run("strip", "--strip-unneeded", binary)
    return where


def debs(work: Path, source: Path, prebuilt: Path, build_number: str = "") -> list[Path]:
    tree = work / f"deb{build_number}" / source.name
    shutil.copytree(source, tree, symlinks=True)
    environment = {**os.environ, "KMS_PREBUILT": str(prebuilt), "DEB_BUILD_OPTIONS": "nocheck noautodbgsym",
                   "LC_ALL": "C.UTF-8"}
    run("dpkg-buildpackage", "-us", "-uc", "-b", "-d", cwd=tree, env=environment)
    return sorted(tree.parent.glob("*.deb"))


def other_deb(package: Path, work: Path, old: str, new: str, edits: dict[str, str]) -> Path:
    """The same package with another version, and lines appended to some of its files."""
    tree = work / f"{package.stem}-{new}"
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(old, new))
    (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
    for path, more in edits.items():
        file = tree / path.lstrip("/")
        if file.exists():
            file.write_text(file.read_text() + more)
    # As in a build: the folders of the server are not for everybody.
    out = work / package.name.replace(old.split(":")[-1], new.split(":")[-1])
    run("dpkg-deb", "--root-owner-group", "-b", tree, out)
    return out


def rpms(work: Path, source: Path, prebuilt: Path, flavour: str, new: str = "", edit: str = "",
         topdir: str = "") -> list[Path]:
    """All binary packages of a flavour, and the source package; another version where one is given."""
    top = work / f"rpm-{flavour}-{new or 'this'}{topdir}"
    (top / "SOURCES").mkdir(parents=True)
    name = source.name.replace(version(), new or version())
    tree = top / name
    shutil.copytree(source, tree, symlinks=True)
    if edit:
        for file in (prebuilt / "usr/share/doc/hadoop-kms/conf.d/kms.conf",):
            changed = top / "prebuilt"
            shutil.copytree(prebuilt, changed, symlinks=True)
            (changed / file.relative_to(prebuilt)).write_text(file.read_text() + edit)
            prebuilt = changed
        for file in (tree / "packaging/conf/kms-site.xml",):
            file.write_text(file.read_text() + f"<!-- {edit.strip('# ')} -->\n".replace("\n -->", " -->"))
    epoch = changelog_time()
    run("tar", "-C", top, "--sort=name", f"--mtime=@{epoch}", "--owner=0", "--group=0", "--numeric-owner", "-czf",
        top / f"SOURCES/{name}.tar.gz", name)
    spec = top / "kms.spec"
    text = (TOP / "rpm/kms.spec").read_text()
    spec.write_text(re.sub(r"^Version:.*$", f"Version:        {new or version()}", text, flags=re.M))
    macros = [f"_topdir {top}", "_docdir /usr/share/doc", "_buildhost reproducible", f"kms_prebuilt {prebuilt}",
              "use_source_date_epoch_as_buildtime 1", "clamp_mtime_to_source_date_epoch 1", *RPM_MACROS[flavour]]
    run("rpmbuild", "-ba", "--nodeps", *(x for m in macros for x in ("--define", m)), spec,
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch}, timeout=900)
    return sorted((top / "RPMS").rglob("*.rpm")) + sorted((top / "SRPMS").glob("*.rpm"))
