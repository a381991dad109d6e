# SPDX-License-Identifier: Apache-2.0
"""The shipped conf.d files, with nothing but their paths and the port changed, in an httpd that has the rest."""
from __future__ import annotations

import re
from pathlib import Path

from harness import TOP, Httpd, load_module, mod_kms, serving_account

HEADLINE = re.compile(r"^\s*# --- (.+?) -+$")
EXAMPLE = re.compile(r"^\s*#(?=[A-Z])")


def section_names(kms_conf: str) -> set[str]:
    """Of the parts of kms.conf, up to the first comma of their headlines."""
    found = (HEADLINE.match(line) for line in kms_conf.splitlines())
    return {m[1].split(",")[0] for m in found if m}


def uncomment_sections(kms_conf: str, wanted: set[str]) -> str:
    """Takes the '#' off every example in these parts, as the comments there tell an operator to do."""
    missing = wanted - section_names(kms_conf)
    assert not missing, f"kms.conf has no part {missing}"
    lines, here = [], ""
    for line in kms_conf.splitlines():
        if m := HEADLINE.match(line):
            here = m[1].split(",")[0]
        lines.append(EXAMPLE.sub("", line) if here in wanted else line)
    return "\n".join(lines) + "\n"


class DropIn(Httpd):
    """httpd as a distribution sets it up, and the drop-in included."""

    modules = ["mpm_event", "authn_core", "authz_core", "authz_user", "unixd", "log_config"]

    def shipped(self) -> dict[str, str]:
        """What an operator replaces, and what by."""
        return {
            "/etc/hadoop-kms/conf": str(self.area.conf),
            "/var/log/hadoop-kms": str(self.run),
            "Listen 9600": f"Listen {self.address}:{self.port}",
            "<VirtualHost *:9600>": f"<VirtualHost *:{self.port}>",
        }

    def choose(self, kms_conf: str) -> str:
        """The examples that are switched on."""
        return kms_conf

    def frame(self) -> str:
        """Further lines of the main server, before the drop-in."""
        return ""

    def write_config(self) -> Path:
        account = serving_account()
        loading = (TOP / "conf.d" / "10-kms.conf.in").read_text().replace("%MODULEDIR%", str(mod_kms().parent))
        kms = (TOP / "conf.d" / "kms.conf").read_text()
        for shipped, ours in self.shipped().items():
            assert shipped in kms, f"kms.conf has no {shipped}"
            kms = kms.replace(shipped, ours)
        kms = self.choose(kms)
        who = f'User "#{account.pw_uid}"\nGroup "#{account.pw_gid}"\n' if account is not None else ""
        self.config_file.write_text(
            "".join(load_module(m) for m in self.modules)
            + f'ServerRoot "{self.run}"\nDefaultRuntimeDir "{self.run}"\nPidFile "{self.run}/httpd.pid"\n'
            f'Mutex "file:{self.run}" default\nErrorLog "{self.error_log}"\nServerName 127.0.0.1\n{who}'
            f"{self.frame()}{loading}{kms}")
        return self.config_file
