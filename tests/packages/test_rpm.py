# SPDX-License-Identifier: Apache-2.0
"""yum and zypper, as an operator types them. The httpd is Debian's in the layout of RHEL and SLES (stubs.py)."""
from __future__ import annotations

import builds
import javakms
import pytest
import stubs
from conftest import NEWER, OLDER, Packages, RpmSystem
from rootfs import Load, run, wait_for

BOTH = pytest.mark.parametrize("rpm_system", ["rhel", "suse"], indirect=True)
EDIT = "\n# edited by the operator\n"
NAMES = ("hadoop-kms", "hadoop-kms-server")


def whole(system: RpmSystem, version: str) -> None:
    """Everything once, in one version."""
    for name in (*NAMES, system.module):
        assert system.versions(name) == [version], name


def verified(system: RpmSystem) -> list[str]:
    """What rpm finds changed, but for edited configuration."""
    said = system.root.run(f"rpm -V hadoop-kms hadoop-kms-server {system.module}", check=False).stdout
    return [line for line in said.splitlines() if " c " not in line]


def installed(system: RpmSystem, packages: Packages, which: str = "this") -> None:
    system.repository(packages.rpms(system.flavour, which))
    system.install()


def start(system: RpmSystem) -> int:
    system.start()
    wait_for("answers", system.root.answers)
    return system.main_pid()


@BOTH
def test_the_known_command_serves(rpm_system: RpmSystem, packages: Packages) -> None:
    system, root = rpm_system, rpm_system.root
    installed(system, packages)
    whole(system, builds.version())
    assert verified(system) == []
    start(system)
    root.serve_key("first")
    for path in ("/jmx", "/conf", "/logs", "/stacks", "/prom", "/metrics", "/server-status"):
        assert root.status(path) in (401, 403, 404), path

    def mode(path: str) -> str:
        return root.run(f"stat -c '%a %U %G' {path}").stdout.strip()

    user, group = system.user, system.group
    assert mode("/etc/hadoop-kms/conf/kms.keystore.password") == f"640 root {group}"
    assert mode("/etc/hadoop-kms/http-auth-signature-secret") == f"640 root {group}"
    assert mode("/var/lib/hadoop-kms") == f"700 {user} {group}"
    assert mode("/var/lib/hadoop-kms/kms.keystore") == f"600 {user} {group}"
    assert mode("/var/log/hadoop-kms") == f"750 root {group}"
    assert verified(system) == []


@BOTH
def test_upgrade_of_a_running_server(rpm_system: RpmSystem, packages: Packages) -> None:
    system, root = rpm_system, rpm_system.root
    installed(system, packages, "older")
    for path in (system.kms_conf, "/etc/hadoop-kms/conf/kms-site.xml"):
        text = (root / path).read_text()
        (root / path).write_text(text + (javakms.EDITED if path.endswith("xml") else EDIT))
    secret = (root / "etc/hadoop-kms/conf/kms.keystore.password").read_text()
    pid = start(system)
    root.serve_key("load")
    eek = root.generate("load")
    system.repository(packages.rpms(system.flavour, "newer"))
    with Load(root) as load:
        # yum's best=True and zypper upgrade by "install" too; "update" is the plain one.
        system.manage("update")
        wait_for("the new module", lambda: root.loaded_module_is_current(pid))
    assert set(load.counts) == {"200"}, load.counts
    assert load.counts["200"] > 20
    assert pid == system.main_pid()
    whole(system, NEWER)
    assert EDIT in (root / system.kms_conf).read_text()
    assert root.has(f"{system.kms_conf}.rpmnew")
    assert javakms.EDITED in (root / "etc/hadoop-kms/conf/kms-site.xml").read_text()
    assert root.has("/etc/hadoop-kms/conf/kms-site.xml.rpmnew")
    assert secret == (root / "etc/hadoop-kms/conf/kms.keystore.password").read_text()
    root.decrypt(eek)
    assert verified(system) == []


@BOTH
def test_downgrade_reinstall_erase_and_back(rpm_system: RpmSystem, packages: Packages) -> None:
    system, root = rpm_system, rpm_system.root
    installed(system, packages)
    start(system)
    root.serve_key("kept")
    eek = root.generate("kept")
    system.repository(packages.rpms(system.flavour, "older"))
    names = f"hadoop-kms hadoop-kms-server {system.module}"
    if system.flavour == "rhel":
        system.manage(f"downgrade {names}")
    else:
        system.manage("install --oldpackage " + " ".join(f"{n}=1:{OLDER}-1" for n in names.split()))
    whole(system, OLDER)
    root.decrypt(eek)
    system.manage(f"reinstall {names}" if system.flavour == "rhel" else f"install --force {names}")
    whole(system, OLDER)
    assert verified(system) == []
    root.decrypt(eek)
    site = root / "etc/hadoop-kms/conf/kms-site.xml"
    site.write_text(site.read_text() + javakms.EDITED)
    system.manage(f"remove {names}")
    assert not root.has(system.kms_conf)
    assert root.has("/etc/hadoop-kms/conf/kms-site.xml.rpmsave")
    for kept in ("/var/lib/hadoop-kms/kms.keystore", "/var/log/hadoop-kms/kms-audit.log",
                 "/etc/hadoop-kms/conf/kms.keystore.password"):
        assert root.has(kept), kept
    root.run("/usr/sbin/apachectl graceful")
    wait_for("the port to close", lambda: not root.answers())
    system.install()
    wait_for("answers", root.answers)
    root.decrypt(eek)


@BOTH
@pytest.mark.parametrize("version", javakms.VERSIONS)
def test_a_java_kms_is_replaced(rpm_system: RpmSystem, packages: Packages, work, version: str) -> None:
    system, root = rpm_system, rpm_system.root
    old = stubs.java_rpms(work / f"java-{system.flavour}-{version}", version, javakms.ACLS)
    system.repository(old)
    system.install()
    password_in = "file" if version == javakms.VERSIONS[0] else "environment"
    javakms.leave_behind(root, password_in)
    before = (root / "etc/hadoop-kms/conf/kms-site.xml").read_text()
    system.repository(packages.rpms(system.flavour))
    system.install()
    whole(system, builds.version())
    assert (root / "etc/hadoop-kms/conf/kms-site.xml").read_text() == before
    assert not root.has("/etc/hadoop-kms/conf/kms.keystore.password")
    start(system)
    javakms.serves_its_key(root)


@BOTH
@pytest.mark.parametrize("failing", ["preun", "postun"])
def test_an_old_package_whose_script_fails(rpm_system: RpmSystem, packages: Packages, work, failing: str) -> None:
    """The case of docs/upgrade.md: two versions, and the cure."""
    system, root = rpm_system, rpm_system.root
    old = stubs.java_rpms(work / f"failing-{system.flavour}-{failing}", javakms.VERSIONS[0], javakms.ACLS, failing)
    system.repository(old)
    system.install()
    javakms.leave_behind(root, "file")
    before = (root / "etc/hadoop-kms/conf/kms-site.xml").read_text()
    system.repository(packages.rpms(system.flavour))
    done = system.install(check=False)
    if failing == "preun":
        assert done.returncode != 0, done.stdout
        assert len(system.versions("hadoop-kms")) == 2
    dry = root.run("kms-upgrade-cleanup", check=False)
    if failing == "preun":
        assert dry.returncode == 1 and "would keep hadoop-kms-" + builds.version() in dry.stdout, dry.stdout
        assert len(system.versions("hadoop-kms")) == 2
        cured = root.run("kms-upgrade-cleanup --apply")
        assert f"removed hadoop-kms-{javakms.VERSIONS[0]}" in cured.stdout
    else:
        assert dry.returncode == 0, dry.stdout
    again = system.install(check=False)
    if again.returncode != 0:  # zypper stops at each old package, hadoop-kms-server is the second
        assert system.flavour == "suse", again.stdout
        root.run("kms-upgrade-cleanup --apply")
        system.install()
    whole(system, builds.version())
    assert verified(system) == []
    assert "twice" in root.run("kms-upgrade-cleanup").stdout
    assert (root / "etc/hadoop-kms/conf/kms-site.xml").read_text() == before
    start(system)
    javakms.serves_its_key(root)


@pytest.mark.parametrize("rpm_system", ["suse"], indirect=True)
def test_the_cure_by_hand(rpm_system: RpmSystem, packages: Packages, work) -> None:
    """Without our tool, before the upgrade: the rpm commands of docs/upgrade.md."""
    system, root = rpm_system, rpm_system.root
    old = stubs.java_rpms(work / "by-hand", javakms.VERSIONS[0], javakms.ACLS, "preun")
    system.repository(old)
    system.install()
    javakms.leave_behind(root, "file")
    root.run("cp -a /etc/hadoop-kms /root/hadoop-kms.saved")
    root.run("rpm -e --noscripts hadoop-kms-server hadoop-kms")
    root.run("mkdir -p /etc/hadoop-kms && cp -a /root/hadoop-kms.saved/. /etc/hadoop-kms/")
    system.repository(packages.rpms(system.flavour))
    system.install()
    whole(system, builds.version())
    start(system)
    javakms.serves_its_key(root)


@pytest.mark.parametrize("rpm_system", ["rhel"], indirect=True)
def test_a_port_that_is_taken_leaves_httpd_alone(rpm_system: RpmSystem, packages: Packages) -> None:
    system, root = rpm_system, rpm_system.root
    system.start()
    other = root.listen(9600)
    wait_for("the other program", lambda: root.run("curl -s 127.0.0.1:9600", check=False).returncode == 0)
    system.repository(packages.rpms("rhel"))
    said = system.install().stdout
    assert "port 9600 is in use by another program" in said, said
    assert root.run("curl -s -o /dev/null 127.0.0.1:8088", check=False).returncode == 0
    other.kill()
    other.wait()


def test_epoch_and_needs(packages: Packages) -> None:
    """Ours are newer than every Java version by the epoch, and need each other in the same version."""
    for package in packages.rpms("rhel"):
        assert run("rpm", "-qp", "--qf", "%{EPOCH}", package).stdout.endswith("1")
    [module] = [p for p in packages.rpms("rhel") if p.name.startswith("mod_kms")]
    needs = run("rpm", "-qpR", module).stdout
    assert f"hadoop-kms = 1:{builds.version()}-1" in needs and "httpd-mmn = 20120211" in needs
