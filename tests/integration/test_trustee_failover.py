# SPDX-License-Identifier: Apache-2.0
"""A primary that is killed under load, and its synchronous standby: what was answered with success is there, once."""
from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from client import Client
from harness import Area, wait_for
from postgres import Postgres, missing
from trustee_load import Load, start_nodes

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")


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
    nodes = start_nodes(registry, area)
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
    figures = load.check(lambda statement: standby.sql(statement, database))
    first = load.first_change_after(joined)
    print(f"failover: {figures}; promoted {promoted - killed:.1f} s after the kill, changes again {first - killed:.1f} s after it, "
          f"{first - joined:.2f} s after a standby was there")
