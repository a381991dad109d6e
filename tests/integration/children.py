# SPDX-License-Identifier: Apache-2.0
"""Connections to each child of a server: what one child answered is then asked of another."""
from __future__ import annotations

from collections.abc import Callable

from client import Client
from harness import Httpd, wait_for

# For Httpd.children: three, from the begin to the end.
CHILDREN = "StartServers 3\nServerLimit 3\nThreadsPerChild 10\nMaxRequestWorkers 30\nMinSpareThreads 1\nMaxSpareThreads 30\n"


def clients_on_all_children(server: Httpd, wanted: int) -> dict[int, Client]:
    """One kept connection to each of at least that many children; a connection stays with its child."""
    found: dict[int, Client] = {}
    spare = []
    for i in range(300):
        client = Client(server.port)
        mark = f"{id(server)}-{i}"
        assert client.call("GET", f"keys/names?mark={mark}&x", user="u").status == 200
        # mod_log_config writes the query up to its end, where the user's name is.
        pid = wait_for("the access log", lambda m=mark: next(
            (int(line.split()[0]) for line in server.access_lines() if f"mark={m}&" in line), None))
        if pid in found:
            spare.append(client)  # kept open, so that the next connection goes elsewhere
        else:
            found[pid] = client
        if len(found) >= wanted:
            break
    for client in spare:
        client.close()
    assert len(found) >= wanted, f"only {len(found)} children took connections"
    return found


def last_answers(server: Httpd, begun: int, what: str) -> dict[int, str]:
    """The last status of each child in the access log, from this line on, for URLs with what in them."""
    lines = [line.split(maxsplit=3) for line in server.access_lines()[begun:]]
    return {int(pid): status for pid, status, _, url in lines if what in url}


def every_child(server: Httpd, what: str, call: Callable[[], object], seconds: float = 60) -> None:
    """Calls until each child has answered with 200, by the access log. call takes a connection of its own each time, and what is
    in its URL and in nobody else's meanwhile."""
    begun = len(server.access_lines())

    def all_answered() -> bool:
        for _ in range(5):
            call()
        last = last_answers(server, begun, what)
        return all(last.get(pid) == "200" for pid in server.child_pids())

    wait_for(f"every child to answer {what}", all_answered, seconds)
