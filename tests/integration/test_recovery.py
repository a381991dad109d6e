# SPDX-License-Identifier: Apache-2.0
"""Crashes, and what a Java KMS may have left behind after one: every acknowledged key is there afterwards."""
from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import threading
import time

import pytest
from client import Client
from harness import Httpd, is_root, wait_for


class Writers:
    """Threads that create and roll; what was acknowledged is remembered, and a broken connection is not an error."""

    def __init__(self, server: Httpd, count: int = 4) -> None:
        self.server = server
        self.acknowledged: dict[str, str] = {}
        self.refused: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(count)]

    def __enter__(self) -> Writers:
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for t in self.threads:
            t.join(60)

    def work(self, i: int) -> None:
        tag = f"{i}-{random.randrange(10**9)}"
        n = 0
        while not self.stopping.is_set():
            name = f"crash-{tag}-{n}"
            n += 1
            client = Client(self.server.port, fresh=True)
            try:
                for answer in (client.create(name), client.roll(name)):
                    if answer.status in (200, 201):
                        self.acknowledged[answer.json()["versionName"]] = answer.json()["material"]
                    else:
                        self.refused.append(f"{answer.status}: {answer.body[:200]!r}")
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)


def check_all(server: Httpd, acknowledged: dict[str, str]) -> None:
    client = Client(server.port)
    lost = [v for v, material in acknowledged.items() if client.version(v).json().get("material") != material]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged versions are lost: {lost[:5]}"


@pytest.mark.slow
def test_children_killed_while_writing(httpd: Httpd) -> None:
    httpd.start()
    httpd.allow("AH00052")
    with Writers(httpd) as writers:
        for killed in range(12):
            time.sleep(0.25)
            # However slow the machine is: something is written between two deaths.
            wait_for("further versions", lambda enough=2 * killed: len(writers.acknowledged) > enough, 30)
            children = httpd.child_pids()
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(random.choice(children), signal.SIGKILL)
        time.sleep(0.5)
    # A lock or a half-written file that a dead child leaves must not disturb those who live.
    assert not writers.refused, writers.refused[:3]
    check_all(httpd, writers.acknowledged)
    httpd.allow("AH00052", "KMS0105", "KMS0112")


@pytest.mark.slow
def test_everything_killed_while_writing(httpd: Httpd) -> None:
    everything: dict[str, str] = {}
    for _ in range(5):
        httpd.start()
        with Writers(httpd) as writers:
            time.sleep(0.5 + random.random() / 4)
            wait_for("versions", lambda w=writers: len(w.acknowledged) > 4, 30)
            httpd.kill()
        everything.update(writers.acknowledged)
    httpd.allow("AH00098", "KMS0103", "KMS0104", "KMS0105", "KMS0112")  # a pid file or a new keystore left over
    httpd.start()
    assert len(everything) > 20
    check_all(httpd, everything)
    left = sorted(p.name for p in httpd.area.store.iterdir())
    assert Client(httpd.port).create("afterwards").status == 201
    assert "kms.keystore" in left


@pytest.mark.slow
def test_kill_in_the_middle_of_a_graceful_restart(httpd: Httpd) -> None:
    httpd.start()
    with Writers(httpd) as writers:
        time.sleep(0.5)
        httpd.graceful(wait=False)
        time.sleep(0.05)
        httpd.kill()
    httpd.allow("AH00098", "KMS0103", "KMS0104", "KMS0105", "KMS0112")
    httpd.start()
    check_all(httpd, writers.acknowledged)


def stopped_with_keys(httpd: Httpd) -> dict:
    httpd.start()
    made = Client(httpd.port).create("k").json()
    httpd.stop()
    return made


def own_copy(httpd: Httpd, name: str, content: bytes) -> None:
    path = httpd.area.store / name
    path.write_bytes(content)
    path.chmod(0o600)
    httpd.area.give(path)


RECOVERY_IDS = ("KMS0102", "KMS0103", "KMS0104", "KMS0105")


@pytest.mark.smoke
def test_old_file_of_a_java_crash(httpd: Httpd) -> None:
    """Java renames the keystore to _OLD, then _NEW to the keystore; between the two there is none."""
    made = stopped_with_keys(httpd)
    store = httpd.area.store
    whole = httpd.area.keystore.read_bytes()
    httpd.area.keystore.rename(store / "kms.keystore_OLD")
    own_copy(httpd, "kms.keystore_NEW", whole)
    httpd.allow(*RECOVERY_IDS)
    httpd.start()
    assert Client(httpd.port).current("k").json() == made
    assert Client(httpd.port).roll("k").status == 200
    assert not (store / "kms.keystore_NEW").exists() and not (store / "kms.keystore_OLD").exists()


def test_only_the_old_file_is_left(httpd: Httpd) -> None:
    made = stopped_with_keys(httpd)
    httpd.area.keystore.rename(httpd.area.store / "kms.keystore_OLD")
    httpd.allow(*RECOVERY_IDS)
    httpd.start()
    assert Client(httpd.port).current("k").json() == made


def test_a_broken_new_file_beside_the_old(httpd: Httpd) -> None:
    made = stopped_with_keys(httpd)
    whole = httpd.area.keystore.read_bytes()
    httpd.area.keystore.rename(httpd.area.store / "kms.keystore_OLD")
    own_copy(httpd, "kms.keystore_NEW", whole[:len(whole) // 2])
    httpd.allow(*RECOVERY_IDS)
    httpd.start()
    assert Client(httpd.port).current("k").json() == made
    assert Client(httpd.port).create("next").status == 201


def test_a_keystore_beside_a_new_one_is_for_a_person(httpd: Httpd) -> None:
    """Java refuses to guess which of the two is right; to guess could lose a key."""
    stopped_with_keys(httpd)
    own_copy(httpd, "kms.keystore_NEW", httpd.area.keystore.read_bytes())
    status, text = httpd.configtest()
    if status != 0:
        assert "_NEW" in text
    else:
        httpd.allow(*RECOVERY_IDS)
        httpd.start()
        assert Client(httpd.port).names().json() == ["k"]


def test_replaced_while_serving(httpd: Httpd) -> None:
    """A restored backup is in force without a restart, within the three seconds that a changed file may take."""
    httpd.start()
    client = Client(httpd.port)
    client.create("old")
    backup = httpd.area.path / "backup"
    shutil.copy2(httpd.area.keystore, backup)
    client.create("newer")
    fresh = httpd.area.store / "restored"
    shutil.copy2(backup, fresh)
    httpd.area.give(fresh)
    fresh.replace(httpd.area.keystore)
    wait_for("the backup", lambda: client.names().json() == ["old"], 3)
    time.sleep(1.1)  # on every child
    assert client.metadata("newer").body == b"{ }"
    assert client.create("newer").status == 201


def test_broken_while_serving(httpd: Httpd) -> None:
    """What was read before is served on, nothing is written over the file, and a whole one heals it."""
    httpd.start()
    client = Client(httpd.port)
    made = client.create("k").json()
    whole = httpd.area.keystore.read_bytes()
    httpd.allow("KMS0107", "KMS0108", "KMS0109", "KMS0110", "KMS0111", "KMS0113", "KMS0601")
    broken = httpd.area.store / "broken"
    broken.write_bytes(whole[:-7])
    broken.chmod(0o600)
    httpd.area.give(broken)
    broken.replace(httpd.area.keystore)
    answer = client.create("unsafe")
    assert answer.status in (500, 503), answer.body
    assert httpd.area.keystore.read_bytes() == whole[:-7]
    # The children that have read the key serve it; no other one may say that there is none.
    for _ in range(10):
        answer = Client(httpd.port, fresh=True).current("k")
        assert answer.status in (500, 503) or answer.json() == made
    mended = httpd.area.store / "mended"
    mended.write_bytes(whole)
    mended.chmod(0o600)
    httpd.area.give(mended)
    mended.replace(httpd.area.keystore)
    wait_for("the whole file to be served", lambda: client.current("k").status == 200, 3)
    time.sleep(1.1)  # on every child
    assert client.current("k").json() == made
    assert client.create("safe").status == 201


@pytest.mark.skipif(not is_root(), reason="needs to take a directory from the server")
def test_a_directory_that_cannot_be_written(httpd: Httpd) -> None:
    httpd.start()
    client = Client(httpd.port)
    made = client.create("k").json()
    os.chown(httpd.area.store, 0, 0)
    httpd.area.store.chmod(0o755)
    httpd.allow("KMS0110", "KMS0111", "KMS0601")
    assert client.create("lost").status in (500, 503)
    assert client.current("k").json() == made
    httpd.area.give(httpd.area.store)
    assert client.create("kept").status == 201
    assert sorted(client.names().json()) == ["k", "kept"]


def test_modes_of_what_is_written(httpd: Httpd) -> None:
    httpd.start()
    client = Client(httpd.port)
    client.create("k")
    client.roll("k")
    assert httpd.area.keystore.stat().st_mode & 0o777 == 0o600
    httpd.area.keystore.chmod(0o640)
    client.roll("k")
    assert httpd.area.keystore.stat().st_mode & 0o777 in (0o600, 0o640)
