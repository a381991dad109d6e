# SPDX-License-Identifier: Apache-2.0
"""Many keys in PostgreSQL: the database finds each by an index, and no operation but the list goes through all of them.
tests/bench/bench_scale.py measures the same with a million."""
from __future__ import annotations

import re

import kmsctl
import pytest
from audit_faults import ONE_CHILD
from client import Client
from harness import OPEN_KEY_ACLS, Area
from postgres import Postgres, missing
from test_trustee import node
from trustee_scale import PLANS, Scale

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")

KEYS = 20_000
LARGE = r"Seq Scan on (kms_key|kms_key_version|kms_change_log)\b"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


def test_twenty_thousand_keys(registry, postgres: Postgres, area: Area) -> None:
    scale = Scale(postgres, area, KEYS)
    area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "*", "keytrustee.kms.acl.PURGE": "*"})
    for statement in PLANS:
        postgres.sql(statement)
    log = postgres.path / "log"
    it = node(registry, area, "first")
    it.children = ONE_CHILD  # each has a list of its own
    it.start()
    client = Client(it.port)

    def plans(work) -> str:
        """Those of the statements that work makes."""
        since = log.stat().st_size
        work()
        return log.read_bytes()[since:].decode(errors="replace")

    made = plans(lambda: scale.operations(it, 20))
    assert len(re.findall(r"Index Scan using kms_key_pkey", made)) >= 20, made[-3000:]
    assert "kms_key_version_pkey" in made
    assert not re.search(LARGE, made), re.search(f".*{LARGE}.*", made, re.S)
    # The list is the one that goes through all of them, once for all that ask until a key is made or deleted.
    answers = []
    assert len(re.findall(LARGE, plans(lambda: answers.append(client.names())))) == 1
    assert len(answers[0].json()) == scale.keys
    assert not re.search(LARGE, plans(lambda: [client.names(), client.roll("load-0000005"), client.names()]))
    # So does the list of deleted keys, which few ask for.
    assert len(client.call("GET", "trustee/keys").json()) == scale.deleted + 20
    made = plans(scale.backup_and_restore)
    pages = [p for p in re.findall(r"Query Text: SELECT k\.name.*?(?=Query Text:|\Z)", made, re.S) if "ORDER BY k.name" in p]
    assert len(pages) >= KEYS / 500 and not any(re.search(LARGE, page) for page in pages), pages[:3]
    # 'seal rewrap' reads by the same pages as this does.
    made = plans(lambda: kmsctl.run("seal", "validate", "--conf", area.conf, exit_status=0))
    for table, start in (("kms_key", r"\(name > "), ("kms_key_version", r"\(ROW\(name, version\) > ROW\(")):
        pages = re.findall(rf"Index Scan using {table}_pkey on {table}\b[^\n]*\n\s*Index Cond: {start}", made)
        assert len(pages) >= KEYS / 100, (table, made[-3000:])
    assert "Merge Join" not in made
