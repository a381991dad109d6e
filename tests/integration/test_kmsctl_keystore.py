# SPDX-License-Identifier: Apache-2.0
"""kmsctl on keystore files: what is left of a damaged one serves again; a migration that was interrupted goes on."""
from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from client import Client
from harness import PASSWORD, Httpd
from kmsctl import PROGRAM, environment, run

KEYS = ["first", "second", "third"]


@pytest.fixture
def made(httpd: Httpd, tmp_path: Path):
    """A keystore of three keys with two versions each, its password file, and the material of each version."""
    httpd.start()
    c = Client(httpd.port)
    for name in KEYS:
        c.create(name)
        c.roll(name)
    material = {v["versionName"]: v["material"] for name in KEYS for v in c.versions(name).json()}
    httpd.stop()
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    copy = tmp_path / "damaged.keystore"
    shutil.copy2(httpd.area.keystore, copy)
    return copy, password, material


def damage(path: Path, change) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def last_entry(data: bytearray) -> int:
    return data.rindex(b"\xac\xed\x00\x05")


@pytest.mark.parametrize("change, lost", [
    (lambda d: d.__delitem__(slice(len(d) - 10, None)), 0),
    (lambda d: d.__delitem__(slice(last_entry(d) + 50, None)), 1),
    (lambda d: d.__setitem__(slice(last_entry(d) + 60, last_entry(d) + 160), bytes(100)), 1),
    (lambda d: d.__setitem__(11, 0), 0),
], ids=["cut in the digest", "cut in an entry", "zeros in an entry", "a wrong count"])
def test_a_damaged_keystore(httpd: Httpd, made, change, lost: int) -> None:
    path, password, material = made
    damage(path, change)
    before = path.read_bytes()
    verdict = run("keystore", "verify", "--password-file", password, path, exit_status=1)
    assert f"kmsctl: {path}: " in verdict.err
    fresh = path.with_name("salvaged.keystore")
    done = run("keystore", "repair", "--json", "--salvage-to", fresh, "--password-file", password, path)
    answer = json.loads(done.out)
    assert done.status in (0, 1) and answer["written"] == str(fresh), done
    assert path.read_bytes() == before
    # Nothing that is there is written over.
    again = run("keystore", "repair", "--salvage-to", fresh, "--password-file", password, path, exit_status=3)
    assert str(fresh) in again.err
    # It serves what is left, each version with its own material.
    shutil.copyfile(fresh, httpd.area.keystore)
    httpd.start()
    c = Client(httpd.port)
    served = {}
    for name in c.names().json():
        with contextlib.suppress(KeyError, TypeError):
            served |= {v["versionName"]: v["material"] for v in c.versions(name).json()}
    assert served.items() <= material.items()
    assert len(served) >= len(material) - lost


def test_the_wrong_password_is_no_damage(made) -> None:
    path, password, _ = made
    password.write_text("another")
    done = run("keystore", "repair", "--salvage-to", path.with_name("new"), "--password-file", password, path, exit_status=1)
    assert "is it the right password?" in done.err
    assert not path.with_name("new").exists()


def test_a_migration_that_was_killed(made) -> None:
    """Whenever it is killed: what is there is whole, and the next run does the rest."""
    path, password, _ = made
    target = path.with_name("new.keystore")
    words = ["migrate", "--from", path, "--to", target, "--from-password-file", password]
    dry = run(*words, "--dry-run", exit_status=0)
    assert "3 keys: 3 would be copied" in dry.out and not target.exists()
    process = subprocess.Popen([PROGRAM, *words], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not target.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = json.loads(run(*words, "--json", exit_status=0).out)
    assert done["verified"] == 3
    assert {k["state"] for k in done["keys"]} <= {"copied", "already_there"}
    dry = json.loads(run(*words, "--dry-run", "--json", exit_status=0).out)
    assert [k["state"] for k in dry["keys"]] == ["already_there"] * 3
