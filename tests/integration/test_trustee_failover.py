# SPDX-License-Identifier: Apache-2.0
"""A primary that is killed under load, and its synchronous standby: what was answered with success is there, once."""
from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator

import pytest
from audit_faults import ONE_CHILD
from client import Client
from harness import Area, Httpd, wait_for
from postgres import USUAL, Postgres, missing

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")


class Load:
    """Clients that create keys, roll one key together and decrypt, on all nodes, and remember what they were answered."""

    def __init__(self, nodes: list[Httpd]) -> None:
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.created: dict[str, str] = {}
        self.rolled: dict[str, str] = {}
        self.twice: list[str] = []
        self.wrong: list[tuple[str, int, bytes]] = []
        self.statuses: collections.Counter[tuple[str, int]] = collections.Counter()
        self.successes: list[float] = []
        first = Client(nodes[0].port)
        for name in ("turns", "steady"):
            assert first.create(name).status == 201
        self.eek = first.generate("steady").json()[0]
        self.plain = first.decrypt(self.eek).json()
        self.threads = [threading.Thread(target=work, args=(node, f"{n}-{i}"))
                        for n, node in enumerate(nodes)
                        for i, work in enumerate((self.change, self.change, self.read))]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def note(self, kind: str, place: dict[str, str], answer, good: int) -> None:
        with self.lock:
            self.statuses[kind, answer.status] += 1
            if answer.status == good:
                version = answer.json()
                if version["versionName"] in place:
                    self.twice.append(version["versionName"])
                place[version["versionName"]] = version["material"]
                self.successes.append(time.monotonic())
            elif answer.status != 503:
                self.wrong.append((kind, answer.status, answer.body))
        if answer.status == 503:
            time.sleep(0.05)  # as clients do, which wait before they try again

    def change(self, node: Httpd, mine: str) -> None:
        client = Client(node.port)
        n = 0
        while not self.stop.is_set():
            n += 1
            self.note("create", self.created, client.create(f"made-{mine}-{n}"), 201)
            self.note("roll", self.rolled, client.roll("turns"), 200)

    def read(self, node: Httpd, _: str) -> None:
        client = Client(node.port)
        while not self.stop.is_set():
            answer = client.decrypt(self.eek)
            with self.lock:
                self.statuses["decrypt", answer.status] += 1
                if answer.status != 200 or answer.json() != self.plain:
                    self.wrong.append(("decrypt", answer.status, answer.body))
            time.sleep(0.01)

    def changes_after(self, moment: float) -> int:
        with self.lock:
            return sum(at > moment for at in self.successes)


@pytest.fixture
def servers() -> Iterator[list[Postgres]]:
    started: list[Postgres] = []
    yield started
    for it in started:
        it.close()


def test_the_primary_is_killed_under_load(registry, servers: list[Postgres], area: Area) -> None:
    primary = Postgres()
    servers.append(primary)
    primary.__enter__()
    database = primary.database()
    standby = primary.standby()
    servers.append(standby)
    primary.configure(area, database, {"require-synchronous-standby": "true"}, standby)
    primary.initialize(area)
    nodes = []
    for name in ("first", "second"):
        node = registry.httpd(area, name)
        nodes.append(node)
        node.usual |= USUAL
        node.children = ONE_CHILD.replace("5", "10")
        # Where the standby takes over within one look, a node notices nothing.
        node.allow("KMS0131", "KMS0132", "KMS0311", "KMS0370", "KMS0601")
        node.start()
    load = Load(nodes)
    wait_for("changes", lambda: len(load.successes) >= 200, 60)
    killed = time.monotonic()
    primary.crash()
    wait_for("a node that notices", lambda: "KMS0131" in nodes[0].log_text(), 30)
    assert standby.sql("SELECT pg_promote(true, 60)") == "t"
    promoted = time.monotonic()
    # Nothing is taken while a second crash could lose it; then a new standby joins.
    # For a moment what the connections before met is said as well.
    wait_for("the refusal", lambda: "synchronous_standby_names is empty" in
             Client(nodes[0].port).create("lonely").body.decode() and "KMS0132" in nodes[0].log_text(), 30)
    # One of each thread that makes changes may have been in doubt at the kill, and is found on the standby.
    assert load.changes_after(promoted) <= 4
    servers.append(standby.standby())
    joined = time.monotonic()
    wait_for("changes again", lambda: load.changes_after(joined) >= 200, 60)
    load.end()
    assert not load.wrong and not load.twice

    for node in nodes:
        client = Client(node.port)
        names = set(client.names().json())
        for version, material in {**load.created, **load.rolled}.items():
            assert client.version(version).json()["material"] == material, version
        turns = [v["versionName"] for v in client.versions("turns").json()]
        assert turns == [f"turns@{i}" for i in range(len(turns))] and set(load.rolled) <= set(turns)
    rows = standby.sql("SELECT COUNT(*), COUNT(DISTINCT name) FROM kms_key", database)
    assert rows == f"{len(names)}|{len(names)}"
    calls = sum(load.statuses.values())
    failures = sum(n for (_, status), n in load.statuses.items() if status == 503)
    first = min(at for at in load.successes if at > joined)
    print(f"failover: {calls} calls, {failures} failures (503), {load.statuses['decrypt', 200]} decrypts without one; "
          f"{len(load.created) + len(load.rolled)} changes answered with success, all there; promoted {promoted - killed:.1f} s "
          f"after the kill, changes again {first - killed:.1f} s after it, {first - joined:.2f} s after a standby was there; "
          f"in doubt and carried out: {len(names) - 2 - len(load.created)} keys, {len(turns) - 1 - len(load.rolled)} versions")
