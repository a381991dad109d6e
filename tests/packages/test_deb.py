# SPDX-License-Identifier: Apache-2.0
"""apt-get, as an operator types it, in a clean Debian."""
from __future__ import annotations

import builds
import javakms
import pytest
import stubs
from conftest import NEWER, OLDER, Packages, deb_repository
from rootfs import Load, Root, wait_for

INSTALL = "apt-get -q update && apt-get -y install hadoop-kms hadoop-kms-server"
EDIT = "\n# edited by the operator\n"


def versions(root: Root) -> dict[str, str]:
    said = root.run("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' '*kms*'").stdout
    return {line.split()[0]: line.split()[1] for line in said.splitlines() if line.endswith(" installed")}


def whole(root: Root, version: str) -> None:
    """Everything of one version, configured, with its files as packaged."""
    got = versions(root)
    assert set(got) == {"hadoop-kms", "hadoop-kms-server", "libapache2-mod-kms"}, got
    assert set(got.values()) == {f"1:{version}-1"}, got
    assert root.run("dpkg --audit").stdout == ""


def start(root: Root) -> int:
    root.run("apache2ctl start")
    wait_for("answers", root.answers)
    return int((root / "run/apache2/apache2.pid").read_text())


def mode(root: Root, path: str) -> str:
    return root.run(f"stat -c '%a %U %G' {path}").stdout.strip()


@pytest.fixture
def installed(debian: Root, packages: Packages) -> Root:
    deb_repository(debian / "repo", packages.debs())
    debian.run(INSTALL)
    return debian


def test_the_known_command_serves(installed: Root, packages: Packages) -> None:
    root = installed
    whole(root, builds.version())
    assert "enabled by maintainer" in root.run("a2query -m kms").stdout
    start(root)
    root.serve_key("first")
    for path in ("/jmx", "/conf", "/logs", "/stacks", "/prom", "/metrics", "/server-status"):
        assert root.status(path) in (401, 403, 404), path
    assert mode(root, "/etc/hadoop-kms/conf/kms.keystore.password") == "640 root www-data"
    assert mode(root, "/etc/hadoop-kms/http-auth-signature-secret") == "640 root www-data"
    assert mode(root, "/var/lib/hadoop-kms") == "700 www-data www-data"
    assert mode(root, "/var/lib/hadoop-kms/kms.keystore") == "600 www-data www-data"
    assert mode(root, "/var/log/hadoop-kms") == "750 root www-data"
    assert len((root / "etc/hadoop-kms/conf/kms.keystore.password").read_text()) == 64
    assert root.run("dpkg --verify").stdout == ""
    assert root.run("kmsctl --version; man -w kmsctl 2>/dev/null; test -e /usr/share/man/man1/kmsctl.1.gz")


def test_upgrade_of_a_running_server(debian: Root, packages: Packages) -> None:
    root = debian
    deb_repository(root / "repo", packages.debs("older"))
    root.run(INSTALL)
    whole(root, OLDER)
    for path in ("etc/apache2/mods-available/kms.conf", "etc/logrotate.d/hadoop-kms"):
        (root / path).write_text((root / path).read_text() + EDIT)
    site = root / "etc/hadoop-kms/conf/kms-site.xml"
    site.write_text(site.read_text() + javakms.EDITED)
    secret = (root / "etc/hadoop-kms/conf/kms.keystore.password").read_text()
    pid = start(root)
    root.serve_key("load")
    eek = root.generate("load")
    deb_repository(root / "repo", packages.debs("newer"))
    with Load(root) as load:
        root.run("apt-get -q update && apt-get -y upgrade")
        wait_for("the new module", lambda: root.loaded_module_is_current(pid))
    assert set(load.counts) == {"200"}, load.counts
    assert load.counts["200"] > 20
    whole(root, NEWER)
    assert pid == int((root / "run/apache2/apache2.pid").read_text())
    assert EDIT in (root / "etc/apache2/mods-available/kms.conf").read_text()
    assert root.has("etc/apache2/mods-available/kms.conf.ucf-dist")
    assert EDIT in (root / "etc/logrotate.d/hadoop-kms").read_text()
    assert "newer" in (root / "etc/apache2/mods-available/kms.load").read_text()
    assert javakms.EDITED in site.read_text()
    assert secret == (root / "etc/hadoop-kms/conf/kms.keystore.password").read_text()
    root.decrypt(eek)
    # An unedited kms.conf is replaced.
    assert root.run("dpkg --verify").stdout.split() == ["??5??????", "c", "/etc/logrotate.d/hadoop-kms"]


def test_downgrade_reinstall_remove_and_back(installed: Root, packages: Packages) -> None:
    root = installed
    start(root)
    root.serve_key("kept")
    eek = root.generate("kept")
    deb_repository(root / "repo", packages.debs("older"))
    root.run("apt-get -q update && apt-get -y --allow-downgrades install "
             + " ".join(f"{p}=1:{OLDER}-1" for p in ("hadoop-kms", "hadoop-kms-server", "libapache2-mod-kms")))
    whole(root, OLDER)
    root.decrypt(eek)
    root.run("apt-get -y reinstall hadoop-kms hadoop-kms-server libapache2-mod-kms")
    root.decrypt(eek)
    root.run("apt-get -y remove hadoop-kms hadoop-kms-server libapache2-mod-kms")
    assert root.run("a2query -m kms", check=False).returncode != 0
    wait_for("the port to close", lambda: not root.answers())
    assert root.run("apache2ctl -t 2>&1").returncode == 0
    root.run("apt-get -y install hadoop-kms hadoop-kms-server")
    wait_for("answers", root.answers)
    root.decrypt(eek)


def test_a_module_that_the_administrator_disabled_stays_so(installed: Root, packages: Packages) -> None:
    root = installed
    root.run("a2dismod -q kms")
    deb_repository(root / "repo", packages.debs("newer"))
    root.run("apt-get -q update && apt-get -y upgrade")
    whole(root, NEWER)
    assert root.run("a2query -m kms", check=False).returncode != 0


def test_purge_leaves_keys_and_audit_alone(installed: Root) -> None:
    root = installed
    start(root)
    root.serve_key("kept")
    root.run("apt-get -y purge hadoop-kms hadoop-kms-server libapache2-mod-kms")
    left = root.run("find / -xdev \\( -name '*kms*' -o -path '*kms*' \\) -not -path '/proc/*' -not -path '/repo*' "
                    "-not -path '/var/lib/apt/*' -not -path '/etc/apt/*' -type f").stdout.split()
    # The password belongs to the keystore, which nobody could open without it.
    assert sorted(left) == ["/etc/hadoop-kms/conf/kms.keystore.password", "/var/lib/hadoop-kms/kms.keystore",
                            "/var/log/hadoop-kms/kms-audit.log"]
    root.run("apt-get -y install hadoop-kms hadoop-kms-server")
    wait_for("answers", root.answers)
    assert root.status("/kms/v1/key/kept/_metadata?user.name=alice") == 200


def test_purge_of_what_never_served(installed: Root) -> None:
    root = installed
    root.run("apt-get -y purge hadoop-kms hadoop-kms-server libapache2-mod-kms")
    left = root.run("find / -xdev -path '*kms*' -not -path '/proc/*' -not -path '/repo*' -not -path '/var/lib/apt/*' "
                    "-not -path '/etc/apt/*'").stdout.split()
    assert left == []


@pytest.mark.parametrize("failing", ["", "prerm", "postrm"])
@pytest.mark.parametrize("version", javakms.VERSIONS)
def test_a_java_kms_is_replaced(debian: Root, packages: Packages, work, version: str, failing: str) -> None:
    root = debian
    where = work / f"java-deb-{version}-{failing or 'fine'}"
    where.mkdir()
    old = stubs.java_debs(where, version, javakms.ACLS, failing)
    deb_repository(root / "repo", old)
    root.run(INSTALL)
    password_in = "file" if version == javakms.VERSIONS[0] else "environment"
    javakms.leave_behind(root, password_in)
    before = (root / "etc/hadoop-kms/conf/kms-site.xml").read_text()
    deb_repository(root / "repo", packages.debs())
    said = root.run(INSTALL).stdout
    whole(root, builds.version())
    assert ("the old version's" in said) == bool(failing), said
    assert (root / "etc/hadoop-kms/conf/kms-site.xml").read_text() == before
    assert not root.has("etc/init.d/hadoop-kms-server")
    assert not root.has("etc/hadoop-kms/conf/kms.keystore.password")
    start(root)
    javakms.serves_its_key(root)


def test_a_port_that_is_taken_leaves_httpd_alone(debian: Root, packages: Packages) -> None:
    root = debian
    deb_repository(root / "repo", packages.debs())
    root.run("apache2ctl start")
    other = root.listen(9600)
    wait_for("the other program", lambda: root.run("curl -s 127.0.0.1:9600", check=False).returncode == 0)
    said = root.run(INSTALL).stdout
    assert "port 9600 is in use by another program" in said
    assert root.run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:80/").stdout == "200"
    other.kill()
    other.wait()
    root.run("/usr/lib/hadoop-kms/reload")
    wait_for("answers", root.answers)


def test_a_configuration_that_is_wrong_breaks_no_httpd(debian: Root, packages: Packages) -> None:
    root = debian
    deb_repository(root / "repo", packages.debs())
    root.run("apache2ctl start")
    root.write("/etc/hadoop-kms/conf/kms-site.xml", "<configuration><property>")
    said = root.run(INSTALL).stdout
    assert "libapache2-mod-kms: not enabled" in said and "kms-site.xml:1" in said
    assert root.run("apache2ctl -t").returncode == 0
    assert root.run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:80/").stdout == "200"


def test_logrotate_loses_no_line(installed: Root) -> None:
    root = installed
    start(root)
    root.serve_key("load")
    before = (root / "var/log/hadoop-kms/kms-audit.log").read_text().count("\n")
    with Load(root) as load:
        root.run("logrotate -f /etc/logrotate.d/hadoop-kms")
        wait_for("a new audit log", lambda: root.has("var/log/hadoop-kms/kms-audit.log"))
        for _ in range(5):
            root.run("curl -s 'http://127.0.0.1:9600/kms/v1/keys/names?user.name=bob'")
    assert set(load.counts) == {"200"}, load.counts
    lines = "".join(p.read_text() for p in (root / "var/log/hadoop-kms").glob("kms-audit.log*"))
    assert lines.count("op=GET_METADATA, key=load") == load.counts["200"]
    assert lines.count("\n") == before + load.counts["200"] + 5
