# SPDX-License-Identifier: Apache-2.0
"""Connections to each child of a server: what one child answered is then asked of another."""
from __future__ import annotations

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
