# SPDX-License-Identifier: Apache-2.0
"""kmsctl migrate while the source serves: nothing that happens meanwhile is lost, and the way back."""
from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path

import kmsctl
import pytest
from client import Client
from harness import OPEN_KEY_ACLS, PASSWORD, Area, Httpd, wait_for
from postgres import Postgres, missing
from test_trustee import node

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


class Move:
    """A KMS on a keystore file that serves, and an empty store in a database."""

    def __init__(self, registry, postgres: Postgres, area: Area) -> None:
        self.source: Httpd = registry.httpd(registry.area(), "file").start()
        self.client = Client(self.source.port)
        self.area = area
        postgres.configure(area, postgres.database())
        postgres.initialize(area)
        self.uri = postgres.uri(f"kms{postgres.databases}")
        self.report = area.path / "report.json"
        password = area.write("pw", PASSWORD)
        password.chmod(0o600)
        self.password = ["--from-password-file", password]
        self.words = ["migrate", "--conf", area.conf, "--from", self.source.area.keystore, "--to", self.uri, *self.password]

    def run(self, *more: object, status: int = 0) -> dict:
        return kmsctl.run(*self.words, "--json", *more, exit_status=status).json

    def read_report(self) -> dict:
        return json.loads(self.report.read_text())

    def everything(self, client: Client) -> dict:
        return {n: (client.metadata(n).json(), client.versions(n).json()) for n in client.names().json()}


@pytest.fixture
def move(registry, postgres: Postgres, area: Area) -> Move:
    return Move(registry, postgres, area)


def states(answer: dict) -> dict[str, str]:
    return {k["name"]: k["state"] for k in answer["keys"]}


def test_follow_a_kms_that_serves(registry, move: Move) -> None:
    for name in ("first", "second", "third"):
        assert move.client.create(name, attributes={"a": name}).status == 201
    process = subprocess.Popen([kmsctl.PROGRAM, *map(str, move.words), "--follow", "--json", "--report", move.report],
                               env=kmsctl.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    failures: list[bytes] = []

    def load(who: int) -> None:
        mine = Client(move.source.port)
        for i in range(12):
            name = f"busy-{who}-{i}"
            answers = [mine.create(name), mine.roll(name), mine.roll("first")]
            if i % 3 == 0:
                answers.append(mine.delete(name))
            if i % 6 == 0:
                answers.append(mine.create(name, description="made anew"))
            failures.extend(a.body for a in answers if a.status not in (200, 201))

    threads = [threading.Thread(target=load, args=(who,)) for who in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert failures == []
    assert move.client.delete("second").status == 200
    wait_for("the journal", lambda: "busy-1" in Path(f"{move.report}.journal").read_text(), 60)
    # The operator's switch: nobody changes the old one any more, then a last pass.
    expected = move.everything(move.client)
    move.source.stop()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    answer = json.loads(out)
    assert process.returncode == 0 and answer["complete"] and answer["passes"] >= 3, answer
    assert answer["verified"] == len(expected)
    it = node(registry, move.area, "database").start()
    assert move.everything(Client(it.port)) == expected
    report = move.read_report()
    assert report["complete"] and {k["name"] for k in report["keys"] if k.get("made")} == set(expected)
    assert not Path(f"{move.report}.journal").exists()
    text = move.report.read_text()
    for _, versions in expected.values():
        assert not any(v["material"] in text for v in versions)
    first = next(k for k in report["keys"] if k["name"] == "first")
    assert first["from"] == first["to"] and len(first["to"]["material"]) == 25
    assert all(len(v["sha256"]) == 64 for v in first["to"]["material"])


def test_changes_between_runs(registry, move: Move) -> None:
    for name in ("grows", "goes", "other", "stays"):
        move.client.create(name)
    it = node(registry, move.area, "database").start()
    there = Client(it.port, fresh=True)
    assert there.create("other", description="another key").status == 201
    dry = move.run("--dry-run", status=1)
    assert states(dry) == {"grows": "would_copy", "goes": "would_copy", "other": "different", "stays": "would_copy"}
    assert there.names().json() == ["other"]
    first = move.run("--report", move.report, status=1)
    assert states(first) == {"grows": "copied", "goes": "copied", "other": "different", "stays": "copied"}
    assert first["verified"] == 3
    report = {k["name"]: k for k in move.read_report()["keys"]}
    assert "material of other@0" in report["other"]["text"] and "made" not in report["other"]
    assert report["other"]["from"]["material"][0]["sha256"] != report["other"]["to"]["material"][0]["sha256"]
    move.client.roll("grows")
    move.client.delete("goes")
    # Without the report nobody knows whose key "goes" is.
    assert "goes" not in states(move.run("--dry-run", status=1))
    dry = states(move.run("--dry-run", "--report", move.report, status=1))
    assert (dry["grows"], dry["goes"]) == ("would_update", "would_remove")
    second = states(move.run("--report", move.report, status=1))
    assert (second["grows"], second["goes"], second["stays"]) == ("updated", "removed", "already_there")
    assert "goes" not in there.names().json() and len(there.versions("grows").json()) == 2
    elsewhere = [*move.words]
    elsewhere[elsewhere.index("--to") + 1] = move.area.store / "other.keystore"
    assert "it is of a migration from" in kmsctl.run(*elsewhere, "--report", move.report, exit_status=3).err

    # Back: what nobody changed is taken away, for good.
    there.roll("grows")
    back = kmsctl.run("migrate", "--json", "--conf", move.area.conf, "--roll-back", move.report, exit_status=1).json
    assert states(back) == {"grows": "different", "stays": "removed"}
    wait_for("the other children", lambda: there.names().json() == ["grows", "other"], 10)
    assert there.create("stays").status == 201
    again = kmsctl.run("migrate", "--json", "--conf", move.area.conf, "--roll-back", move.report, exit_status=1).json
    assert states(again) == {"grows": "different"}


def test_killed_and_rolled_back(registry, move: Move) -> None:
    for i in range(30):
        move.client.create(f"k{i}")
    process = subprocess.Popen([kmsctl.PROGRAM, *map(str, move.words), "--report", move.report], env=kmsctl.environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = Path(f"{move.report}.journal")
    wait_for("some keys", lambda: journal.exists() and journal.read_text().count("\n") > 3 or process.poll() is not None, 60)
    process.kill()
    process.wait()
    kmsctl.run("migrate", "--conf", move.area.conf, "--roll-back", move.report, exit_status=0)
    status = kmsctl.run("store", "status", "--json", "--conf", move.area.conf, exit_status=0).json
    assert (status["keys"], status["deleted"]) == (0, 0)
    assert set(states(move.run("--report", move.report)).values()) == {"copied"}


def test_back_to_a_file(registry, move: Move) -> None:
    it = node(registry, move.area, "database").start()
    client = Client(it.port)
    for name in ("kept", "gone"):
        client.create(name, description=name)
    client.delete("gone")
    target = move.area.store / "back.keystore"
    password = ["--to-password-file", move.area.conf / "pw"]
    words = ["migrate", "--conf", move.area.conf, "--from", move.uri, "--to", target, *password, "--report", move.report]
    answer = kmsctl.run(*words, "--json", exit_status=0).json
    assert states(answer) == {"kept": "copied"} and answer["deleted_in_source"] == ["gone"]
    assert move.read_report()["deleted_in_source"][0]["name"] == "gone"
    assert "gone: deleted in the source, not copied" in kmsctl.run(*words, exit_status=0).out
    kmsctl.run("migrate", "--conf", move.area.conf, "--roll-back", move.report, *password, exit_status=0)
    assert states(kmsctl.run(*words, "--json", exit_status=0).json) == {"kept": "copied"}


def test_what_does_not_go_together(move: Move) -> None:
    move.client.create("k")
    refused = kmsctl.run(*move.words[:5], "--to", "hsm://kms@/x", *move.password, exit_status=5)
    assert "k: failed: cannot be moved: an HSM makes its keys itself" in refused.out
    assert "nothing can be copied" in refused.err
    for more in (["--follow", "--dry-run"], ["--roll-back", move.report]):
        kmsctl.run(*move.words, *more, exit_status=2)
    assert "no report of a migration" in kmsctl.run("migrate", "--conf", move.area.conf, "--roll-back", move.area.path / "none",
                                                    exit_status=3).err
    move.report.write_text("{}")
    assert "no report of a migration" in kmsctl.run(*move.words, "--report", move.report, exit_status=3).err


def test_from_a_kms_that_serves(registry, move: Move) -> None:
    """Whatever keeps its keys: all that counts is what its REST API gives to who may read them."""
    assert move.client.create("one", length=192, description="d \u00e9", attributes={"a": "b"}).status == 201
    for _ in range(2):
        assert move.client.roll("one").status == 200
    assert move.client.create("two", length=256).status == 201
    eek = move.client.generate("one").json()[0]
    url = f"kms://http@127.0.0.1:{move.source.port}/kms"

    def copy(user: str, *more: object, status: int = 0) -> dict:
        return kmsctl.run("migrate", "--conf", move.area.conf, "--from", url, "--user", user, "--to", move.uri, "--json", *more,
                          exit_status=status).json

    move.source.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.GET": "hdfs"})
    wait_for("the blacklist", lambda: Client(move.source.port, user="hdfs").versions("one").status == 403)
    denied = copy("hdfs", status=5)
    assert states(denied) == {"one": "failed", "two": "failed"}
    assert "User:hdfs not allowed" in next(k["text"] for k in denied["keys"] if k["name"] == "one")
    answer = copy("u", "--report", move.report)
    assert states(answer) == {"one": "copied", "two": "copied"} and answer["complete"]
    assert states(copy("u")) == {"one": "already_there", "two": "already_there"}
    target = Client(node(registry, move.area, "target").start().port)
    assert move.everything(target) == move.everything(move.client)
    assert target.decrypt(eek).json() == move.client.decrypt(eek).json()
    assert "--to is a store" in kmsctl.run("migrate", "--from", move.uri, "--to", url, exit_status=2).err
