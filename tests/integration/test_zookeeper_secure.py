# SPDX-License-Identifier: Apache-2.0
"""ZooKeeper with Kerberos or TLS. Needs a build with a C client that has both; run by tests/interop/run-zookeeper."""
from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from client import Client
from harness import Area, Httpd, free_port, wait_for
from kdc import Kdc
from test_zookeeper import AWAY, MANAGER, SIGNER, check_shared, start_server, wait_until_served
from tls import Authority
from tokens import get, issue, use

USUAL = {"KMS0330", "KMS0342", "KMS0351"}  # connected; who makes the first secrets and the first key


class Server:
    """One ZooKeeper, which comes again when it is killed."""

    def __init__(self, area: Area, *options: str, extra: str = "") -> None:
        self.port = free_port()
        self.folder = area.path / "zookeeper"
        self.folder.mkdir()
        (self.folder / "extra.cfg").write_text(extra)
        self.process = start_server(self.folder, self.port, "--offline", "--", *options)
        wait_for("ZooKeeper", lambda: self.starts() == 1, 60)

    def starts(self) -> int:
        return (self.folder / "out").read_text().count("ZooKeeper ready")

    def kill(self) -> None:
        before = self.starts()
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
        wait_for("ZooKeeper to come again", lambda: self.starts() > before, 60)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def pair(registry, area: Area) -> list[Httpd]:
    nodes = [registry.httpd(area, name) for name in ("first", "second")]
    for node in nodes:
        node.usual |= USUAL
        node.allow(*AWAY)  # ZooKeeper ends before them
    return nodes


def serve(nodes: list[Httpd]) -> None:
    for node in nodes:
        node.start()
    wait_until_served(nodes)


# -- Kerberos


@pytest.fixture
def kerberized(registry, area: Area, kdc: Kdc):
    """A ZooKeeper with Kerberos and the properties of a node that uses it."""
    keytab = kdc.keytab("zookeeper.keytab", "zookeeper/localhost")
    jaas = area.path / "jaas.conf"
    jaas.write_text('Server {\n  com.sun.security.auth.module.Krb5LoginModule required\n  useKeyTab=true storeKey=true '
                    f'useTicketCache=false\n  keyTab="{keytab}" principal="zookeeper/localhost@TEST.REALM";\n}};\n')
    server = Server(
        area, f"-Djava.security.auth.login.config={jaas}", f"-Djava.security.krb5.conf={kdc.config}",
        "-Dzookeeper.kerberos.removeHostFromPrincipal=true", "-Dzookeeper.kerberos.removeRealmFromPrincipal=true",
        extra="authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n")
    yield server
    server.stop()


def kerberos_site(server: Server, keytab: Path, principal: str = "kms/localhost@TEST.REALM") -> dict[str, str]:
    hosts = f"localhost:{server.port}"
    return {
        SIGNER: "zookeeper", f"{SIGNER}.zookeeper.connection.string": hosts, f"{SIGNER}.zookeeper.path": "/kms-signer",
        f"{SIGNER}.zookeeper.auth.type": "sasl", f"{SIGNER}.zookeeper.kerberos.keytab": str(keytab),
        f"{SIGNER}.zookeeper.kerberos.principal": principal,
        f"{MANAGER}.enable": "true", f"{MANAGER}.zkConnectionString": hosts, f"{MANAGER}.zkAuthType": "sasl",
        f"{MANAGER}.kerberos.keytab": str(keytab), f"{MANAGER}.kerberos.principal": principal,
        f"{MANAGER}.kerberos.server.principal": "zookeeper/localhost@TEST.REALM",
    }


def with_tickets(node: Httpd, kdc: Kdc) -> None:
    node.environment["KRB5_CONFIG"] = str(kdc.config)


def test_kerberos(registry, area: Area, kerberized: Server, kdc: Kdc) -> None:
    """Both nodes log in by the keytab; what they write, nobody reads who has not."""
    nodes = pair(registry, area)
    area.write_site(kerberos_site(kerberized, kdc.keytab("kms.keytab", "kms/localhost")))
    for node in nodes:
        with_tickets(node, kdc)
    serve(nodes)
    check_shared(nodes)
    assert "kms/localhost@TEST.REALM for zookeeper/localhost@TEST.REALM" in kdc.log()

    outside = registry.area()
    outside.write_site({**{name: value for name, value in kerberos_site(kerberized, Path("/none")).items()
                           if "kerberos" not in name},
                        f"{SIGNER}.zookeeper.auth.type": "none", f"{MANAGER}.zkAuthType": "none"})
    stranger = registry.httpd(outside)
    stranger.usual |= USUAL
    stranger.allow(*AWAY)
    stranger.start()
    client = Client(stranger.port)
    wait_for("the refusal", lambda: any(text in stranger.log_text() for text in ("not authenticated", "NoAuth")), 30)
    assert get(client, "alice").status == 503 and client.names().status == 503


def test_tickets_end(registry, area: Area, kerberized: Server, kdc: Kdc) -> None:
    """Tickets are got anew before they end: a session that is opened after that is let in, and so is one after a restart of
    ZooKeeper."""
    keytab = kdc.keytab("brief.keytab", "brief/localhost", options='-maxlife "20 seconds"')
    nodes = pair(registry, area)
    area.write_site(kerberos_site(kerberized, keytab, "brief/localhost@TEST.REALM"))
    for node in nodes:
        with_tickets(node, kdc)
    serve(nodes)
    clients = [Client(n.port) for n in nodes]
    token = issue(clients[0])
    began = time.monotonic()
    wait_for("the first tickets to be over", lambda: time.monotonic() - began > 22, 30)
    kerberized.kill()
    wait_until_served(nodes)
    wait_for("the token made before", lambda: [use(c, token).status for c in clients] == [200, 200], 30)
    check_shared(nodes)


def test_no_ticket(registry, area: Area, kerberized: Server, kdc: Kdc) -> None:
    """A keytab that the KDC does not know any more: 503, the log says why, and it goes on once the keytab is right."""
    good = kdc.keytab("late.keytab", "late/localhost")
    keytab = area.path / "node.keytab"
    stale = good.read_bytes()
    kdc.admin("TEST.REALM", "cpw -randkey late/localhost")
    keytab.write_bytes(stale)
    area.give(keytab)
    keytab.chmod(0o400)
    node = registry.httpd(area)
    node.usual |= USUAL
    node.allow(*AWAY)
    area.write_site(kerberos_site(kerberized, keytab, "late/localhost@TEST.REALM"))
    with_tickets(node, kdc)
    node.start()
    client = Client(node.port)
    assert get(client, "alice").status == 503
    wait_for("the reason", lambda: f"no ticket for late/localhost@TEST.REALM by {keytab}" in node.log_text(), 30)
    fresh = kdc.keytab("late.keytab", "late/localhost").read_bytes()
    assert fresh != stale
    keytab.chmod(0o600)
    keytab.write_bytes(fresh)
    wait_for("the node to serve", lambda: get(client, "alice").status == 200, 60)


# -- TLS


def pem_with_key(pem: Path) -> Path:
    """Certificate and key in one file, as both sides read it."""
    both = pem.with_suffix(".both")
    both.write_text(pem.read_text() + pem.with_suffix(".key").read_text())
    both.chmod(0o644)
    return both


def tls_site(port: int, authority: Authority, certificate: Path) -> dict[str, str]:
    hosts = f"localhost:{port}"
    site = {SIGNER: "zookeeper", f"{SIGNER}.zookeeper.connection.string": hosts, f"{SIGNER}.zookeeper.path": "/kms-signer",
            f"{SIGNER}.zookeeper.auth.type": "none", f"{MANAGER}.enable": "true", f"{MANAGER}.zkConnectionString": hosts,
            f"{MANAGER}.zkAuthType": "none"}
    for prefix in (f"{SIGNER}.zookeeper.ssl", f"{MANAGER}.ssl"):
        site |= {f"{prefix}.enabled": "true", f"{prefix}.keystore.location": str(certificate),
                 f"{prefix}.truststore.location": str(authority.pem)}
    return site


@pytest.fixture
def tls_server(area: Area):
    authority = Authority(area.path / "ca")
    secure = free_port()
    certificate = authority.server(names="DNS:localhost,IP:127.0.0.1")
    server = Server(
        area, "-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"-Dzookeeper.ssl.keyStore.location={pem_with_key(certificate)}", "-Dzookeeper.ssl.keyStore.type=PEM",
        f"-Dzookeeper.ssl.trustStore.location={authority.pem}", "-Dzookeeper.ssl.trustStore.type=PEM",
        "-Dzookeeper.ssl.hostnameVerification=false",
        extra=f"secureClientPort={secure}\nsecureClientPortAddress=127.0.0.1\n")
    server.secure, server.authority = secure, authority
    yield server
    server.stop()


def test_tls(registry, area: Area, tls_server: Server) -> None:
    """With a certificate of the CA the nodes share through ZooKeeper; without one they do not."""
    authority = tls_server.authority
    nodes = pair(registry, area)
    mine = pem_with_key(authority.client("kms"))
    area.write_site(tls_site(tls_server.secure, authority, mine))
    for node in nodes:
        node.usual.add("KMS0336")
    serve(nodes)
    check_shared(nodes)

    strange = Authority(area.path / "other-ca", "Other CA")
    outside = registry.area()
    outside.write_site(tls_site(tls_server.secure, authority, pem_with_key(strange.client("kms"))))
    stranger = registry.httpd(outside)
    stranger.usual |= {"KMS0336"}
    stranger.allow(*AWAY)
    stranger.start()
    assert get(Client(stranger.port), "alice").status == 503
