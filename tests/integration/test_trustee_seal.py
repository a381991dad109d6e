# SPDX-License-Identifier: Apache-2.0
"""Sealing keys of a store in PostgreSQL: into an HSM and on while two nodes serve, by the commands of the manual page; an
HSM that is lost."""
from __future__ import annotations

import collections
import json
import threading
import time

import hsm
import kmsctl
import postgres
import pytest
from client import Client
from harness import serving_account, wait_for
from health_checks import health
from hsm import PIN, Token
from postgres import Postgres

pytestmark = pytest.mark.skipif(postgres.missing() or bool(hsm.missing()), reason=f"not here: PostgreSQL or {hsm.missing()}")


@pytest.fixture(scope="module")
def database():
    with Postgres() as it:
        yield it


class Site:
    """Two nodes on one store, and the configuration that they share."""

    def __init__(self, registry, database: Postgres, token: Token) -> None:
        self.database, self.token, self.area = database, token, token.area
        self.name = database.database()
        self.nodes = [registry.httpd(self.area, name) for name in ("first", "second")]
        for it in self.nodes:
            it.environment = token.environment
            it.usual |= postgres.USUAL | {"KMS0140"}

    def configure(self, **seal: str) -> None:
        """Names of properties with _ for the dots and dashes of hadoop.kms.trustee.*."""
        names = {"key_file": "seal.key-file", "hsm": "seal.hsm.key", "previous_file": "seal.previous.key-file",
                 "previous_hsm": "seal.previous.hsm.key", "stale": "stale-reads.ms"}
        more = {"seal.key-file": "", **{names[name]: value for name, value in seal.items()}}
        self.database.configure(self.area, self.name, more)
        site = self.area.conf / "kms-site.xml"
        token = {"token": self.token.address, "library": self.token.library, "pin-file": str(self.token.pin_file)}
        added = "".join(f"<property><name>hadoop.kms.hsm.{n}</name><value>{v}</value></property>" for n, v in token.items())
        self.area.write("kms-site.xml", site.read_text().replace("</configuration>", added + "</configuration>"))

    def kmsctl(self, *words: str, exit_status: int = 0) -> dict:
        account = serving_account()
        who = ["--run-as", account.pw_name] if account is not None else []
        done = kmsctl.run(*words, "--conf", self.area.conf, *who, "--json", exit_status=exit_status, **self.token.environment)
        return json.loads(done.out)

    def reload(self) -> None:
        for it in self.nodes:
            it.graceful()


@pytest.fixture
def site(registry, database: Postgres, token: Token) -> Site:
    return Site(registry, database, token)


def work_until(ports: list[int], prefix: str, stop: threading.Event, seen: collections.Counter) -> None:
    """Makes keys on one node and uses them on the other."""
    number = 0
    while not stop.is_set():
        a, b = (Client(ports[(number + i) % 2], fresh=True) for i in range(2))
        name = f"{prefix}-{number}"
        number += 1
        answers = [a.create(name), a.roll(name), b.invalidate(name), b.generate(name)]
        if answers[-1].status == 200:
            answers.append(a.decrypt(answers[-1].json()[0]))
        for answer in answers:
            seen["good" if answer.status in (200, 201) else f"{answer.status} {answer.body[:200]!r}"] += 1


def keys_of(report: dict) -> dict[bool, dict]:
    return {key["current"]: key for key in report["keys"]}


def test_into_an_hsm_and_on_under_load(site: Site) -> None:
    site.configure(key_file="seal.key")
    site.kmsctl("store", "init")
    for it in site.nodes:
        it.start()
    clients = [Client(it.port, fresh=True) for it in site.nodes]
    assert clients[0].create("old", length=256).status == 201
    eek = clients[0].generate("old").json()[0]
    dek = clients[1].decrypt(eek).json()
    stop, seen = threading.Event(), collections.Counter()
    threads = [threading.Thread(target=work_until, args=([it.port for it in site.nodes], f"load{i}", stop, seen))
               for i in range(2)]
    for thread in threads:
        thread.start()
    try:
        for label, before in (("seal-1", {"previous_file": "seal.key"}), ("seal-2", {"previous_hsm": "seal-1"})):
            site.configure(hsm=label, **before)
            assert site.kmsctl("seal", "setup")["made"]
            assert not site.kmsctl("seal", "setup")["made"]
            assert site.kmsctl("seal", "settings", exit_status=1)["problems"]
            assert set(keys_of(site.kmsctl("seal", "trust"))) == {True, False}
            site.reload()
            done = site.kmsctl("seal", "rewrap")
            assert (done["left"], done["failed"]) == (0, 0) and done["rows"] >= 2
            keys = keys_of(site.kmsctl("seal", "settings"))
            assert keys[True]["id"] == done["id"] and keys[True]["label"] == label and keys[False]["rows"] == 0
            good = seen["good"]
            wait_for("calls under the new key", lambda n=good: seen["good"] > n + 30, 60)
            assert set(keys_of(site.kmsctl("seal", "trust", "--remove", keys[False]["id"]))) == {True}
            site.configure(hsm=label)
            site.reload()
        good = seen["good"]
        wait_for("calls with one key", lambda: seen["good"] > good + 30, 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(seen)
    assert set(seen) == {"good"}
    assert site.kmsctl("seal", "validate")["failed"] == 0
    for client in clients:
        assert client.decrypt(eek).json() == dek
    # The end of the key is the end of every row: another one of its name, in another token, is a foreign key.
    for it in site.nodes:
        it.stop()
    site.token.forget()
    assert site.kmsctl("seal", "setup")["made"]
    assert "does not have the key" in site.kmsctl("seal", "validate", exit_status=3)["error"]
    status, text = site.nodes[0].configtest()
    assert status != 0 and "does not have the key" in text


def test_lost_hsm(site: Site) -> None:
    site.token.with_server()
    site.configure(hsm="seal-1", stale="3600000")
    site.kmsctl("seal", "setup")
    site.kmsctl("store", "init")
    for it in site.nodes:
        it.start()
    a, b = (Client(it.port, fresh=True) for it in site.nodes)
    assert a.create("known").status == 201 and b.create("unseen").status == 201
    eek = b.generate("known").json()[0]
    dek = a.decrypt(eek).json()
    # Every child of both has it in memory, after it looked for changes.
    in_a_row, begin = 0, time.monotonic()
    while in_a_row < 40 or time.monotonic() - begin < 2:
        assert all(client.decrypt(eek).json() == dek for client in (a, b))
        in_a_row += 1
    for it in site.nodes:
        it.expect("KMS0141", "KMS0142")
        it.allow("KMS0148", "KMS0161", "KMS0311", "KMS0370", "KMS0601")
    site.token.kill_server()
    for client in (a, b):
        for _ in range(10):
            assert client.decrypt(eek).json() == dek
    fresh = site.nodes[0]
    refused = [a.create("new"), a.roll("known"), b.delete("known")]
    for answer in refused:
        assert answer.status == 503 and answer.header("Retry-After") and "HSM" in answer.message(), answer
    wait_for("health", lambda: b"degraded" in health(fresh).body, 30)
    site.token.start_server()
    wait_for("changes again", lambda: a.create("new").status == 201, 60)
    wait_for("each child", lambda: all(c.roll("known").status == 200 for c in (a, b) for _ in range(6)), 60)
    assert a.decrypt(eek).json() == dek and b.metadata("unseen").json()["versions"] == 1
    assert site.kmsctl("seal", "validate")["failed"] == 0


def test_configtest_wants_the_key(site: Site) -> None:
    site.configure(hsm="seal-1")
    status, text = site.nodes[0].configtest()
    assert status != 0 and "kmsctl store init" in text
    assert "run 'kmsctl seal setup'" in site.kmsctl("store", "init", exit_status=3)["error"]
    site.kmsctl("seal", "setup")
    site.kmsctl("store", "init")
    status, text = site.nodes[0].configtest()
    assert status == 0, text
    site.configure(hsm="another")
    assert site.kmsctl("seal", "setup")["made"]
    status, text = site.nodes[0].configtest()
    assert status != 0 and "is not the one that the store is sealed with" in text


def test_wrong_pin(site: Site) -> None:
    site.configure(hsm="seal-1")
    site.kmsctl("seal", "setup")
    site.kmsctl("store", "init")
    a, b = site.nodes
    a.start()
    client = Client(a.port, fresh=True)
    assert client.create("k").status == 201
    site.token.set_pin("000000")
    for words in (("seal", "setup"), ("seal", "validate")):
        assert str(site.token.pin_file) in site.kmsctl(*words, exit_status=3)["error"]
    for node in (a, b):
        status, text = node.configtest()
        assert status != 0 and str(site.token.pin_file) in text
    # Who is logged in stays so; and the right PIN is all that is needed to begin again.
    assert client.roll("k").status == 200
    site.token.set_pin(PIN)
    b.start()
    assert Client(b.port).metadata("k").json()["versions"] == 2
