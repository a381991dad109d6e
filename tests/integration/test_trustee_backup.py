# SPDX-License-Identifier: Apache-2.0
"""kmsctl store backup and restore, by the commands of docs/key-trustee.md, while a node serves and changes keys."""
from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from pathlib import Path

import kmsctl
import pytest
from client import Client
from harness import BUILD, TOP, Area
from postgres import Postgres, missing
from test_trustee import node

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")

PAGE = (TOP / "docs" / "key-trustee.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Backup\n")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^    (.+)$", SECTION, re.M)


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


def page(folder: Path, area: Area, *begins: str) -> str:
    """Runs the commands of the page that begin so."""
    script = "set -euo pipefail\n"
    for begin in begins:
        found = [line for line in COMMANDS if line.startswith(begin)]
        assert len(found) == 1, (begin, found)
        script += found[0].replace("/etc/hadoop-kms/conf", str(area.conf)) + "\n"
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin" / "kmsctl").exists():
        (folder / "bin" / "kmsctl").symlink_to(BUILD / "tools" / "kmsctl" / "kmsctl")
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
                          env=kmsctl.environment(PATH=f"{folder}/bin:{os.environ['PATH']}"))
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_backup_under_load_and_back(registry, postgres: Postgres, area: Area, tmp_path: Path) -> None:
    assert len(COMMANDS) == 7
    postgres.configure(area, postgres.database())
    postgres.initialize(area)
    it = node(registry, area, "first").start()
    client = Client(it.port)
    for i in range(20):
        assert client.create(f"kept-{i}", length=256, description=f"number {i}", attributes={"material": "x"}).status == 201
        for _ in range(i % 3):
            client.roll(f"kept-{i}")
    client.delete("kept-19")
    names = [n for n in client.names().json() if n.startswith("kept")]
    before = {n: (client.metadata(n).json(), client.versions(n).json()) for n in names}
    eek = client.generate("kept-5").json()[0]
    plain = client.decrypt(eek).json()
    stop = threading.Event()
    failures: list[object] = []

    def load() -> None:
        mine, n = Client(it.port), 0
        while not stop.is_set():
            answers = [mine.create(f"busy-{n}"), mine.roll(f"busy-{n}"), mine.delete(f"busy-{n}"), mine.decrypt(eek)]
            failures.extend(a.body for a in answers if a.status not in (200, 201))
            n += 1

    worker = threading.Thread(target=load)
    worker.start()
    try:
        page(tmp_path, area, "openssl req", "chmod", "kmsctl store backup")
    finally:
        stop.set()
        worker.join(60)
    assert failures == []
    it.stop()

    # Everything is lost, the sealing key too.
    postgres.configure(area, postgres.database())
    area.write("seal.key", os.urandom(32)).chmod(0o600)
    assert "compared" in page(tmp_path, area, "kmsctl store init", "kmsctl store restore")
    again = kmsctl.run("store", "restore", "--json", "--conf", area.conf, "--key", tmp_path / "custodian.key",
                       tmp_path / "keys.backup", exit_status=0).json
    assert again["restored"] == 0 and again["verified"] == again["keys"] == again["already_there"]
    it = node(registry, area, "second").start()
    client = Client(it.port)
    assert {n: (client.metadata(n).json(), client.versions(n).json()) for n in names} == before
    assert client.decrypt(eek).json() == plain
    assert "kept-19" not in client.names().json()
    assert "is kept until it is purged" in client.create("kept-19").body.decode()
    # A busy key is there as it was at one moment: with one version or two, deleted or not.
    assert client.roll("kept-5").status == 200
    refused = kmsctl.run("store", "restore", "--conf", area.conf, "--key", tmp_path / "custodian.key",
                         tmp_path / "keys.backup", exit_status=5)
    assert "other keys of the same names: kept-5" in refused.err
    merged = kmsctl.run("store", "restore", "--merge", "--json", "--conf", area.conf, "--key", tmp_path / "custodian.key",
                        tmp_path / "keys.backup", exit_status=1).json
    assert (merged["restored"], merged["different"]) == (0, ["kept-5"])
    assert client.metadata("kept-5").json()["versions"] == before["kept-5"][0]["versions"] + 1

    text = page(tmp_path, area, "awk", "for part")
    part = json.loads(text[:text.rindex("}") + 1])
    assert part["end"]["keys"] == len(part["keys"]) == again["keys"]
    assert {k["name"] for k in part["keys"]} >= set(names)
    assert "-----BEGIN CMS-----" in (tmp_path / "keys.backup").read_text()


def test_what_is_refused(postgres: Postgres, area: Area, tmp_path: Path) -> None:
    postgres.configure(area, postgres.database())
    postgres.initialize(area)
    page(tmp_path, area, "openssl req", "chmod", "kmsctl store backup")
    backup, key = tmp_path / "keys.backup", tmp_path / "custodian.key"
    other = tmp_path / "other"
    other.mkdir()
    page(other, area, "openssl req", "chmod")

    def restore(file: Path, with_key: Path, status: int) -> str:
        done = kmsctl.run("store", "restore", "--conf", area.conf, "--key", with_key, file)
        assert done.status == status, done
        return done.err

    assert "is not encrypted to this private key" in restore(backup, other / "custodian.key", 3)
    bad = tmp_path / "bad"
    bad.write_bytes(backup.read_bytes()[:-200])
    assert "damaged" in restore(bad, key, 3)
    bad.write_text("no backup\n")
    assert "there is no backup in it" in restore(bad, key, 3)
    restore(tmp_path / "none", key, 3)
    key.chmod(0o644)
    assert "others may read" in restore(backup, key, 3)
    key.chmod(0o600)
    arguments = ["store", "backup", "--conf", area.conf, "--to", tmp_path / "custodian.pem"]
    assert "exists" in kmsctl.run(*arguments, backup, exit_status=3).err
    assert "--to is needed" in kmsctl.run("store", "backup", "--conf", area.conf, tmp_path / "new", exit_status=2).err
    assert "--key is needed" in kmsctl.run("store", "restore", "--conf", area.conf, backup, exit_status=2).err
    kmsctl.run(*arguments, "--to", tmp_path / "no-certificate", tmp_path / "new", exit_status=3)
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.part").exists()
    assert "is no key store in a database" in kmsctl.run(*arguments, tmp_path / "new", tmp_path / "file", exit_status=3).err


def test_a_key_with_a_password(postgres: Postgres, area: Area, tmp_path: Path) -> None:
    postgres.configure(area, postgres.database())
    postgres.initialize(area)
    line = next(c for c in COMMANDS if c.startswith("openssl req")).replace("-nodes", "-passout file:word")
    (tmp_path / "word").write_text("the password\n")
    (tmp_path / "word").chmod(0o600)
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    backup = tmp_path / "keys.backup"
    kmsctl.run("store", "backup", "--conf", area.conf, "--to", tmp_path / "custodian.pem", backup, exit_status=0)
    arguments = ["store", "restore", "--conf", area.conf, "--key", tmp_path / "custodian.key", backup]
    assert "its password is another one" in kmsctl.run(*arguments, exit_status=3).err
    kmsctl.run(*arguments, "--key-password-file", tmp_path / "word", exit_status=0)
