# SPDX-License-Identifier: Apache-2.0
"""KMSAuditFormat json: every member, of every operation and refusal; operations on delegation tokens, which the Java
format does not have."""
from __future__ import annotations

import datetime
import json
import re
import time
import urllib.parse

import pytest
from audit_faults import BrokenDisk
from client import Answer, Client, quote
from harness import OPEN_KEY_ACLS, Httpd, hadoop_xml, wait_for

ALWAYS = {"time", "status", "remoteAddress", "requestId", "durationMs"}
TOKEN = "kms-dt owner={owner}, renewer={renewer}, realUser={real}, issueDate={d}, maxDate={d}, sequenceNumber={n}, masterKeyId={n}"


def configure(server: Httpd, form: str = "json") -> None:
    server.directives.append(f"KMSAuditFormat {form}")
    server.area.write_site({"hadoop.kms.proxyuser.gateway.users": "*", "hadoop.kms.proxyuser.gateway.hosts": "127.0.0.1"})
    server.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.CREATE": "mallory", "key.acl.own.READ": "alice",
                            "key.acl.own.MANAGEMENT": "alice"})


def record_of(server: Httpd, answer: Answer) -> dict:
    """The one record of an answer, by the id that the client got."""
    request_id = answer.header("X-Request-Id")
    assert request_id
    found = [json.loads(line) for line in server.audit_lines() if request_id in line]
    assert len(found) == 1, found
    record = found[0]
    assert ALWAYS <= set(record) and record["requestId"] == request_id
    assert record["remoteAddress"] == "127.0.0.1"
    assert 0 <= record["durationMs"] < 60000
    written = datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))
    assert abs(written.timestamp() - time.time()) < 60
    return {k: v for k, v in record.items() if k not in ALWAYS or k == "status"}


def test_every_operation(httpd: Httpd) -> None:
    configure(httpd)
    httpd.start()
    c = Client(httpd.port, "alice")
    eek = c.create("k") and c.generate("k").json()[0]

    def check(answer: Answer, operation: str, **more) -> None:
        want = {"status": "OK", "user": "alice", "operation": operation, **more}
        if "accessCount" in want:
            want["intervalMs"] = 0
        assert record_of(httpd, answer) == want
    key = {"key": "k"}
    check(c.create("k2", description="x"), "CREATE_KEY", key="k2", version="k2@0",
          detail="UserProvidedMaterial:false Description:x")
    check(c.roll("k2"), "ROLL_NEW_VERSION", key="k2", version="k2@1",
          detail="UserProvidedMaterial:false NewVersion:k2@1")
    check(c.delete("k2"), "DELETE_KEY", key="k2")
    check(c.names(), "GET_KEYS")
    check(c.metadata("k"), "GET_METADATA", **key)
    check(c.call("GET", "keys/metadata?key=k"), "GET_KEYS_METADATA")
    check(c.current("k"), "GET_CURRENT_KEY", **key, version="k@0", accessCount=1)
    check(c.version("k@0"), "GET_KEY_VERSION", **key, version="k@0", accessCount=1)
    check(c.versions("k"), "GET_KEY_VERSIONS", **key)
    check(c.generate("k"), "GENERATE_EEK", **key, version="k@0", accessCount=1)
    check(c.decrypt(eek), "DECRYPT_EEK", **key, version="k@0", accessCount=1)
    check(c.reencrypt(eek), "REENCRYPT_EEK", **key, version="k@0", accessCount=1)
    check(c.reencrypt_batch("k", [eek]), "REENCRYPT_EEK_BATCH", **key, version="k@0", detail="reencrypted 1 keys")
    check(c.invalidate("k"), "INVALIDATE_CACHE", **key)


def test_who_really_asks(httpd: Httpd) -> None:
    configure(httpd)
    httpd.start()
    answer = Client(httpd.port, "gateway").call("GET", "keys/names?doAs=bob")
    assert record_of(httpd, answer) == {"status": "OK", "operation": "GET_KEYS", "user": "bob", "realUser": "gateway"}


def test_refusals(httpd: Httpd) -> None:
    configure(httpd)
    httpd.start()
    denied = record_of(httpd, Client(httpd.port, "mallory").create("k"))
    assert denied == {"status": "UNAUTHORIZED", "operation": "CREATE_KEY", "key": "k", "user": "mallory"}
    unknown = record_of(httpd, Client(httpd.port, None).call("GET", "keys/names"))
    assert (unknown["status"], unknown.get("user")) == ("UNAUTHENTICATED", None)
    assert "ErrorMsg:'Authentication required'" in unknown["detail"]
    failed = record_of(httpd, Client(httpd.port, "alice").roll("no-such-key"))
    assert (failed["status"], failed["user"]) == ("ERROR", "alice") and "no-such-key" in failed["detail"]


def test_refusals_that_the_java_format_does_not_have(httpd: Httpd) -> None:
    """403 and 400 before any operation: forged tokens, impersonation, names that are none."""
    configure(httpd)
    httpd.start()
    mallory = Client(httpd.port, "mallory")

    def detail_of(answer: Answer, status: int) -> str:
        assert answer.status == status, answer.body
        record = record_of(httpd, answer)
        assert record.pop("status") == "UNAUTHENTICATED" and set(record) == {"detail"}
        return record["detail"]
    assert "mallory is not allowed to impersonate alice" in detail_of(mallory.call("GET", "keys/names?doAs=alice"), 403)
    forged = detail_of(Client(httpd.port, None).call("GET", "keys/names?delegation=AAAA"), 403)
    assert "delegation=... " in forged and "AAAA" not in forged
    assert "user name" in detail_of(Client(httpd.port, 'mal"lory').names(), 400)
    assert detail_of(Client(httpd.port, None).call("GET", token_path("GETDELEGATIONTOKEN")), 403)


def test_names_come_back_as_they_were(httpd: Httpd) -> None:
    configure(httpd)
    httpd.start()
    name = 'quote " back\\slash ü \u2028 \U0001f511'
    user = "al'ice ü"
    answer = Client(httpd.port, user).call("GET", f"key/{quote(name)}/_metadata")
    record = record_of(httpd, answer)
    assert (record["user"], record["key"]) == (user, name)
    assert all(c < "\x7f" for line in httpd.audit_lines() for c in line)


def token_path(op: str, **query: str) -> str:
    return "/kms/v1/?" + urllib.parse.urlencode({"op": op, **query})


def issue(client: Client, **query: str) -> tuple[str, Answer]:
    answer = client.call("GET", token_path("GETDELEGATIONTOKEN", renewer="yarn", **query))
    assert answer.status == 200
    return answer.json()["Token"]["urlString"], answer


def is_token(text: str, owner: str, real: str = "", more: str = "") -> bool:
    form = TOKEN.format(owner=owner, renewer="yarn", real=real, d=r"\d{13}", n=r"\d+")
    return bool(re.fullmatch(form + more, text))


def test_operations_on_tokens(httpd: Httpd) -> None:
    configure(httpd)
    httpd.start()
    alice, yarn, bob, nobody = (Client(httpd.port, u) for u in ("alice", "yarn", "bob", None))
    token, answer = issue(alice)
    record = record_of(httpd, answer)
    assert is_token(record.pop("detail"), "alice")
    assert record == {"status": "OK", "operation": "GETDELEGATIONTOKEN", "user": "alice"}

    answer = yarn.call("PUT", token_path("RENEWDELEGATIONTOKEN", token=token))
    record = record_of(httpd, answer)
    assert is_token(record.pop("detail"), "alice", more=f", renewDate={answer.json()['long']}")
    assert record == {"status": "OK", "operation": "RENEWDELEGATIONTOKEN", "user": "yarn"}

    record = record_of(httpd, bob.call("PUT", token_path("RENEWDELEGATIONTOKEN", token=token)))
    assert "bob tries to renew a token" in record.pop("detail")
    assert record == {"status": "UNAUTHORIZED", "operation": "RENEWDELEGATIONTOKEN", "user": "bob"}

    # By whoever holds it.
    record = record_of(httpd, nobody.call("PUT", token_path("CANCELDELEGATIONTOKEN", token=token)))
    assert is_token(record.pop("detail"), "alice")
    assert record == {"status": "OK", "operation": "CANCELDELEGATIONTOKEN"}
    record = record_of(httpd, nobody.call("PUT", token_path("CANCELDELEGATIONTOKEN", token=token)))
    assert record["status"] == "UNAUTHORIZED" and record["detail"]

    _, answer = issue(Client(httpd.port, "gateway"), doAs="carol")
    record = record_of(httpd, answer)
    assert is_token(record["detail"], "carol", "gateway")
    assert (record["user"], record["realUser"]) == ("carol", "gateway")

    assert record_of(httpd, yarn.call("PUT", token_path("RENEWDELEGATIONTOKEN")))["status"] == "ERROR"
    record = record_of(httpd, nobody.call("GET", token_path("GETDELEGATIONTOKEN")))
    assert record["status"] == "UNAUTHENTICATED"
    # The token itself is a credential.
    assert token not in httpd.audit_log.read_text() + httpd.log_text()


def test_the_java_format_has_no_lines_for_them(httpd: Httpd) -> None:
    configure(httpd, "java")
    httpd.start()
    before = httpd.audit_lines()
    token, _ = issue(Client(httpd.port, "alice"))
    assert Client(httpd.port, None).call("PUT", token_path("CANCELDELEGATIONTOKEN", token=token)).status == 200
    assert httpd.audit_lines() == before


@pytest.mark.parametrize("durability, how", [("write", "write"), ("fsync", "sync")])
def test_no_token_without_a_record(httpd: Httpd, durability: str, how: str) -> None:
    configure(httpd)
    httpd.directives.append(f"KMSAuditDurability {durability}")
    disk = BrokenDisk(httpd)
    httpd.start()
    alice = Client(httpd.port, "alice")
    token, _ = issue(alice)
    httpd.allow("KMS0601")
    httpd.expect("KMS0401", "KMS0402")
    get = ("GET", token_path("GETDELEGATIONTOKEN", renewer="yarn"))
    renew, cancel = (("PUT", token_path(op, token=token)) for op in ("RENEWDELEGATIONTOKEN", "CANCELDELEGATIONTOKEN"))
    yarn = Client(httpd.port, "yarn")
    calls = [(yarn, renew), (alice, cancel), (alice, get)]
    changed = changes(alice)
    for first in range(3):  # the one that finds out has no effect either
        with disk.failing(how):
            for client, call in calls[first:] + calls[:first]:
                answer = client.call(*call)
                assert answer.status == 503 and answer.header("Retry-After") == "5"
                assert set(answer.json()) == {"RemoteException"}
        wait_for("the service", lambda: alice.names().status == 200)
        assert changes(alice) == changed
    for client, call in ((alice, get), (yarn, renew), (alice, cancel)):
        assert client.call(*call).status == 200
    assert changes(alice) == [n + 1 for n in changed]


def changes(client: Client) -> list[int]:
    """What the token store was made to store, to update and to remove."""
    text = client.call("GET", "/prom").body.decode()
    return [int(n) for n in re.findall(r'^kms_token_operations_total\{operation="(?:store|update|remove)"\} (\d+)$', text, re.M)]
