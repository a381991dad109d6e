# SPDX-License-Identifier: Apache-2.0
"""Keys that one child makes in a token and that all others use at once, while they make their own."""
from __future__ import annotations

import threading
import time

from children import clients_on_all_children
from client import Client
from harness import Httpd, wait_for


class Maker:
    """Creates and rolls on one child and then generates and decrypts on all, each of which answers with success."""

    def __init__(self, mine: int, servers: list[Httpd], rounds: int) -> None:
        self.mine, self.rounds = mine, rounds
        self.clients = [client for server in servers for client in clients_on_all_children(server, 3).values()]
        self.problems: list[str] = []
        self.used = self.refused = 0
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            for i in range(self.rounds):
                self.round([f"made-{self.mine}-{i}-{j}" for j in range(3)])
        except Exception as e:  # pylint: disable=broad-except
            self.problems.append(f"{type(e).__name__}: {e}")

    def round(self, names: list[str]) -> None:
        own = self.clients[self.mine % len(self.clients)]
        for name in names:
            self.ask(own.create, name, length=128)
            self.ask(own.roll, name)
        eeks = {name: self.ask(own.generate, name)[0] for name in names}
        deks = {name: self.ask(own.decrypt, eek)["material"] for name, eek in eeks.items()}
        for client in self.clients:
            for name in names:
                # Metadata in a database are on all nodes within a second.
                wait_for("the key", lambda c=client, n=name: c.metadata(n).json().get("versions") == 2, 10)
                made = self.ask(client.generate, name)[0]
                self.ask(client.decrypt, made)
                assert self.ask(client.decrypt, eeks[name])["material"] == deks[name]
                assert made["versionName"] == f"{name}@1"
                self.used += 1

    def ask(self, call, *args, **more):
        """Once in some thousand calls SoftHSM fails to make an object that another process looks at in the same moment, which
        is taken for a loss of the token: a 503, and the child serves again some ms later."""
        for _ in range(20):
            answer = call(*args, **more)
            if answer.status != 503 or "not seen" in answer.message():
                break
            self.refused += 1
            time.sleep(0.05)
        assert answer.status in (200, 201), f"{call.__name__} {args}: {answer.status} {answer.body!r}"
        return answer.json()


def make_and_use(servers: list[Httpd], makers: int, rounds: int) -> None:
    for server in servers:
        server.allow("KMS0141", "KMS0142", "KMS0601")
    begun = [server.error_log.read_text().count("KMS0166") for server in servers]
    every = [Maker(i, servers, rounds) for i in range(makers)]
    for maker in every:
        maker.thread.start()
    for maker in every:
        maker.thread.join()
    anew = sum(server.error_log.read_text().count("KMS0166") - before for server, before in zip(servers, begun))
    used, refused = sum(maker.used for maker in every), sum(maker.refused for maker in every)
    print(f"{used} uses of keys on all children, which logged in anew {anew} times; {refused} calls refused with 503")
    problems = [problem for maker in every for problem in maker.problems]
    assert not problems, problems[:3]
    assert Client(servers[0].port).names().status == 200
