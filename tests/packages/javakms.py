# SPDX-License-Identifier: Apache-2.0
"""A Java KMS that was in use: a keystore that real Java wrote, its password, edited configuration."""
from __future__ import annotations

import base64
import json
import shutil

import stubs
from rootfs import TOP, Root

VERSIONS = ["2.6.0+cdh5.16.2+2850", "3.3.6"]
KEYSTORE = TOP / "tests/data/jceks/mixed.jceks"
ACLS = (TOP / "packaging/conf/kms-acls.xml").read_text()
EDITED = "<!-- edited by the operator -->\n"


def leave_behind(root: Root, password_in: str) -> None:
    """What the operator of the Java KMS had: a keystore in the home of user kms, and its password."""
    data = json.loads(KEYSTORE.with_suffix(".json").read_text())
    home = root / "var/lib/hadoop-kms"
    home.mkdir(exist_ok=True)
    shutil.copy(KEYSTORE, home / "kms.keystore")
    root.run("chown -R kms:kms /var/lib/hadoop-kms && chmod 600 /var/lib/hadoop-kms/kms.keystore")
    site = root / "etc/hadoop-kms/conf/kms-site.xml"
    site.write_text(site.read_text() + EDITED)
    if password_in == "file":
        path = root.write("/etc/hadoop-kms/conf/java.password", data["password"] + "\n", 0o640)
        root.run(f"chown kms:kms /{path.relative_to(root.path)}")
    else:
        env = root / "etc/hadoop-kms/conf/kms-env.sh"
        env.write_text(env.read_text() + f"export HADOOP_KEYSTORE_PASSWORD='{data['password']}'\n")
        site.write_text(site.read_text().replace("java.password", "unused.password"))


def serves_its_key(root: Root) -> None:
    data = json.loads(KEYSTORE.with_suffix(".json").read_text())
    [key] = [k for k in data["keys"] if k["name"] == "hkey"]
    status, body = root.calls(("GET", "/kms/v1/keyversion/hkey%400?user.name=alice", None))[0]
    assert status == 200, body
    material = base64.urlsafe_b64encode(bytes.fromhex(key["material"]["hkey@0"])).rstrip(b"=").decode()
    assert json.loads(body)["material"].rstrip("=") == material
    root.serve_key("after")


__all__ = ["ACLS", "EDITED", "VERSIONS", "leave_behind", "serves_its_key", "stubs"]
