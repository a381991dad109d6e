# SPDX-License-Identifier: Apache-2.0
"""lintian and rpmlint find nothing, and what else can be checked without installing."""
from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Packages
from rootfs import TOP, run

LEAST_POLICY = """
(handleunknown allow)
(mls true)
(policycap open_perms)
(class file (open read map))
(classorder (file))
(sid kernel)
(sidorder (kernel))
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(categoryorder (c0))
(sensitivitycategory s0 (c0))
(user system_u)
(role system_r)
(role object_r)
(userrole system_u system_r)
(userrole system_u object_r)
(userlevel system_u (s0))
(userrange system_u ((s0) (s0 (c0))))
(type httpd_t) (type httpd_config_t) (type httpd_log_t) (type httpd_var_lib_t) (type http_port_t) (type kernel_t)
(roletype system_r kernel_t)
(roletype system_r httpd_t)
(roletype object_r httpd_config_t)
(roletype object_r httpd_log_t)
(roletype object_r httpd_var_lib_t)
(roletype object_r http_port_t)
(sidcontext kernel (system_u system_r kernel_t ((s0) (s0))))
(typeattribute cil_gen_require)
(roleattribute cil_gen_require)
(allow kernel_t kernel_t (file (read)))
"""


def test_lintian(packages: Packages) -> None:
    made = packages.debs()
    changes = sorted(made[0].parent.glob("*.changes"))
    assert changes
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", *changes, check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("flavour", ["rhel", "suse"])
def test_rpmlint(packages: Packages, flavour: str) -> None:
    said = run("rpmlint", "-c", TOP / "rpm/rpmlint.toml", *packages.rpms(flavour), check=False)
    assert said.returncode == 0 and " 0 errors, 0 warnings" in said.stdout, said.stdout


def test_every_override_has_a_reason() -> None:
    for file in [*TOP.glob("debian/*.lintian-overrides"), TOP / "debian/source/lintian-overrides"]:
        lines = file.read_text().splitlines()
        for i, line in enumerate(lines):
            if not line.startswith("#"):
                before = [x for x in lines[:i] if x.startswith("#")]
                assert before, f"{file}: {line}"


def test_selinux_module_is_well_formed(work: Path) -> None:
    """Compiled together with the least policy that has its names; the distribution's own is not here."""
    policy = work / "least.cil"
    policy.write_text(LEAST_POLICY)
    contexts = work / "file_contexts"
    run("secilc", "-o", work / "policy", "-f", contexts, policy, TOP / "packaging/selinux/hadoop_kms.cil")
    text = contexts.read_text()
    assert "/var/lib/hadoop-kms(/.*)?" in text and "httpd_var_lib_t" in text


def test_unit_drop_in_is_understood(packages: Packages) -> None:
    """By systemd's own checker, where this machine has it."""
    tree = packages.installed["debian"]
    dropin = tree.parent / "unit" / "apache2.service.d"
    dropin.mkdir(parents=True)
    text = (TOP / "packaging/unit.conf.in").read_text()
    for word, value in {"@UNIT@": "apache2", "@LIBEXECDIR@": "/bin"}.items():
        text = text.replace(word, value)
    text = text.replace("/bin/setup", "/bin/true")
    (dropin / "10-hadoop-kms.conf").write_text(text)
    unit = dropin.parent / "apache2.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    said = run("systemd-analyze", "verify", "--man=no", unit, check=False).stdout
    assert "10-hadoop-kms.conf" not in said and "Unknown" not in said, said
