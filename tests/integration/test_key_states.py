# SPDX-License-Identifier: Apache-2.0
"""States of keys by NIST SP 800-57, on two nodes with one database."""
from __future__ import annotations

import time

import kmsctl
import pytest
from client import Answer, Client, quote
from harness import OPEN_KEY_ACLS, Area, wait_for
from postgres import USUAL, Postgres, missing

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")
REFUSED = "org.apache.hadoop.security.authorize.AuthorizationException"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


@pytest.fixture
def pair(registry, postgres: Postgres, area: Area):
    postgres.configure(area, postgres.database())
    postgres.initialize(area)
    area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.KEY_STATE": "keeper"})
    nodes = [registry.httpd(area, name) for name in ("first", "second")]
    for it in nodes:
        it.usual |= USUAL
        it.allow("KMS0602")
        it.start()
    return nodes


def state(client: Client, name: str) -> Answer:
    return client.call("GET", f"key/{quote(name)}/_state")


def become(client: Client, name: str, wanted: str) -> Answer:
    return client.call("POST", f"key/{quote(name)}/_state", {"state": wanted})


def outcome(answer: Answer, name: str, now: str) -> bool:
    """Whether it worked; if not, the refusal is the one of the state."""
    if answer.status == 200:
        return True
    assert (answer.status, answer.exception()) == (403, REFUSED), (answer.status, answer.body)
    assert answer.message().startswith(f"Key '{name}' is {now}: "), answer.message()
    return False


def test_what_each_state_allows(pair) -> None:
    # A connection for each request: so they go to all children.
    user, keeper = Client(pair[0].port, "u", fresh=True), Client(pair[0].port, "keeper", fresh=True)
    other = Client(pair[1].port, "u", fresh=True)
    lives = {  # what may be encrypted, decrypted, read, rolled
        "pre-active": (False, False, False, True), "active": (True, True, True, True),
        "suspended": (False, False, False, True), "deactivated": (False, True, True, False),
        "compromised": (False, True, True, False)}
    assert user.create("k", attributes={"kms.key.state": "pre-active", "team": "x"}).status == 201
    metadata = user.metadata("k").json()
    assert metadata["attributes"] == {"team": "x", "key.acl.name": "k"}
    assert state(other, "k").json() == {"name": "k", "state": "pre-active"}
    assert not outcome(user.generate("k"), "k", "pre-active") and not outcome(user.current("k"), "k", "pre-active")
    assert become(keeper, "k", "active").json() == {"name": "k", "state": "active"}
    eek = user.generate("k").json()[0]
    plain = user.decrypt(eek).json()
    for now in ("active", "suspended", "active", "deactivated", "compromised"):
        assert become(keeper, "k", now).status == 200
        changed = time.monotonic()
        encrypts, decrypts, reads, rolls = lives[now]
        # Connections need not have met every child of it, which has a second.
        wait_for("the second", lambda changed=changed: time.monotonic() > changed + 1, 5)
        wait_for("the other node", lambda now=now: all(state(other, "k").json()["state"] == now for _ in range(8)), 5)
        for client in (user, other):
            assert client.metadata("k").json()["attributes"] == metadata["attributes"]
            assert outcome(client.generate("k"), "k", now) == encrypts
            assert outcome(client.reencrypt(eek), "k", now) == encrypts
            assert outcome(client.reencrypt_batch("k", [eek]), "k", now) == encrypts
            answer = client.decrypt(eek)
            assert outcome(answer, "k", now) == decrypts and (not decrypts or answer.json() == plain)
            for answer in (client.current("k"), client.versions("k"), client.version("k@0")):
                assert outcome(answer, "k", now) == reads
        rolled = user.roll("k")
        assert outcome(rolled, "k", now) == rolls
        assert not rolls or (rolled.json().get("material") is not None) == reads
    assert "k" in user.names().json()
    assert user.delete("k").status == 200 and state(user, "k").status == 500


def test_who_may_and_which_way(pair) -> None:
    a = pair[0]
    user, keeper = Client(a.port, "u"), Client(a.port, "keeper")
    assert user.create("k").status == 201
    denied = become(user, "k", "suspended")
    assert denied.status == 403 and "not allowed to do 'SET_KEY_STATE'" in denied.message()
    for wanted, text in (("pre-active", "cannot become pre-active; only suspended, deactivated, compromised, or deleted"),
                         ("destroyed", "destroyed is a key that is deleted"), ("", "must be pre-active")):
        answer = become(keeper, "k", wanted)
        assert answer.status == 400 and text in answer.message(), answer.body
    assert keeper.call("POST", "key/k/_state", {}).status == 400
    assert become(keeper, "none", "suspended").status == 500
    assert user.create("odd", attributes={"kms.key.state": "suspended"}).status == 400
    assert become(keeper, "k", "suspended").status == 200
    user.generate("k")
    lines = a.audit_lines()
    assert any("OK[op=SET_KEY_STATE, key=k, user=keeper] State:suspended" in line for line in lines), lines
    assert any("UNAUTHORIZED[op=SET_KEY_STATE, key=k, user=u]" in line for line in lines)
    assert any(line.endswith("Exception:'Key 'k' is suspended: it neither encrypts nor decrypts for now'") for line in lines)


def test_kmsctl(pair) -> None:
    url = f"http://127.0.0.1:{pair[0].port}/kms"
    kmsctl.run("key", "create", "k", "--attribute", "kms.key.state=pre-active", "--url", url, "--user", "u", exit_status=0)
    assert "k is pre-active" in kmsctl.run("key", "state", "k", "--url", url, "--user", "u", exit_status=0).out
    assert "not allowed" in kmsctl.run("key", "state", "k", "active", "--url", url, "--user", "u").err
    assert "k is now active" in kmsctl.run("key", "state", "k", "active", "--url", url, "--user", "keeper", exit_status=0).out
    wrong = kmsctl.run("key", "state", "k", "pre-active", "--url", url, "--user", "keeper")
    assert "cannot become pre-active" in wrong.err


def test_a_keystore_file_keeps_no_states(registry, area: Area) -> None:
    area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.KEY_STATE": "*"})
    it = registry.httpd(area, "file").start()
    client = Client(it.port)
    assert client.create("k", attributes={"kms.key.state": "anything"}).status == 201
    assert client.metadata("k").json()["attributes"]["kms.key.state"] == "anything"
    assert state(client, "k").json() == {"name": "k", "state": "active"}
    answer = become(client, "k", "suspended")
    assert answer.status == 400 and "keeps no states of keys" in answer.message()
    assert client.generate("k").status == 200
