# SPDX-License-Identifier: Apache-2.0
"""The shipped conf.d files, with nothing but their paths and the port changed, in an httpd that has the rest."""
from __future__ import annotations

import pytest
from client import Client
from dropin import DropIn
from harness import Area

LEFT_OFF = ("KMSSignatureSecretFile", "KMSAuditChainKeyFile", "KMSCookieDomain", "KMSCookiePath", "KMSKeystorePassword ")


class Examples(DropIn):
    """With or without every example behind a '#', but for those that name files of their own."""

    with_commented = False

    def choose(self, kms_conf: str) -> str:
        return self.uncomment(kms_conf) if self.with_commented else kms_conf

    def uncomment(self, kms: str) -> str:
        lines = []
        for line in kms.splitlines():
            bare = line.strip()
            if bare.startswith("#KMS") and not any(bare[1:].startswith(d) for d in LEFT_OFF):
                line = bare[1:]
            lines.append(line)
        text = "\n".join(lines) + "\n"
        text = text.replace("/var/lib/hadoop-kms/kms.keystore", str(self.area.keystore))
        return text.replace("/etc/hadoop-kms/keystore-password", str(self.area.conf / "kms.keystore.password"))


@pytest.fixture
def dropin(registry, area: Area) -> Examples:
    server = Examples(area)
    registry.servers.append(server)
    return server


@pytest.mark.parametrize("commented", [False, True], ids=["as shipped", "with every example"])
def test_the_shipped_configuration_serves(dropin: Examples, commented: bool) -> None:
    dropin.with_commented = commented
    code, text = dropin.configtest()
    assert code == 0, text
    dropin.start()
    c = Client(dropin.port)
    assert c.create("a/b").status == 201
    eek = c.generate("a/b").json()[0]
    assert c.decrypt(eek).status == 200
    assert Client(dropin.port, user=None).names().status == 401
    assert Client(dropin.port, user=None).call("GET", "/server-status").status == 401
    assert "CREATE_KEY" in (dropin.run / "kms-audit.log").read_text()
