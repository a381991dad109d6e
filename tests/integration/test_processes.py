# SPDX-License-Identifier: Apache-2.0
"""Several children, one keystore: what one child answered the next request on any child sees; restarts lose nothing."""
from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from children import clients_on_all_children
from client import Client
from harness import Httpd, have_module, wait_for


def check_visibility(clients: list[Client], rounds: int) -> None:
    """create, roll and delete, each answered by one child and looked for on every other one at once."""
    for i in range(rounds):
        writer = clients[i % len(clients)]
        others = clients[i % len(clients) + 1:] + clients[:i % len(clients)]
        name = f"seen-{i}"
        # The others have looked before, so that a negative answer could be remembered.
        assert all(c.metadata(name).body == b"{ }" for c in others)
        created = writer.create(name)
        assert created.status == 201
        for c in others:
            assert c.current(name).json() == created.json()
            assert name in c.names().json()
        rolled = writer.roll(name)
        assert rolled.status == 200
        for c in others:
            assert c.current(name).json() == rolled.json()
            assert c.metadata(name).json()["versions"] == 2
            assert c.generate(name).json()[0]["versionName"] == f"{name}@1"
        assert writer.delete(name).status == 200
        for c in others:
            assert c.metadata(name).body == b"{ }"
            assert c.generate(name).status == 500
            assert name not in c.names().json()


@pytest.mark.smoke
def test_the_next_request_on_any_child_sees_it(httpd: Httpd) -> None:
    httpd.start()
    by_pid = clients_on_all_children(httpd, 3)
    check_visibility(list(by_pid.values()), 12)


def test_a_deleted_key_leaves_no_old_material_anywhere(httpd: Httpd) -> None:
    """Java served EEKs of a deleted key and mixed them up with those of its successor."""
    httpd.start()
    clients = list(clients_on_all_children(httpd, 3).values())
    clients[0].create("again", length=128)
    eeks = [c.generate("again").json()[0] for c in clients]
    clients[1].delete("again")
    fresh = clients[2].create("again", length=256).json()
    for c in clients:
        assert c.version("again@0").json()["material"] == fresh["material"]
        assert len(c.generate("again").json()[0]["encryptedKeyVersion"]["material"]) == 43
    assert all(e["versionName"] == "again@0" for e in eeks)


class Load:
    """Threads that make, roll, generate and decrypt until told to stop, and remember what was acknowledged."""

    def __init__(self, server: Httpd, fresh: bool) -> None:
        self.server = server
        self.fresh = fresh
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self.requests = 0
        self.versions: dict[str, str] = {}  # version name -> material, as acknowledged
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.guard, args=(work, i))
                        for i, work in enumerate([self.make, self.make, self.use, self.use, self.use])]

    def __enter__(self) -> Load:
        client = Client(self.server.port)
        for i in range(3):
            self.remember(client.create(f"load-{i}").json())
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for t in self.threads:
            t.join(60)

    def guard(self, work, i: int) -> None:
        client = Client(self.server.port, fresh=self.fresh)
        try:
            while not self.stopping.is_set():
                work(client, i)
        except Exception as e:  # pylint: disable=broad-except  # whatever it is, it is a failed request
            self.failures.append(f"{work.__name__}: {e!r}")

    def remember(self, version: dict) -> None:
        with self.lock:
            self.versions[version["versionName"]] = version["material"]

    def expect(self, answer, status: int):
        self.requests += 1
        if answer.status != status:
            raise AssertionError(f"{answer.status} {answer.reason}: {answer.body[:200]!r}")
        return answer

    def make(self, client: Client, i: int) -> None:
        name = f"made-{i}-{len(self.versions)}"
        self.remember(self.expect(client.create(name), 201).json())
        self.remember(self.expect(client.roll(name), 200).json())
        time.sleep(0.02)

    def use(self, client: Client, i: int) -> None:
        eek = self.expect(client.generate(f"load-{i % 3}"), 200).json()[0]
        first = self.expect(client.decrypt(eek), 200).json()
        again = self.expect(client.decrypt(eek), 200).json()
        if first["material"] != again["material"]:
            raise AssertionError("two answers for one EEK")

    def check_all_there(self) -> None:
        assert not self.failures, "\n".join(self.failures)
        client = Client(self.server.port)
        for version, material in self.versions.items():
            assert client.version(version).json().get("material") == material, f"{version} is lost"


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False], ids=["a connection each", "kept connections"])
def test_graceful_restarts_under_load(httpd: Httpd, fresh: bool) -> None:
    httpd.start()
    with Load(httpd, fresh) as load:
        for _ in range(6):
            time.sleep(0.7)
            httpd.graceful()
        time.sleep(0.5)
    assert load.requests > 100
    load.check_all_there()


@pytest.mark.slow
def test_children_that_come_and_go(httpd: Httpd) -> None:
    """MaxConnectionsPerChild replaces children all the time, each of which has to find the state of the others."""
    httpd.children += "MaxConnectionsPerChild 20\n"
    httpd.start()
    first = set(httpd.child_pids())
    with Load(httpd, True) as load:
        time.sleep(4)
    load.check_all_there()
    assert first != set(httpd.child_pids())


def test_a_plain_restart_keeps_keys_and_says_nothing(httpd: Httpd) -> None:
    httpd.start()
    client = Client(httpd.port)
    made = client.create("kept").json()
    before = httpd.generations()
    os.kill(httpd.pid, signal.SIGHUP)
    wait_for("the new generation", lambda: httpd.generations() > before)
    assert Client(httpd.port).current("kept").json() == made


def test_graceful_with_a_broken_configuration_keeps_serving(httpd: Httpd) -> None:
    """apachectl graceful runs configtest first; the test is what apachectl relies on."""
    httpd.start()
    made = Client(httpd.port).create("kept").json()
    httpd.area.write("kms-site.xml", "<configuration><property>")
    status, text = httpd.configtest()
    assert status != 0 and "kms-site.xml" in text
    assert Client(httpd.port).current("kept").json() == made


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_the_other_mpms(httpd: Httpd, mpm: str) -> None:
    if not have_module(f"mpm_{mpm}"):
        pytest.skip(f"this httpd has no {mpm}")
    httpd.mpm = mpm
    if mpm == "prefork":
        httpd.children = "StartServers 4\nServerLimit 8\nMaxRequestWorkers 8\nMinSpareServers 2\nMaxSpareServers 8\n"
    httpd.start()
    wanted = 2
    clients = clients_on_all_children(httpd, wanted)
    check_visibility(list(clients.values()), 3)
    # Each open connection holds a child of prefork.
    for c in clients.values():
        c.close()
    made = Client(httpd.port, fresh=True).create("over-a-restart").json()
    httpd.graceful()
    assert Client(httpd.port, fresh=True).current("over-a-restart").json() == made
