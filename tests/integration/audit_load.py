# SPDX-License-Identifier: Apache-2.0
"""Clients that take DEKs as fast as they can and remember the id of each answer, and the log's records by these ids."""
from __future__ import annotations

import collections
import contextlib
import http.client
import json
import threading
from pathlib import Path

from client import Client
from harness import Httpd

MORE_CHILDREN = "StartServers 4\nServerLimit 8\nThreadsPerChild 5\nMaxRequestWorkers 40\n" \
    "MinSpareThreads 10\nMaxSpareThreads 40\n"


class DekLoad:
    """Threads that generate and decrypt. A connection that breaks is no failure here: what counts is what was answered."""

    def __init__(self, server: Httpd, threads: int = 6, keys: int = 3) -> None:
        self.server = server
        maker = Client(server.port, "maker")
        self.keys = [f"load-{i}" for i in range(keys)]
        for key in self.keys:
            assert maker.create(key).status == 201
        maker.close()
        self.stopping = threading.Event()
        self.answers: list[tuple[str, str, str]] = []  # request id, operation, key; of each 200
        self.broken = 0  # calls without an answer
        self.refused: collections.Counter[int] = collections.Counter()
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.guard, args=(i,)) for i in range(threads)]

    def __enter__(self) -> DekLoad:
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for t in self.threads:
            t.join(60)
        assert not self.failures, self.failures

    def guard(self, i: int) -> None:
        try:
            self.work(i)
        except Exception as e:  # pylint: disable=broad-except  # any other than those that work() knows
            self.failures.append(repr(e))

    def work(self, i: int) -> None:
        key = self.keys[i % len(self.keys)]
        client = Client(self.server.port, f"user-{i}")
        eek = None
        while not self.stopping.is_set():
            try:
                if eek is None:
                    answer = self.note(client.generate(key), "GENERATE_EEK", key)
                    eek = answer.json()[0] if answer.status == 200 else None
                else:
                    self.note(client.decrypt(eek), "DECRYPT_EEK", key)
                    if len(self.answers) % 7 == 0:
                        eek = None
            except (OSError, http.client.HTTPException, ValueError):
                # ValueError: an answer that was cut off.
                self.broken += 1
                client.close()
                self.stopping.wait(0.01)
        client.close()

    def note(self, answer, operation: str, key: str):
        if answer.status == 200:
            request_id = answer.header("X-Request-Id")
            assert request_id, answer.headers
            self.answers.append((request_id, operation, key))
        else:
            self.refused[answer.status] += 1
        return answer

    def missing(self, records: dict[str, dict]) -> list[tuple[str, str, str]]:
        """Answers without their record."""
        def is_there(request_id: str, operation: str, key: str) -> bool:
            found = records.get(request_id, {})
            return found.get("status") == "OK" and found.get("operation") == operation and found.get("key") == key
        return [answer for answer in self.answers if not is_there(*answer)]


def read_records(files: list[Path], torn_allowed: bool = False) -> dict[str, dict]:
    """The records by their request ids, each of which has one that says OK at most. An operation that was recorded and
    then refused has another one."""
    records: dict[str, dict] = {}
    for path in files:
        text = path.read_text(encoding="ascii")
        assert text.endswith("\n") or torn_allowed, f"{path} ends in the middle of a line"
        for line in text.splitlines():
            record = None
            with contextlib.suppress(ValueError):
                record = json.loads(line)
            if record is None:
                assert torn_allowed, f"a torn line in {path}: {line!r}"
                continue
            if request_id := record.get("requestId"):
                if record["status"] == "OK":
                    assert request_id not in records or records[request_id]["status"] != "OK", f"twice: {line}"
                    records[request_id] = record
                else:
                    records.setdefault(request_id, record)
    return records
