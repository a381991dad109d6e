# SPDX-License-Identifier: Apache-2.0
"""The shipped conf.d files, with nothing but their paths and the port changed, in an httpd that has the rest."""
from __future__ import annotations

import pytest
from client import Client
from harness import TOP, Area, Httpd, load_module, mod_kms, serving_account

LEFT_OFF = ("KMSSignatureSecretFile", "KMSCookieDomain", "KMSCookiePath", "KMSKeystorePassword ")


class DropIn(Httpd):
    """httpd as a distribution sets it up, and the drop-in included."""

    with_commented = False

    def write_config(self):
        account = serving_account()
        modules = ("mpm_event", "authn_core", "authz_core", "authz_user", "unixd")
        loading = (TOP / "conf.d" / "10-kms.conf.in").read_text().replace("%MODULEDIR%", str(mod_kms().parent))
        kms = (TOP / "conf.d" / "kms.conf").read_text()
        for shipped, ours in {
            "/etc/hadoop-kms/conf": str(self.area.conf),
            "/var/log/hadoop-kms": str(self.run),
            "Listen 9600": f"Listen 127.0.0.1:{self.port}",
            "<VirtualHost *:9600>": f"<VirtualHost *:{self.port}>",
        }.items():
            assert shipped in kms, f"kms.conf has no {shipped}"
            kms = kms.replace(shipped, ours)
        if self.with_commented:
            kms = self.uncomment(kms)
        who = f'User "#{account.pw_uid}"\nGroup "#{account.pw_gid}"\n' if account is not None else ""
        self.config_file.write_text(
            "".join(load_module(m) for m in modules)
            + f'ServerRoot "{self.run}"\nDefaultRuntimeDir "{self.run}"\nPidFile "{self.run}/httpd.pid"\n'
            f'Mutex "file:{self.run}" default\nErrorLog "{self.error_log}"\nServerName 127.0.0.1\n{who}{loading}{kms}')
        return self.config_file

    def uncomment(self, kms: str) -> str:
        """Every example behind a '#' as an operator would switch it on, but for those that name files of their own."""
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
def dropin(registry, area: Area) -> DropIn:
    server = DropIn(area)
    registry.servers.append(server)
    return server


@pytest.mark.parametrize("commented", [False, True], ids=["as shipped", "with every example"])
def test_the_shipped_configuration_serves(dropin: DropIn, commented: bool) -> None:
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
