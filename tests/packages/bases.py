# SPDX-License-Identifier: Apache-2.0
"""The roots that all tests start from: a minimal Debian with httpd, and one with rpm, dnf and zypper on top.

usage: bases.py DIR    makes both in DIR, for KMS_PACKAGES_BASES
"""
from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from rootfs import Root, run

# What the packages need, so that the tests' own installations need no network.
DEB_PACKAGES = ("apache2 curl ucf logrotate libcurl4 libexpat1 libjansson4 libkrb5-3 libgssapi-krb5-2 libpcre2-8-0 "
                "libp11-kit0 libpq5 libsasl2-2 libssl3 libunistring2 libzookeeper-mt2").split()
RPM_PACKAGES = "rpm dnf zypper".split()
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install"


def sources() -> list[Path]:
    """Where this machine has its Debian packages from."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian.*"))]
    return [f for f in files if f.exists() and "debian" in f.read_text()]


def mirror() -> str:
    for file in sources():
        found = re.search(r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S+/debian/?)(?:\s|$)", file.read_text(), re.M)
        if found:
            return found[1]
    raise RuntimeError("no Debian mirror in /etc/apt")


def make_debian(where: Path) -> Path:
    run("debootstrap", "--variant=minbase", "bookworm", where, mirror(), timeout=900)
    (where / "etc/apt/sources.list").unlink(missing_ok=True)
    for file in sources():
        shutil.copy(file, where / str(file).lstrip("/"))
    # Nothing is started by itself.
    policy = where / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    in_network(where, f"apt-get -q update && {INSTALL} {' '.join(DEB_PACKAGES)}")
    return where


def make_rpm(debian: Path, where: Path) -> Path:
    run("cp", "-a", debian, where)
    in_network(where, f"{INSTALL} {' '.join(RPM_PACKAGES)}")
    # Debian's rpm has its database in the home directory, and no directories of a distribution.
    macros = where / "etc/rpm/macros.kms-test"
    macros.parent.mkdir(parents=True, exist_ok=True)
    macros.write_text("%_dbpath /var/lib/rpm\n%_docdir /usr/share/doc\n")
    (where / "etc/dnf").mkdir(exist_ok=True)
    (where / "etc/dnf/dnf.conf").write_text("[main]\ngpgcheck=1\ninstallonly_limit=3\nbest=True\nskip_if_unavailable=False\n")
    (where / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
    yum = where / "usr/bin/yum"
    if not yum.exists():
        yum.symlink_to("dnf")
    return where


def in_network(where: Path, command: str) -> None:
    """A command in the root with this machine's network, for its packages."""
    resolv = where / "etc/resolv.conf"
    if Path("/etc/resolv.conf").exists():
        resolv.write_text(Path("/etc/resolv.conf").read_text())
    run("unshare", "--mount", "sh", "-c",
        f'mount -t proc proc "{where}/proc"; mount --rbind /dev "{where}/dev"; '
        f'exec chroot "{where}" /bin/sh -c "$0"', command, timeout=900)


def ensure(where: Path, maker) -> Path:
    """One that is there is whole."""
    if not where.exists():
        fresh = where.with_name(f"{where.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        maker(fresh)
        fresh.rename(where)
    return where


def ensure_debian(folder: Path) -> Path:
    return ensure(folder / "debian", make_debian)


def ensure_rpm(folder: Path) -> Path:
    return ensure(folder / "rpm", lambda to: make_rpm(ensure_debian(folder), to))


__all__ = ["Root", "ensure_debian", "ensure_rpm"]

if __name__ == "__main__":
    ensure_rpm(Path(sys.argv[1]))
