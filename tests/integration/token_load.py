# SPDX-License-Identifier: Apache-2.0
"""Clients with delegation tokens that are at work while servers come and go."""
from __future__ import annotations

import http.client
import threading
import time

from client import Client
from harness import Httpd, wait_for
from tokens import NOT_FOUND, cancel, check_refused, get, renew, use


class Unavailable(Exception):
    """A 503: come again."""


class Holders:
    """Threads that lead tokens through their life, on a new connection for each call, and remember what was answered.

    A call without an answer, or with a 503, may have been done or not; what it was about is no longer looked at.
    """

    def __init__(self, servers: list[Httpd], count: int = 4, may_break: bool = False, patience: float = 0) -> None:
        """patience: seconds for which a token that was cancelled on one server may be good on another."""
        self.servers, self.may_break, self.patience = servers, may_break, patience
        self.longest = 0.0  # of these
        self.alive: set[str] = set()
        self.dead: set[str] = set()
        self.calls = self.broken = 0
        self.failures: list[str] = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=(i,)) for i in range(count)]

    def __enter__(self) -> Holders:
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for t in self.threads:
            t.join(60)

    def guard(self, i: int) -> None:
        clients = [Client(s.port, fresh=True) for s in self.servers]
        turn = i
        while not self.stopping.is_set():
            turn += 1
            try:
                self.life(clients[turn % len(clients)], clients[(turn + 1) % len(clients)], turn % 2 == 0)
            except (OSError, http.client.HTTPException, Unavailable) as e:
                with self.lock:
                    self.broken += 1
                    if not self.may_break:
                        self.failures.append(repr(e))
                self.stopping.wait(0.02)
            except Exception as e:  # noqa: BLE001 - a thread's failure is told by the test
                self.failures.append(repr(e))
                return

    def expect(self, answer, status: int):
        with self.lock:
            self.calls += 1
        if answer.status == 503:
            raise Unavailable(answer.body)
        if answer.status != status:
            raise AssertionError(f"{answer.status} {answer.reason}: {answer.body[:300]!r}")
        return answer

    def life(self, one: Client, other: Client, ends: bool) -> None:
        token = self.expect(get(one, "alice"), 200).json()["Token"]["urlString"]
        with self.lock:
            self.alive.add(token)
        self.expect(use(other, token), 200)
        self.expect(renew(other, token), 200)
        self.expect(use(one, token), 200)
        if not ends:
            return
        with self.lock:
            self.alive.remove(token)
        self.expect(cancel(one, token), 200)
        with self.lock:
            self.dead.add(token)
        self.refused(other, token)

    def refused(self, client: Client, token: str) -> None:
        start = time.monotonic()
        while (answer := use(client, token)).status != 403 and time.monotonic() - start < self.patience:
            self.calls += 1
        self.expect(answer, 403)
        self.longest = max(self.longest, time.monotonic() - start)

    def wait_for_more(self, calls: int = 60) -> None:
        target = self.calls + calls
        wait_for("further calls", lambda: self.calls > target or self.failures, 60)
        assert not self.failures, self.failures

    def check(self, *servers: Httpd) -> None:
        """All that was answered holds on each of these."""
        assert not self.failures, "\n".join(self.failures[:5])
        assert self.alive and self.dead
        for server in servers:
            client = Client(server.port)
            assert {use(client, t).status for t in self.alive} == {200}, "a token is lost"
            assert {renew(client, t).status for t in self.alive} == {200}, "a master key is lost"
            for token in self.dead:
                check_refused(use(client, token), NOT_FOUND)

    def figures(self, what: str) -> None:
        print(f"\n{what}: {self.calls} calls answered as they should be, {self.broken} without an answer, "
              f"{len(self.failures)} failed; {len(self.alive)} tokens alive, {len(self.dead)} cancelled")
