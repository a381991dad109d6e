# SPDX-License-Identifier: Apache-2.0
"""What tests ask of /kms/health."""
from __future__ import annotations

import http.client
import json
import re
import time

from children import last_answers
from client import Answer
from harness import Httpd, wait_for

WORDS = {200: "ok", 429: "degraded", 503: "failing"}


def health(server: Httpd, query: str = "", method: str = "GET") -> Answer:
    """From a new connection each time, so that any of the children answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, "/kms/health" + query)
    got = connection.getresponse()
    answer = Answer(got.status, got.reason, got.getheaders(), got.read())
    connection.close()
    return answer


def becomes(server: Httpd, status: int, component: str | None = None, seconds: float = 30) -> list[dict]:
    """Waits until all children say so; gives the reasons. For a child that takes no connections, as it ends or hangs, only for
    a moment."""
    begun, agreed = len(server.access_lines()), 0.0

    def agree():
        nonlocal agreed
        answers = [health(server) for _ in range(12)]
        said = {r["component"] for r in answers[0].json()["reasons"]}
        if any(a.status != status for a in answers) or (component is not None and component not in said):
            agreed = 0.0
            return None
        agreed = agreed or time.monotonic()
        last = last_answers(server, begun, "/kms/health")
        waited_for = [pid for pid in server.child_pids() if last.get(pid) != str(status)]
        return None if last and waited_for and time.monotonic() < agreed + 3 else answers

    answers = wait_for(f"health {status} {component}", agree, seconds)
    for answer in answers:
        body = answer.json()
        assert body["status"] == WORDS[status]
        assert (answer.header("Retry-After") is None) == (status == 200)
        # Whoever asks learns no name of a file, a host or a key.
        assert "/" not in re.sub(r"\d{4}-[0-9T:-]+Z", "", json.dumps(body)), body
        for reason in body["reasons"]:
            assert set(reason) == {"component", "state", "since", "text"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reason["since"])
    return answers[0].json()["reasons"]
