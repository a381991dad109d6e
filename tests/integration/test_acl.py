# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every operation's ACL and blacklist, key ACLs, and the file read anew while serving."""
from __future__ import annotations

import time
from typing import Callable

import pytest
from client import Answer, Client
from harness import OPEN_KEY_ACLS, OPERATIONS, Httpd, hadoop_xml, wait_for

DENIED = "org.apache.hadoop.security.authorize.AuthorizationException"

# A call that needs the op ACL, as the user and with the key named, and what Java calls the operation when refusing it.
Call = Callable[[Client, dict], Answer]
CALLS: dict[str, list[tuple[str, Call]]] = {
    "CREATE": [("CREATE_KEY", lambda c, e: c.create("new-by-" + c.user.lower()))],
    "DELETE": [("DELETE_KEY", lambda c, e: c.delete("victim-" + c.user.lower()))],
    "ROLLOVER": [("ROLL_NEW_VERSION", lambda c, e: c.roll("k"))],
    "GET": [("GET_CURRENT_KEY", lambda c, e: c.current("k")), ("GET_KEY_VERSION", lambda c, e: c.version("k@0")),
            ("GET_KEY_VERSIONS", lambda c, e: c.versions("k"))],
    "GET_KEYS": [("GET_KEYS", lambda c, e: c.names())],
    "GET_METADATA": [("GET_METADATA", lambda c, e: c.metadata("k")),
                     ("GET_METADATA", lambda c, e: c.call("GET", "key/k")),
                     ("GET_KEYS_METADATA", lambda c, e: c.call("GET", "keys/metadata?key=k"))],
    "SET_KEY_MATERIAL": [("CREATE_KEY", lambda c, e: c.create("given-by-" + c.user.lower(), material="A" * 22)),
                         ("ROLL_NEW_VERSION", lambda c, e: c.roll("k", material="A" * 22))],
    "GENERATE_EEK": [("GENERATE_EEK", lambda c, e: c.generate("k")), ("REENCRYPT_EEK", lambda c, e: c.reencrypt(e)),
                     ("REENCRYPT_EEK_BATCH", lambda c, e: c.reencrypt_batch("k", [e]))],
    "DECRYPT_EEK": [("DECRYPT_EEK", lambda c, e: c.decrypt(e))],
}


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    """For each op: only-OP alone may do it (with friends that every case needs), not-OP is on the blacklist."""
    server = module_registry.httpd()
    acls = dict(OPEN_KEY_ACLS)
    for op in OPERATIONS:
        helper = "u" if op != "GET_KEYS" else "u,keys"
        acls[f"hadoop.kms.acl.{op}"] = f"{helper},only-{op},not-{op},setter,both"
        acls[f"hadoop.kms.blacklist.{op}"] = f"not-{op}"
    # Material can be set only by who may create and roll.
    for op in ("CREATE", "ROLLOVER"):
        acls[f"hadoop.kms.acl.{op}"] += ",only-SET_KEY_MATERIAL,not-SET_KEY_MATERIAL"
    server.area.write_acls(acls)
    server.start()
    u = Client(server.port)
    u.create("k", length=128)
    for prefix in ("only-", "not-"):
        u.create(f"victim-{prefix}delete")
    return server


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPERATIONS)
def test_each_operation(server: Httpd, op: str) -> None:
    u = Client(server.port)
    for name, call in CALLS[op]:
        eek = u.generate("k").json()[0]
        for user, allowed in ((f"not-{op}", False), ("stranger", False), (f"only-{op}", True)):
            answer = call(Client(server.port, user), eek)
            if allowed:
                assert answer.status in (200, 201), (user, name, answer.body)
            else:
                assert answer.status == 403, (user, name)
                assert answer.exception() == DENIED
                assert answer.message().startswith(f"User:{user} not allowed to do '{name}'"), answer.message()


@pytest.mark.parametrize("op", OPERATIONS)
def test_one_operation_opens_no_other(server: Httpd, op: str) -> None:
    eek = Client(server.port).generate("k").json()[0]
    user = Client(server.port, f"only-{op}")
    for other, calls in CALLS.items():
        if other == op or (op == "SET_KEY_MATERIAL" and other in ("CREATE", "ROLLOVER")):
            continue
        for name, call in calls:
            assert call(user, eek).status == 403, name


def test_material_is_shown_only_to_who_may_get_it(server: Httpd) -> None:
    creator = Client(server.port, "only-CREATE")
    assert creator.create("unseen").json()["material"] is None
    roller = Client(server.port, "only-ROLLOVER")
    assert roller.roll("k").json()["material"] is None
    assert Client(server.port).create("seen").json()["material"] is not None


def test_invalidate_needs_roll_or_delete(server: Httpd) -> None:
    for user, status in (("only-ROLLOVER", 200), ("only-DELETE", 200), ("only-CREATE", 403), ("stranger", 403)):
        assert Client(server.port, user).invalidate("k").status == status


def test_a_refusal_tells_nothing_of_existence(server: Httpd) -> None:
    stranger = Client(server.port, "stranger")
    there, not_there = stranger.metadata("k"), stranger.metadata("z")
    assert there.message().replace("'k'", "'z'") == not_there.message()


KEY_ACLS = {
    "key.acl.own.MANAGEMENT": "manager", "key.acl.own.READ": "reader", "key.acl.own.GENERATE_EEK": "generator",
    "key.acl.own.DECRYPT_EEK": "decrypter", "key.acl.all.ALL": "owner",
    "default.key.acl.READ": "*", "default.key.acl.MANAGEMENT": "boss",
    "whitelist.key.acl.READ": "auditor", "whitelist.key.acl.DECRYPT_EEK": "auditor",
    "key.acl.dotted.name.READ": "reader", "key.acl.dotted.name.MANAGEMENT": "boss",
}


@pytest.fixture
def keyed(httpd: Httpd) -> Httpd:
    httpd.area.write_acls(KEY_ACLS)
    httpd.start()
    for name, user in (("own", "manager"), ("all", "owner"), ("plain", "boss"), ("dotted.name", "boss")):
        assert Client(httpd.port, user).create(name, length=128).status == 201
    return httpd


def test_key_acls(keyed: Httpd) -> None:
    def as_user(user: str) -> Client:
        return Client(keyed.port, user)
    eek = as_user("generator").generate("own").json()[0]
    for user, allowed in (("manager", {"roll"}), ("reader", {"metadata"}), ("generator", {"generate"}),
                          ("decrypter", {"decrypt"}), ("owner", set()), ("boss", set()),
                          ("auditor", {"metadata", "decrypt"})):
        c = as_user(user)
        got = {"roll": c.roll("own"), "metadata": c.metadata("own"), "generate": c.generate("own"),
               "decrypt": c.decrypt(eek)}
        assert {name for name, answer in got.items() if answer.status == 200} == allowed, user
        # Java answers 500 to a refused generate, and clients know it so.
        assert {answer.status for name, answer in got.items() if name not in allowed} <= {403, 500}
        if "generate" not in allowed:
            assert got["generate"].status == 500 and got["generate"].message() == \
                f"{DENIED}: User [{user}] is not authorized to perform [GENERATE_EEK] on key with ACL name [own]!!"
    owner = as_user("owner")
    assert {owner.roll("all").status, owner.metadata("all").status, owner.generate("all").status} == {200}
    assert as_user("anybody").metadata("plain").status == 200
    assert as_user("anybody").roll("plain").status == 403
    assert as_user("anybody").generate("plain").status == 500
    assert as_user("reader").metadata("dotted.name").status == 200
    assert as_user("anybody").metadata("dotted.name").status == 403


def test_key_acl_name_of_the_attributes(keyed: Httpd) -> None:
    """One set of rules for many keys: the attribute names the rules, and a creator cannot borrow another's."""
    refused = Client(keyed.port, "mallory").create("borrowed", attributes={"key.acl.name": "own"})
    assert refused.status == 403 and refused.exception() == DENIED
    manager = Client(keyed.port, "manager")
    assert manager.create("borrowed", attributes={"key.acl.name": "own"}).status == 201
    assert Client(keyed.port, "reader").metadata("borrowed").json()["attributes"] == {"key.acl.name": "own"}
    assert Client(keyed.port, "anybody").metadata("borrowed").status == 403


def test_a_key_without_any_acl_cannot_be_made(httpd: Httpd) -> None:
    httpd.area.write_acls({})
    httpd.start()
    answer = Client(httpd.port).create("orphan")
    assert answer.status == 403 and answer.message() == "User [u] is not authorized to create key !!"


def test_key_authorization_off(httpd: Httpd) -> None:
    httpd.area.write_acls({"hadoop.kms.acl.GET_KEYS": "admin"})
    httpd.directives.append("KMSKeyAuthorization Off")
    httpd.start()
    client = Client(httpd.port)
    assert client.create("free").status == 201
    assert client.generate("free").status == 200
    assert client.names().status == 403  # operations still have their ACLs


def test_groups(httpd: Httpd) -> None:
    httpd.area.write("core-site.xml", hadoop_xml(
        {"hadoop.user.group.static.mapping.overrides": "ann=ops,dev;ben=dev;cyd="}))
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.acl.GET_KEYS": " ops", "hadoop.kms.acl.GET_METADATA": "cyd dev",
                           "hadoop.kms.blacklist.GET_METADATA": " ops"})
    httpd.start()
    for user, names, metadata in (("ann", 200, 403), ("ben", 403, 200), ("cyd", 403, 200), ("dan", 403, 403)):
        client = Client(httpd.port, user)
        assert (client.names().status, client.metadata("k").status) == (names, metadata), user


def statuses(server: Httpd, user: str, count: int = 30) -> set[int]:
    """Asked over fresh connections, so of every child."""
    return {Client(server.port, user, fresh=True).names().status for _ in range(count)}


@pytest.mark.smoke
def test_new_rules_are_in_force_within_three_seconds(httpd: Httpd) -> None:
    httpd.start()
    assert statuses(httpd, "mallory") == {200}
    time.sleep(0.2)  # Java asks for a file that is newer than its last load by 0.1 s
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.GET_KEYS": "mallory"})
    begin = time.monotonic()
    wait_for("the new rules", lambda: statuses(httpd, "mallory") == {403}, 4)
    assert time.monotonic() - begin < 3.5
    assert statuses(httpd, "u") == {200}
    httpd.area.write_acls(OPEN_KEY_ACLS)
    wait_for("the old rules again", lambda: statuses(httpd, "mallory") == {200}, 4)


@pytest.mark.parametrize("broken", [
    "<configuration><property><name>x", "", "no XML at all",
    '<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd">]><configuration><property>'
    "<name>hadoop.kms.acl.GET_KEYS</name><value>&e;</value></property></configuration>",
], ids=["cut short", "empty", "text", "entity"])
def test_a_broken_file_leaves_the_rules(httpd: Httpd, broken: str) -> None:
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.GET_KEYS": "mallory"})
    httpd.start()
    assert statuses(httpd, "mallory", 5) == {403}
    time.sleep(0.2)
    httpd.expect("KMS0204")
    httpd.area.write("kms-acls.xml", broken)
    wait_for("the log to say so", lambda: "kms-acls.xml" in httpd.log_text() and "KMS0204" in httpd.log_text(), 4)
    assert statuses(httpd, "mallory") == {403}
    assert statuses(httpd, "u") == {200}
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.GET_KEYS": "u"})
    wait_for("the mended rules", lambda: statuses(httpd, "u") == {403}, 4)
    assert statuses(httpd, "mallory") == {200}


def test_a_file_that_vanishes_leaves_the_rules(httpd: Httpd) -> None:
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.GET_KEYS": "mallory"})
    httpd.start()
    httpd.expect("KMS0205")
    (httpd.area.conf / "kms-acls.xml").unlink()
    time.sleep(2.5)
    assert statuses(httpd, "mallory") == {403}
