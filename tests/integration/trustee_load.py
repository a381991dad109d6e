# SPDX-License-Identifier: Apache-2.0
"""Load of several nodes on one trustee:// store, while its database fails over: what was answered, and whether it is so."""
from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable

from audit_faults import ONE_CHILD
from client import Client
from harness import Area, Httpd
from postgres import USUAL


def start_nodes(registry, area: Area) -> list[Httpd]:
    """Two on the store that area is configured for, whose database goes away."""
    nodes = []
    for name in ("first", "second"):
        node = registry.httpd(area, name)
        nodes.append(node)
        node.usual |= USUAL
        node.children = ONE_CHILD.replace("5", "10")
        # Where a standby takes over within one look, a node notices nothing.
        node.allow("KMS0131", "KMS0132", "KMS0311", "KMS0370", "KMS0601")
        node.start()
    return nodes


class Load:
    """Clients that create keys, roll one key together and decrypt, on all nodes, and remember what they were answered."""

    def __init__(self, nodes: list[Httpd]) -> None:
        self.nodes = nodes
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
        self.warm_up()
        self.threads = [threading.Thread(target=work, args=(node, f"{n}-{i}"))
                        for n, node in enumerate(nodes)
                        for i, work in enumerate((self.change, self.change, self.read))]
        for thread in self.threads:
            thread.start()

    def warm_up(self) -> None:
        """Has the key that is read in the memory of every node: the look for changes drops a new key once more."""
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for node in self.nodes:
                assert Client(node.port).decrypt(self.eek).json() == self.plain
            time.sleep(0.05)

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

    def check(self, sql: Callable[[str], str]) -> str:
        """After end(): what was answered with success is there on every node, once; sql asks the database. Says the figures."""
        assert not self.wrong and not self.twice, (self.wrong[:3], len(self.wrong), self.twice)
        for node in self.nodes:
            client = Client(node.port)
            names = set(client.names().json())
            for version, material in {**self.created, **self.rolled}.items():
                assert client.version(version).json()["material"] == material, version
            turns = [v["versionName"] for v in client.versions("turns").json()]
            assert turns == [f"turns@{i}" for i in range(len(turns))] and set(self.rolled) <= set(turns)
        assert sql("SELECT COUNT(*), COUNT(DISTINCT name) FROM kms_key") == f"{len(names)}|{len(names)}"
        failures = sum(n for (_, status), n in self.statuses.items() if status == 503)
        return (f"{sum(self.statuses.values())} calls, {failures} failures (503), {self.statuses['decrypt', 200]} decrypts without "
                f"one; {len(self.created) + len(self.rolled)} changes answered with success, all there; in doubt and carried out: "
                f"{len(names) - 2 - len(self.created)} keys, {len(turns) - 1 - len(self.rolled)} versions")

    def first_change_after(self, moment: float) -> float:
        with self.lock:
            return min(at for at in self.successes if at > moment)
