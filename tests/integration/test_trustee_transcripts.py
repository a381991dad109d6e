# SPDX-License-Identifier: Apache-2.0
"""The requests recorded with the real Java server, on keys in PostgreSQL: the same answers as on a JCEKS file."""
from __future__ import annotations

import pytest
from harness import DATA, Httpd
from postgres import USUAL, Postgres, missing
from test_transcripts import CASES, check_case, send

# In docs/compatibility.md, "what looks like a version and is none": statuses where Java stumbles over an entry of the file.
NO_SUCH_ENTRY = {"keyversion/no-at-existing-key-name": 200, "decrypt/version-no-at": 400}

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    area = server.area
    with Postgres() as postgres:
        postgres.configure(area, postgres.database(),
                           site={f"hadoop.kms.proxyuser.proxyu.{what}": "*" for what in ("users", "hosts")})
        postgres.initialize(area)
        area.write("kms-acls.xml", (DATA / "rest-transcripts-kms-acls.xml").read_bytes())
        server.usual |= USUAL
        yield server
        server.stop()


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_case(server: Httpd, case) -> None:
    if case["name"] not in NO_SUCH_ENTRY:
        check_case(server.port, case)
        return
    for step in case["setup"]:
        send(server.port, step)
    assert send(server.port, case).status == NO_SUCH_ENTRY[case["name"]]
