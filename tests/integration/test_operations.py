# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/operations.md, taken from the page and run on a real httpd: what an operator copies at night works.

The page's own names are replaced by those of the test; apachectl and systemctl are those of the private httpd.
"""
from __future__ import annotations

import grp
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from client import Client, unbase64
from harness import BUILD, PASSWORD, TOP, Area, Httpd, httpd_program, is_root, serving_account, wait_for
from tls import TlsClient, TlsDropIn, trusting

pytestmark = pytest.mark.skipif(not is_root(), reason="the commands are root's")

PAGE = (TOP / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^( *)```sh ([\w-]+)\n(.*?)^\1```$", re.M | re.S)
BLOCKS = {name: text for _, name, text in BLOCK.findall(PAGE)}
RUN_HERE = {"names", "install", "check", "migrate", "backup", "restore", "audit", "password", "certificate", "secret-next",
            "secret-roll", "secret-end"}

SYSTEMCTL = """#!/bin/sh
stop() { [ ! -e {pid} ] || {httpd} -k stop || exit 1; while [ -e {pid} ]; do sleep 0.05; done; }
case $1 in
  start) {httpd} -k start ;;
  stop) stop ;;
  restart) stop; {httpd} -k start ;;
esac
"""
APACHECTL = """#!/bin/sh
case $1 in
  configtest) exec {httpd} -t ;;
  *) exec {httpd} -k "$1" ;;
esac
"""


class Operator:
    """Root on the host of a server, with the names of the page set to what this host has."""

    def __init__(self, httpd: Httpd) -> None:
        self.httpd, self.area = httpd, httpd.area
        self.bin = httpd.area.path / "bin"
        self.bin.mkdir()
        (self.bin / "kmsctl").symlink_to(BUILD / "tools" / "kmsctl" / "kmsctl")
        for name, text in (("systemctl", SYSTEMCTL), ("apachectl", APACHECTL)):
            command = f'{httpd_program()} -f "{httpd.config_file}"'
            (self.bin / name).write_text(text.replace("{httpd}", command).replace("{pid}", f"{httpd.run}/httpd.pid"))
            (self.bin / name).chmod(0o755)
        account = serving_account()
        assert account is not None
        self.names = {
            "KEYSTORE": self.area.keystore, "PASSWORD_FILE": self.area.conf / "kms.keystore.password",
            "CONF": self.area.conf, "AUDIT": httpd.run / "kms-audit.log", "SECRET": self.area.conf / "secret",
            "BACKUP": self.area.path / "backup", "OWNER": account.pw_name,
            "GROUP": grp.getgrgid(account.pw_gid).gr_name,
            "SERVICE": "httpd", "URL": f"http://127.0.0.1:{httpd.port}", "TLS": httpd.run / "tls",
            "LOOK": f"curl -fsS http://127.0.0.1:{httpd.port}/kms/v1/keys/names?user.name=root"}

    def run(self, *blocks: str, **more: object) -> str:
        script = "set -euo pipefail\n" + "".join(f"{k}='{v}'\n" for k, v in {**self.names, **more}.items())
        script += "".join(BLOCKS[name] for name in blocks)
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", script + 'echo "COPY=${COPY:-}"\n'], capture_output=True, text=True,
                              env=environment, timeout=120, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.httpd.log_text()}"
        return done.stdout

    def client(self) -> Client:
        return Client(self.httpd.port, fresh=True)


@pytest.fixture
def operator(httpd: Httpd):
    it = Operator(httpd)
    yield it
    subprocess.run([it.bin / "systemctl", "stop", "httpd"], check=True, timeout=60, capture_output=True)


def started(operator: Operator) -> Client:
    operator.httpd.write_config()
    operator.run("check")
    return operator.client()


def test_every_block_of_the_page_is_run_here() -> None:
    assert set(BLOCKS) == RUN_HERE
    assert PAGE.count("```sh ") == len(RUN_HERE) and PAGE.count("```") == 2 * len(RUN_HERE)


def test_the_names_of_the_page_are_those_set_here(operator: Operator) -> None:
    assert set(re.findall(r"\b([A-Z_]+)=", BLOCKS["names"])) == set(operator.names)


def test_install_and_take_over(operator: Operator) -> None:
    """From folders and a keystore that are root's, as a copy of another host is."""
    os.chown(operator.area.store, 0, 0)
    operator.httpd.write_config()
    operator.run("install")
    operator.run("check")
    client = operator.client()
    assert client.create("k", length=128).status == 201
    os.chown(operator.area.keystore, 0, 0)
    operator.run("migrate", "check")
    assert client.create("l", length=128).status == 201
    assert sorted(client.names().json()) == ["k", "l"]


def test_back_up_and_restore(operator: Operator) -> None:
    client = started(operator)
    assert client.create("kept", length=128).status == 201
    eek = client.generate("kept").json()[0]
    dek = client.decrypt(eek).json()["material"]
    copy = operator.run("backup").rpartition("COPY=")[2].strip()
    assert client.create("later", length=128).status == 201

    operator.httpd.allow("KMS0107", "KMS0110")
    operator.area.keystore.write_bytes(b"damaged" * 1000)
    operator.run("restore", COPY=copy)
    assert client.names().json() == ["kept"]
    assert client.decrypt(eek).json()["material"] == dek
    assert Path(f"{operator.area.keystore}.before-restore").read_bytes().startswith(b"damaged")
    assert client.roll("kept").status == 200, "the file is not the server's to write"


def test_a_copy_that_is_no_keystore_is_not_restored(operator: Operator) -> None:
    client = started(operator)
    assert client.create("kept", length=128).status == 201
    broken = operator.area.path / "broken"
    broken.write_bytes(b"nothing")
    with pytest.raises(AssertionError):
        operator.run("restore", COPY=broken)
    assert client.names().json() == ["kept"], "httpd was stopped for it"


def test_the_audit_log(operator: Operator) -> None:
    client = started(operator)
    operator.httpd.allow("KMS0406")
    assert client.create("before", length=128).status == 201
    before = operator.httpd.generations()
    operator.run("audit")
    wait_for("the new generation", lambda: operator.httpd.generations() > before, 30)
    assert client.create("after", length=128).status == 201
    log = operator.names["AUDIT"]
    assert "CREATE_KEY" in Path(f"{log}.1").read_text() and "before" in Path(f"{log}.1").read_text()
    wait_for("a line in the new file", lambda: "after" in Path(log).read_text())


def test_the_password(operator: Operator) -> None:
    client = started(operator)
    assert client.create("a", length=128).status == 201
    assert client.roll("a").status == 200
    material = [v["material"] for v in client.versions("a").json()]
    operator.run("password")
    assert [v["material"] for v in client.versions("a").json()] == material
    assert client.roll("a").status == 200
    assert operator.names["PASSWORD_FILE"].read_text().strip() != PASSWORD
    old = operator.names["PASSWORD_FILE"].with_name("kms.keystore.password.old")
    refused = subprocess.run([operator.bin / "kmsctl", "keystore", "verify", "--password-file", old,
                              operator.area.keystore], capture_output=True, check=False)
    assert refused.returncode != 0


def test_the_cookie_secret(operator: Operator) -> None:
    secret = operator.area.write("secret", b"the first secret")
    operator.httpd.directives.append(f'KMSSignatureSecretFile "{secret}"')
    client = started(operator)
    cookie = {"Cookie": client.names().cookie()}
    operator.run("secret-next")
    following = Path(f"{secret}.next").read_bytes()

    def accepted() -> bool:
        return client.call("GET", "keys/names", headers=cookie, user=None).status == 200
    assert accepted()
    operator.httpd.expect("KMS0360")
    operator.run("secret-roll")
    assert secret.read_bytes() == following
    wait_for("the new secret", lambda: "KMS0360" in operator.httpd.log_text())
    assert all(accepted() for _ in range(20))
    operator.run("secret-end")
    assert all(accepted() for _ in range(20))


def test_the_certificate(registry, area: Area) -> None:
    server = TlsDropIn(area)
    registry.servers.append(server)
    operator = Operator(server)
    server.start()

    def shown() -> bytes:
        pem = ssl.get_server_certificate(("127.0.0.1", server.port))
        return ssl.PEM_cert_to_DER_cert(pem)
    before = shown()
    fresh = server.authority.server("renewed")
    for source, name in ((fresh, "NEW.pem"), (fresh.with_suffix(".key"), "NEW.key")):
        shutil.copyfile(source, server.tls / name)
    operator.run("certificate")
    wait_for("the new certificate", lambda: shown() != before, 30)
    client = TlsClient(server.port, trusting(server.authority))
    assert client.create("k", length=128).status == 201
    assert unbase64(client.current("k").json()["material"])
    client.close()


def test_a_key_that_does_not_fit_its_certificate_is_not_installed(registry, area: Area) -> None:
    server = TlsDropIn(area)
    registry.servers.append(server)
    operator = Operator(server)
    server.start()
    before = (server.tls / "server.pem").read_bytes()
    shutil.copyfile(server.authority.server("one"), server.tls / "NEW.pem")
    shutil.copyfile(server.authority.server("other").with_suffix(".key"), server.tls / "NEW.key")
    with pytest.raises(AssertionError):
        operator.run("certificate")
    assert (server.tls / "server.pem").read_bytes() == before
