# SPDX-License-Identifier: Apache-2.0
"""docs/kerberos.md: its commands, run from top to bottom, lead from an empty KDC to a working client.

What is replaced in them is listed here; everything else is run as it stands, and prints what the page says it prints.
"""
from __future__ import annotations

import grp
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import TOP, Area, free_port, hadoop_xml, have_module, httpd_program, module_dir, serving_account, wait_for
from kdc import PATH, missing
from tls import Authority, TlsDropIn

PAGE = TOP / "docs" / "kerberos.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
ANSWER = "Correct-Horse-9\n"  # to whatever asks for a password

# Not run: they install, or need what this test has not.
NOT_RUN = {
    "apt install": "the machine is set up already", "dnf install": "another distribution",
    "zypper install": "another distribution", "hadoop key list": "tests/interop/run-kerberos has the Java client"}


class PageServer(TlsDropIn):
    """The shipped drop-in with TLS, and the page's blocks where it says that they belong."""

    def __init__(self, area: Area, loading: str, location: str) -> None:
        super().__init__(area, authority=Authority(area.path / "ca"))
        self.loading, self.page_location = loading, location
        self.replaced = str  # what the walk makes of the page's text
        names = "DNS:kms1.example.com,DNS:kms.example.com"
        self.use_certificate(self.authority.server("page", names))
        self.server_lines = ["ServerName kms1.example.com"]

    def frame(self) -> str:
        return super().frame() + self.replaced(self.loading)

    def choose(self, kms_conf: str) -> str:
        chosen = super().choose(kms_conf)
        changed, count = re.subn(r"^ *<Location \"/\">\n.*?</Location>\n", lambda _: self.replaced(self.page_location), chosen,
                                 flags=re.M | re.S)
        assert count == 1, "kms.conf has one <Location>"
        return changed


class Walk:
    """The reader: a shell, and hosts that are this one."""

    def __init__(self, area: Area, text: str) -> None:
        self.area = area
        self.place = area.path / "root"
        for folder in ("etc/hadoop-kms", "etc/krb5kdc", "var/lib/krb5kdc", "home"):
            (self.place / folder).mkdir(parents=True)
        self.kdc_port = free_port()
        self.blocks = BLOCK.findall(text)
        self.server = PageServer(area, *(body for kind, body in self.blocks if kind == "apache"))
        self.server.replaced = self.replaced
        rows = [body for kind, body in self.blocks if kind == "xml"]
        area.write("kms-site.xml", hadoop_xml({
            k: v for k, v in area.site_properties().items() if k != "hadoop.kms.authentication.type"}).replace(
                "</configuration>", "".join(rows) + "</configuration>"))
        # curl finds the two names and the CA here, as it would by DNS and the system's certificates.
        (self.place / "home" / ".curlrc").write_text(
            f'silent\nshow-error\nnoproxy = "*"\nmax-time = 60\ncacert = "{self.server.authority.pem}"\n'
            + "".join(f'resolve = "{name}:{self.server.port}:127.0.0.1"\n'
                      for name in ("kms1.example.com", "kms.example.com")))

    def replaced(self, text: str) -> str:
        """A command of the page as it is for this test."""
        account = serving_account()
        group = grp.getgrgid(account.pw_gid).gr_name if account else grp.getgrgid(os.getegid()).gr_name
        owner = "root" if account else str(os.geteuid())
        for theirs, ours in {
            "/etc/krb5.conf": f"{self.place}/etc/krb5.conf",
            "/etc/krb5kdc/": f"{self.place}/etc/krb5kdc/",
            "/var/lib/krb5kdc/": f"{self.place}/var/lib/krb5kdc/",
            "/etc/hadoop-kms/kms.keytab": f"{self.place}/etc/hadoop-kms/kms.keytab",
            "/var/log/hadoop-kms/kms-audit.log": str(self.server.audit_log),
            "modules/mod_auth_gssapi.so": str(module_dir() / "mod_auth_gssapi.so"),
            "kms1.example.com:88": f"127.0.0.1:{self.kdc_port}",
            "listen = 88": f"listen = 127.0.0.1:{self.kdc_port}",
            ".com:9600": f".com:{self.server.port}",
            "root:www-data": f"{owner}:{group}",
            "systemctl restart krb5-kdc": f"krb5kdc -P {self.place}/kdc.pid",
            "systemctl restart apache2": f"touch {self.place}/start",
            "apachectl configtest": f"{httpd_program()} -f {self.server.config_file} -t 2>&1",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("KRB5", "HADOOP_"))}
        return {**clean, "PATH": PATH, "HOME": str(self.place / "home"), "LC_ALL": "C",
                "KRB5_CONFIG": str(self.place / "etc/krb5.conf"),
                "KRB5_KDC_PROFILE": str(self.place / "etc/krb5kdc/kdc.conf"),
                "KRB5CCNAME": f"FILE:{self.place}/home/tickets"}

    def run(self, block: str) -> str:
        script = "set -eu\n" + self.replaced(block)
        done = subprocess.run(["bash", "-c", script], input=ANSWER * 10, capture_output=True, text=True, timeout=120,
                              env=self.environment(), check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        if (self.place / "start").exists():
            (self.place / "start").unlink()
            self.start_httpd()
        return done.stdout

    def start_httpd(self) -> None:
        # The cache of tickets that were seen, apart from that of other servers here.
        seen = self.server.run / "seen"
        seen.mkdir()
        self.area.give(seen)
        self.server.environment.update({"KRB5_CONFIG": self.environment()["KRB5_CONFIG"],
                                        "KRB5RCACHENAME": f"file2:{seen}/rcache"})
        self.server.start()

    def end(self) -> None:
        pid_file = self.place / "kdc.pid"
        if pid_file.exists():
            pid = int(pid_file.read_text())
            os.kill(pid, signal.SIGTERM)
            wait_for("the KDC to end", lambda: not Path(f"/proc/{pid}").exists(), 20)


@pytest.fixture
def walk(registry, area: Area):
    lacking = missing() + [name for name in ("curl", "openssl") if shutil.which(name) is None]
    if lacking or not have_module("ssl"):
        pytest.skip("not here: " + ", ".join(lacking or ["mod_ssl"]))
    it = Walk(area, PAGE.read_text(encoding="utf-8"))
    registry.servers.append(it.server)
    yield it
    it.end()


def check_printed(wanted: str, printed: str, block: str) -> None:
    """Each line of the page, in this order; what stands around them may differ from host to host."""
    at = 0
    for line in wanted.splitlines():
        found = printed.find(line.strip(), at)
        assert found >= 0, f"{block}\nprints no '{line}' where the page has it:\n{printed}"
        at = found + len(line.strip())


def test_every_command_of_the_page(walk: Walk) -> None:
    printed, last, kinds = "", "", []
    for kind, body in walk.blocks:
        kinds.append(kind)
        if kind == "sh":
            if "configtest" in body:
                walk.server.write_config()
            last, printed = body, walk.run(body)
        elif kind == "output":
            check_printed(body, printed, last)
        elif kind == "console":
            for line in body.splitlines():
                assert any(line.startswith(known) for known in NOT_RUN), f"neither run nor excused: {line}"
        else:
            assert kind in ("apache", "xml"), kind
    assert kinds.count("sh") >= 8 and kinds.count("output") >= 5


def test_configtest_of_the_page_says_nothing(walk: Walk) -> None:
    """Neither error nor warning, once the keytab is there."""
    for kind, body in walk.blocks:
        if kind == "sh" and "configtest" in body:
            break
        if kind == "sh":
            walk.run(body)
    walk.server.environment["KRB5_CONFIG"] = walk.environment()["KRB5_CONFIG"]
    status, text = walk.server.configtest()
    assert status == 0 and "KMS" not in text, text


def test_every_id_of_its_tables_is_explained() -> None:
    page, messages = PAGE.read_text(encoding="utf-8"), (TOP / "docs" / "messages.md").read_text(encoding="utf-8")
    named, known = set(re.findall(r"KMS\d{4}", page)), set(re.findall(r"^\| (KMS\d{4}) \|", messages, re.M))
    assert named and named <= known
    assert {i for i in known if "KMS0520" <= i <= "KMS0539"} <= named, "each check of configtest is in the table"
