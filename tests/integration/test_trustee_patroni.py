# SPDX-License-Identifier: Apache-2.0
"""A cluster that Patroni leads: its primary is gone under load, and mod_kms goes on without anybody doing anything."""
from __future__ import annotations

import time

import patroni_cluster
import pytest
from client import Client
from harness import Area, wait_for
from postgres import missing as missing_postgres
from trustee_load import Load, start_nodes

pytestmark = pytest.mark.skipif(missing_postgres() or bool(patroni_cluster.missing()),
                                reason=f"not here: PostgreSQL or {patroni_cluster.missing()}")


def test_the_leader_is_gone_and_comes_back(registry, area: Area) -> None:
    with patroni_cluster.Cluster() as cluster:
        leader = cluster.leader()
        database = leader.database()
        leader.configure(area, database, {"require-synchronous-standby": "true"}, *(it for it in cluster.members if it is not leader))
        leader.initialize(area)
        nodes = start_nodes(registry, area)
        load = Load(nodes)
        wait_for("changes", lambda: len(load.successes) >= 200, 60)
        killed = time.monotonic()
        leader.crash()
        # Patroni takes the leader's place away after its ttl of 20 s, promotes the synchronous standby and makes the third
        # server the next one; until then no change is answered with success.
        wait_for("changes again", lambda: load.changes_after(killed + 5) >= 200, 120)
        again = load.first_change_after(killed + 5)
        assert cluster.leader() is not leader
        # The lost server comes back, as a standby.
        leader.start()
        wait_for("the lost server", lambda: cluster.leader().sql(
            "SELECT COUNT(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2", 120)
        back = time.monotonic()
        wait_for("changes after it", lambda: load.changes_after(back) >= 50, 60)
        load.end()
        figures = load.check(lambda statement: cluster.leader().sql(statement, database))
        print(f"Patroni: {figures}; changes again {again - killed:.1f} s after the kill")
        assert Client(nodes[0].port).names().status == 200
