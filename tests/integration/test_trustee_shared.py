# SPDX-License-Identifier: Apache-2.0
"""Cookie secrets and delegation tokens in the database of the keys: two nodes, each an httpd with several children."""
from __future__ import annotations

import time

import pytest
from audit_faults import ONE_CHILD
from client import Client
from harness import Area, Httpd, wait_for
from health_checks import becomes
from postgres import USUAL, Postgres, missing
from test_trustee import soon
from token_load import Holders
from tokens import INVALID, NOT_FOUND, Token, cancel, check_refused, get, issue, lifetimes, renew, use

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")
AWAY = ("KMS0131", "KMS0132", "KMS0311", "KMS0370", "KMS0601")
VALIDITY = "hadoop.kms.authentication.token.validity"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


class Cluster:
    """Nodes of one new store."""

    def __init__(self, registry, postgres: Postgres, area: Area) -> None:
        self.registry, self.postgres, self.area = registry, postgres, area
        self.database = postgres.database()

    def configure(self, trustee: dict[str, str], **others: str) -> Cluster:
        self.postgres.configure(self.area, self.database, trustee, site=others)
        self.postgres.initialize(self.area)
        return self

    def node(self, name: str, children: str = "") -> Httpd:
        it = self.registry.httpd(self.area, name)
        it.usual |= USUAL
        it.children = children or it.children
        return it.start()

    def pair(self, children: str = "") -> list[Httpd]:
        return [self.node(name, children) for name in ("first", "second")]

    def sql(self, statement: str) -> str:
        return self.postgres.sql(statement, self.database)


@pytest.fixture
def cluster(registry, postgres: Postgres, area: Area) -> Cluster:
    return Cluster(registry, postgres, area)


def cookie_of(client: Client) -> dict[str, str]:
    return {"Cookie": client.names().cookie()}


def accepts(client: Client, cookie: dict[str, str]) -> bool:
    return client.call("GET", "keys/names", headers=cookie, user=None).status == 200


def test_cookies_and_tokens_of_either_node(cluster: Cluster) -> None:
    nodes = cluster.configure({}).pair()
    numbers = []
    for one, other in (nodes, nodes[::-1]):
        # A connection for each request: so they go to all children.
        a, b = Client(one.port, fresh=True), Client(other.port, fresh=True)
        cookie = cookie_of(a)
        assert all(accepts(b, cookie) for _ in range(12))
        for _ in range(4):
            token = issue(a)
            numbers.append(Token.parse(token))
            assert [use(c, token).status for c in (b, a, b, a)] == [200] * 4
            assert renew(b, token).status == 200 and use(a, token).status == 200
            assert cancel(b, token).status == 200
            for _ in range(8):
                check_refused(use(b, token), NOT_FOUND)
            soon("the cancellation", lambda c=a, t=token: use(c, t).status == 403)
            check_refused(use(a, token), NOT_FOUND)
            assert renew(a, token).reason.startswith(INVALID + "Renewal request for unknown token ")
            assert cancel(a, token).status == 404
    assert len({t.sequence for t in numbers}) == len(numbers)
    assert len({t.master_key_id for t in numbers}) == 1, "all nodes use one master key"
    # What can be used is not to be read.
    token = Token.parse(issue(Client(nodes[0].port)))
    rows = cluster.sql("SELECT encode(sealed, 'hex') FROM kms_record")
    assert token.password.hex() not in rows and b"alice".hex() not in rows


def test_a_restart_loses_nothing(cluster: Cluster) -> None:
    first, second = cluster.configure({}).pair()
    a = Client(first.port)
    cookie, kept, gone = cookie_of(a), issue(a), issue(a)
    second.stop()
    assert cancel(a, gone).status == 200
    first.kill()
    for it in (first, second):
        it.start()
    for it in (first, second):
        client = Client(it.port, fresh=True)
        assert accepts(client, cookie)
        assert use(client, kept).status == 200 and renew(client, kept).status == 200
        check_refused(use(client, gone), NOT_FOUND)
    assert Token.parse(issue(Client(second.port))).master_key_id == Token.parse(kept).master_key_id


def test_nodes_that_begin_together_make_one_of_each(cluster: Cluster) -> None:
    """Both start on an empty store; their children all try at once."""
    cluster.configure({})
    nodes = [cluster.registry.httpd(cluster.area, name) for name in ("first", "second")]
    for it in nodes:
        it.usual |= USUAL
        it.spawn()
    for it in nodes:
        wait_for("an answer", it.answers, 30)
    keys = {Token.parse(issue(Client(nodes[i % 2].port, fresh=True))).master_key_id for i in range(8)}
    assert len(keys) == 1
    assert cluster.sql("SELECT COUNT(*) FROM kms_record WHERE kind = 'TokenKey'") == "1"
    assert cluster.sql("SELECT revision FROM kms_record WHERE kind = 'CookieSecrets'") == "1"
    assert sum(it.log_text().count("KMS0371") for it in nodes) == 1
    for one, other in (nodes, nodes[::-1]):
        cookie = cookie_of(Client(one.port))
        assert all(accepts(Client(other.port, fresh=True), cookie) for _ in range(8))


def test_secrets_roll_and_cookies_go_on(cluster: Cluster) -> None:
    """A new secret every three seconds; no cookie that was just given is refused by the other node."""
    nodes = cluster.configure({}, **{VALIDITY: "3"}).pair()
    clients = [Client(it.port, fresh=True) for it in nodes]
    end = time.monotonic() + 8
    while time.monotonic() < end:
        clients.reverse()
        assert accepts(clients[0], cookie_of(clients[1]))
    assert int(cluster.sql("SELECT revision FROM kms_record WHERE kind = 'CookieSecrets'")) >= 3


def test_expiry_new_keys_and_the_purge(cluster: Cluster) -> None:
    life = lifetimes(update=1, life=4, renew=2, scan=1)
    nodes = cluster.configure({}, **life).pair()
    for it in nodes:
        it.allow("KMS0310")
    a, b = (Client(it.port, fresh=True) for it in nodes)
    first = issue(a)
    assert use(b, first).status == 200

    def another_key() -> bool:
        return Token.parse(issue(b)).master_key_id != Token.parse(first).master_key_id

    wait_for("another master key", another_key, 20)
    wait_for("the end of the token", lambda: use(a, first).status == 403, 20)
    wait_for("the purge", lambda: cluster.sql("SELECT COUNT(*) FROM kms_record WHERE kind = 'Token'") == "0", 30)
    check_refused(use(b, first))
    # Their keys go when new ones come.
    wait_for("the end of the first key", lambda: get(a, "alice").status == 200 and
             cluster.sql(f"SELECT COUNT(*) FROM kms_record WHERE kind = 'TokenKey' AND number = "
                         f"{Token.parse(first).master_key_id}") == "0", 30)


def test_under_load_while_nodes_die(cluster: Cluster) -> None:
    nodes = cluster.configure({}).pair()
    with Holders(nodes, may_break=True, patience=3) as load:
        load.wait_for_more(30)
        nodes[0].kill()
        nodes[0].start()
        load.wait_for_more(30)
    load.figures("two nodes, one killed")
    print(f"longest until a cancelled token was refused by the other node: {load.longest:.2f} s")
    wait_for("the last cancellation", lambda: all(use(Client(it.port), t).status == 403 for it in nodes for t in load.dead), 5)
    load.check(*nodes)


def test_the_database_is_killed(cluster: Cluster) -> None:
    """Cookies go on; tokens for their time; changes are 503, and nothing of them is there afterwards."""
    cluster.configure({"timeout.ms": "1000", "stale-reads.ms": "15000"})
    first, second = cluster.pair(ONE_CHILD)  # so that what is in memory does not depend on who takes a connection
    a, b = Client(first.port, fresh=True), Client(second.port, fresh=True)
    cookie, token = cookie_of(a), issue(a)
    assert accepts(b, cookie) and use(b, token).status == 200 == use(a, token).status
    for it in (first, second):
        it.allow(*AWAY)
    cluster.postgres.crash()
    killed = time.monotonic()
    reasons = becomes(first, 429, "tokens")
    assert {r["component"] for r in reasons} == {"keystore", "signer", "tokens"}
    refused = [get(a, "alice"), renew(b, token), cancel(a, token)]
    assert [r.status for r in refused] == [503] * 3
    assert all("trustee://" in r.message() or "connect" in r.message() for r in refused), [r.body for r in refused]
    assert use(a, token).status == 200 == use(b, token).status and accepts(b, cookie)
    wait_for("the end of the tokens", lambda: use(a, token).status == 503 == use(b, token).status, 30)
    assert time.monotonic() - killed > 12
    assert "failing" in {r["state"] for r in becomes(first, 503, "tokens")}
    # Who is known by a cookie stays known; it is the keys that are out of reach.
    assert a.call("GET", "key/k/_metadata", headers=cookie, user=None).status == 503
    assert b.call("OPTIONS", "", headers=cookie, user=None).status == 200
    cluster.postgres.start()
    for client in (a, b):
        wait_for("the database", lambda c=client: use(c, token).status == 200, 30)
        assert accepts(client, cookie)
    assert cluster.sql("SELECT COUNT(*), MAX(revision) FROM kms_record WHERE kind = 'Token'") == "1|1"
    assert renew(a, token).status == 200 and cancel(b, token).status == 200
    wait_for("the cancellation", lambda: use(a, token).status == 403, 5)
    becomes(first, 200)


def test_a_file_or_memory_where_they_are_wanted(registry, postgres: Postgres, area: Area) -> None:
    """An operator who said where tokens and secrets are keeps them there."""
    cluster = Cluster(registry, postgres, area).configure(
        {}, **{"hadoop.kms.authentication.signer.secret.provider": "random"})
    nodes = [registry.httpd(area, name) for name in ("first", "second")]
    for it in nodes:
        it.directives.append(f'KMSTokenFile "{area.store}/tokens"')
        it.start()
    a, b = (Client(it.port, fresh=True) for it in nodes)
    assert not accepts(b, cookie_of(a))
    token = issue(a)
    assert use(b, token).status == 200 and (area.store / "tokens").exists()
    assert cluster.sql("SELECT COUNT(*) FROM kms_record") == "0"


def test_trustee_secrets_need_such_a_store(registry, area: Area) -> None:
    it = registry.httpd(area, "first")
    it.directives.append("KMSProperty hadoop.kms.authentication.signer.secret.provider trustee")
    status, text = it.configtest()
    assert status != 0 and "needs a key provider trustee://" in text
