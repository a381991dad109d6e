# SPDX-License-Identifier: Apache-2.0
"""The gate: every script of every package ends with 0, whatever goes wrong around it."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Packages, RpmSystem, deb_repository
from rootfs import TOP, Root, run

# Commands of our scripts, each made to fail. Nothing is left that works but the shell.
COMMANDS = ("a2dismod a2enmod a2query apache2ctl apachectl awk cat chgrp chmod chown cp cut deb-systemd-helper dirname "
            "dpkg-maintscript-helper grep head httpd invoke-rc.d kmsctl ln mkdir mktemp mv od readlink restorecon rm rmdir "
            "rpm sed selinuxenabled semodule sort stat systemctl tail tr ucf ucfr update-rc.d").split()
DEB_CALLS = {"preinst": ["install", "install 1:0.0.9-1", "upgrade 1:0.0.9-1", "upgrade 3.3.6", "abort-upgrade 1:0.1.0-1"],
             "postinst": ["configure", "configure 1:0.0.9-1", "configure 3.3.6", "abort-upgrade 1:0.1.0-1", "abort-remove",
                          "triggered /x", "abort-deconfigure in-favour x 1"],
             "prerm": ["remove", "upgrade 1:0.1.0-1", "failed-upgrade 3.3.6", "remove in-favour x 1",
                       "deconfigure in-favour x 1"],
             "postrm": ["remove", "purge", "upgrade 1:0.1.0-1", "failed-upgrade 3.3.6", "abort-install",
                        "abort-install 3.3.6", "abort-upgrade 3.3.6", "disappear x 1"]}
HEADER = re.compile(r"^(\w+) scriptlet \(using (\S+)\):$|^(\w+) program: (\S+)$")


def rpm_scriptlets(package: Path) -> list[tuple[str, str, str]]:
    """(kind, interpreter, body) of each."""
    found: list[tuple[str, str, str]] = []
    for line in run("rpm", "-qp", "--scripts", package).stdout.splitlines():
        if m := HEADER.match(line):
            found.append((m[1] or m[3], m[2] or m[4], ""))
        elif found:
            kind, interpreter, body = found[-1]
            found[-1] = (kind, interpreter, body + line + "\n")
    return found


def fail_commands(root: Root) -> None:
    for name in COMMANDS:
        for folder in ("usr/bin", "usr/sbin"):
            path = root / folder / name
            path.unlink(missing_ok=True)
            path.write_text("#!/bin/sh\nexit 1\n")
            path.chmod(0o755)


def gate(root: Root, scripts: dict[str, list[str]]) -> None:
    """Each script (a path in the root) with each set of arguments, in each kind of trouble; none may end but with 0."""
    loop = "".join(f"env -i {environment} /bin/sh {path} {arguments} </dev/null >/tmp/said 2>&1 || "
                   f"echo \"$?: {path} {arguments} ({environment}): $(/usr/bin/head -c 300 /tmp/said)\"\n"
                   for path, calls in scripts.items() for arguments in calls
                   for environment in ("PATH=/nonexistent", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", ""))
    assert loop.count("env -i") > 5
    (root / "gate").mkdir(exist_ok=True)
    for trouble in ("none", "read-only", "failing commands"):
        if trouble == "read-only":
            root.run("mount -o remount,ro / && mount -t tmpfs none /tmp")
        if trouble == "failing commands":
            root.run("umount /tmp; mount -o remount,rw /")
            fail_commands(root)
        said = root.run("/bin/sh -s", stdin=None, input=loop).stdout
        assert said == "", f"with {trouble}:\n{said}"


@pytest.mark.parametrize("rpm_system", ["rhel", "suse"], indirect=True)
def test_rpm_scriptlets(rpm_system: RpmSystem, packages: Packages) -> None:
    system, root = rpm_system, rpm_system.root
    files = packages.rpms(system.flavour)
    system.repository(files)
    system.install()
    scripts: dict[str, list[str]] = {}
    kinds: set[str] = set()
    for package in files:
        for kind, interpreter, body in rpm_scriptlets(package):
            kinds.add(kind)
            if interpreter != "/bin/sh":
                assert interpreter == "/sbin/ldconfig" and not body.strip(), (package.name, kind, interpreter)
                continue
            assert body.rstrip().endswith("exit 0"), (package.name, kind)
            assert not re.search(r"rpm -[eiUF]|dnf|zypper +(in|rm)|userdel|groupdel|rm -", body), (package.name, kind)
            path = f"/gate/{package.name}-{kind}"
            root.write(path, body, 0o755)
            scripts[path] = ["0", "1", "2", ""]
    assert {"postinstall", "postuninstall", "posttrans", "preinstall"} <= kinds, kinds
    gate(root, scripts)


def test_deb_scripts(debian: Root, packages: Packages, work: Path) -> None:
    root = debian
    deb_repository(root / "repo", packages.debs())
    root.run("apt-get -q update && apt-get -y install hadoop-kms hadoop-kms-server")
    scripts: dict[str, list[str]] = {}
    for package in packages.debs():
        control = work / "control" / package.stem
        control.mkdir(parents=True)
        run("dpkg-deb", "-e", package, control)
        for kind, calls in DEB_CALLS.items():
            if (control / kind).exists():
                path = f"/gate/{package.name}-{kind}"
                root.write(path, (control / kind).read_text(), 0o755)
                scripts[path] = calls
    for name in ("hadoop-kms", "hadoop-kms-server", "libapache2-mod-kms"):
        for kind in ("prerm", "postrm"):
            assert any(f"/{name}_" in s and s.endswith(kind) for s in scripts), f"{name} has no guard {kind}"
    gate(root, scripts)


def test_scripts_say_nothing_when_all_is_well(debian: Root, packages: Packages) -> None:
    root = debian
    deb_repository(root / "repo", packages.debs())
    root.run("apt-get -q update && apt-get -y install hadoop-kms hadoop-kms-server")
    said = root.run("/usr/lib/hadoop-kms/setup; /usr/lib/hadoop-kms/reload; export DPKG_MAINTSCRIPT_PACKAGE=libapache2-mod-kms; "
                    "/var/lib/dpkg/info/libapache2-mod-kms.postinst configure 1:0.0.9-1").stdout
    assert said == ""


def test_versions_agree() -> None:
    version = re.search(r"AC_INIT\(\[hadoop-kms\],\[([\d.]+)\]", (TOP / "configure.ac").read_text())[1]
    assert f"kms (1:{version}-1)" in (TOP / "debian/changelog").read_text().splitlines()[0]
    spec = (TOP / "rpm/kms.spec").read_text()
    assert re.search(rf"^Version: +{re.escape(version)}$", spec, re.M) and re.search(r"^Epoch: +1$", spec, re.M)
