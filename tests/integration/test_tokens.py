# SPDX-License-Identifier: Apache-2.0
"""Delegation tokens: what each operation answers, who may do what with a token, and what is no token.

Lives, restarts, several children and servers are in test_token_life.py.
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

import pytest
from client import Answer, Client, raw, unbase64
from harness import Httpd, hadoop_xml
from tokens import (DENIED, HEADER, INVALID, NOT_FOUND, Token, cancel, check_refused, encode, get, issue, renew, use,
                    use_in_query, write_bytes)

SECRET = b"integration secret of the token tests"
CANNOT_CANCEL = (404, "Invalid delegation token, cannot cancel")
RM = "yarn/rm.example.test@TEST.REALM"


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    area = server.area
    server.directives.append(f'KMSSignatureSecretFile "{area.write("secret", SECRET)}"')
    area.write("core-site.xml", hadoop_xml({"hadoop.security.auth_to_local": "RULE:[2:$1] RULE:[1:$1]"}))
    area.write_site({"hadoop.kms.proxyuser.gateway.users": "alice", "hadoop.kms.proxyuser.gateway.hosts": "127.0.0.1"})
    return server


def cookie_of(user: str, seconds: float = 3600) -> dict[str, str]:
    text = f"u={user}&p={user}&t=simple-dt&e={int((time.time() + seconds) * 1000)}"
    signature = base64.b64encode(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()).decode()
    return {"Cookie": f'hadoop.auth="{text}&s={signature}"'}


def forged(cookie: dict[str, str]) -> dict[str, str]:
    """The cookie with another signature: of its first character, as not all bits of the last one count."""
    text, _, signature = cookie["Cookie"].partition("&s=")
    return {"Cookie": f"{text}&s={'B' if signature[0] == 'A' else 'A'}{signature[1:]}"}


def who(server: Httpd, answer: Answer) -> str:
    """Whom the server took for the caller of an answered keys/names: what the audit log says last."""
    assert answer.status == 200, answer.body
    return server.audit_lines()[-1].partition("user=")[2].partition("]")[0]


def refused_to_cancel(answer: Answer) -> bool:
    return (answer.status, answer.reason) == CANNOT_CANCEL and answer.header("Set-Cookie") is None


# -- what comes back


@pytest.mark.smoke
def test_what_is_issued(client: Client) -> None:
    before = time.time() * 1000
    answer = get(client, "alice", "renewer=yarn&service=some-service")
    assert answer.status == 200 and answer.header("Content-Type") == "application/json"
    assert answer.body.startswith(b'{"Token":{"urlString":"') and answer.body.endswith(b'"}}\n')
    assert answer.header("Set-Cookie") is None
    token = Token.parse(answer.json()["Token"]["urlString"])
    assert (token.owner, token.renewer, token.real_user) == ("alice", "yarn", "")
    assert (token.kind, token.service, len(token.password)) == ("kms-dt", "some-service", 20)
    assert before - 1 <= token.issue_ms <= time.time() * 1000 and token.max_ms - token.issue_ms == 7 * 86400000
    assert token.text() == answer.json()["Token"]["urlString"], "byte for byte"
    following = Token.parse(issue(client))
    assert following.sequence > token.sequence and following.master_key_id == token.master_key_id


@pytest.mark.parametrize("query, renewer", [
    ("x=y", "alice"), ("renewer=", ""), ("renewer=yarn", "yarn"), ("renewer=" + RM, "yarn"), ("RENEWER=yarn", "alice"),
    ("renewer=a&renewer=b", "a"), ("renewer=r%C3%A9n", "rén"),
])
def test_the_renewer(client: Client, query: str, renewer: str) -> None:
    token = Token.parse(issue(client, "alice", query))
    assert (token.owner, token.renewer, token.service) == ("alice", renewer, "")


def test_a_renewer_that_is_no_name(client: Client) -> None:
    assert get(client, "alice", "renewer=a/b/c@R").status >= 400


def test_names_of_owners_are_short(client: Client) -> None:
    assert Token.parse(issue(client, "alice/host.example.test@TEST.REALM")).owner == "alice"


def test_any_path_and_any_case(client: Client) -> None:
    for path in ("/kms/v1/", "/kms/v1/keys/names", "/", "/nowhere"):
        for op in ("GETDELEGATIONTOKEN", "getdelegationtoken", "GetDelegationToken"):
            answer = client.call("GET", f"{path}?op={op}", user="alice")
            assert answer.status == 200 and "urlString" in answer.json()["Token"], (path, op)
    for query in ("OP=GETDELEGATIONTOKEN", "op=GETDELEGATIONTOKENS", "op=", "x=op&op=NOTHING&op=GETDELEGATIONTOKEN"):
        answer = client.call("GET", "keys/names?" + query, user="alice")
        assert answer.status == 200 and isinstance(answer.json(), list), query


@pytest.mark.parametrize("op, right, wrong", [
    ("GETDELEGATIONTOKEN", "GET", ["PUT", "POST", "DELETE", "HEAD"]),
    ("RENEWDELEGATIONTOKEN", "PUT", ["GET", "POST", "DELETE"]),
    ("CANCELDELEGATIONTOKEN", "PUT", ["GET", "POST", "DELETE"]),
])
def test_wrong_methods(client: Client, op: str, right: str, wrong: list[str]) -> None:
    token = issue(client)
    for method in wrong:
        answer = client.call(method, f"/kms/v1/?op={op}&token={token}", user="alice")
        assert (answer.status, answer.reason) == (
            400, f"Wrong HTTP method [{method}] for operation [{op}], it should be [{right}]")
    assert use(client, token).status == 200


def test_without_the_token(client: Client) -> None:
    for op in ("RENEWDELEGATIONTOKEN", "CANCELDELEGATIONTOKEN"):
        for query in ("", "&TOKEN=x", "&tokens=x"):
            answer = client.call("PUT", f"/kms/v1/?op={op}{query}", user="alice")
            assert (answer.status, answer.reason) == (400, f"Operation [{op}] requires the parameter [token]")
    # In a body it is not looked for.
    token = issue(client)
    body = client.call("PUT", "/kms/v1/?op=CANCELDELEGATIONTOKEN", "token=" + token,
                       {"Content-Type": "application/x-www-form-urlencoded"}, user="alice")
    assert body.status == 400 and use(client, token).status == 200


# -- who may ask for one


@pytest.mark.smoke
def test_nobody_is_issued_a_token(server: Httpd, client: Client) -> None:
    token = issue(client)
    bad_cookie = forged(cookie_of("alice"))
    audited = len(server.audit_lines())
    for headers in ({}, {HEADER: token}, bad_cookie, cookie_of("alice", -5), {"Authorization": "Basic YWxpY2U6eA=="}):
        for answer in (get(client, None, headers=headers), get(client, None, f"delegation={token}", headers=headers),
                       renew(client, token, None, headers=headers)):
            assert (answer.status, answer.reason, answer.body) == (403, "Forbidden", b"")
            assert answer.header("WWW-Authenticate") == "PseudoAuth" and answer.header("Set-Cookie") is None
    assert server.audit_lines()[audited:] == [], "as in Java: only a 401 is on record"


def test_tokens_by_cookie(client: Client) -> None:
    answer = get(client, "mallory", headers=cookie_of("alice"))
    assert answer.status == 200 and Token.parse(answer.json()["Token"]["urlString"]).owner == "alice"


def test_do_as(server: Httpd, client: Client) -> None:
    token = issue(client, "gateway", "renewer=yarn&doAs=alice")
    parsed = Token.parse(token)
    assert (parsed.owner, parsed.real_user, parsed.renewer) == ("alice", "gateway", "yarn")
    assert who(server, use(client, token)) == "alice"
    assert Token.parse(issue(client, "gateway", "doas=alice")).renewer == "alice"
    for user, query, said in [
        ("gateway", "doAs=bob", "User: gateway is not allowed to impersonate bob"),
        ("mallory", "doAs=alice", "User: mallory is not allowed to impersonate alice"),
        ("mallory", "doAs=mallory", "User: mallory is not allowed to impersonate mallory"),
    ]:
        answer = get(client, user, query)
        assert answer.status == 403 and answer.message() == said
        assert answer.exception() == "org.apache.hadoop.security.authorize.AuthorizationException"
    assert 400 <= get(client, "gateway", "doAs=").status < 500
    # Who uses a token acts as its owner and nobody else.
    for query in ("doAs=bob", "doAs=alice", "user.name=bob"):
        assert who(server, client.call("GET", "keys/names?" + query, headers={HEADER: token}, user=None)) == "alice"


# -- use


@pytest.mark.smoke
def test_use(server: Httpd, client: Client) -> None:
    token = issue(client)
    for answer in (use(client, token), use_in_query(client, token)):
        assert who(server, answer) == "alice"
        assert answer.header("Set-Cookie") is None and answer.header("WWW-Authenticate") is None
    made = client.call("POST", "keys", {"name": "by-token"}, headers={HEADER: token}, user=None)
    assert made.status == 201
    options = client.call("OPTIONS", "", headers={HEADER: token}, user=None)
    assert options.status == 200 and options.cookie() is None


def test_what_wins(server: Httpd, client: Client) -> None:
    alice, bob = issue(client, "alice"), issue(client, "bob")

    def call(query: str = "", headers: dict[str, str] | None = None, user: str | None = None) -> Answer:
        return client.call("GET", "keys/names" + query, headers=headers, user=user)
    good, late, bad_cookie = cookie_of("carol"), cookie_of("carol", -5), forged(cookie_of("carol"))
    # A good cookie over everything, whatever the token; a bad one is as none.
    for bad in (alice, alice[:-9], "x"):
        assert who(server, call(headers={**good, HEADER: bad})) == "carol"
        assert who(server, call(f"?delegation={bad}", good)) == "carol"
    assert who(server, call(headers={**late, HEADER: alice})) == "alice"
    assert who(server, call(headers={**bad_cookie, HEADER: alice})) == "alice"
    # The header over the parameter, the first parameter over the next, the token over the name.
    assert who(server, call(f"?delegation={bob}", {HEADER: alice})) == "alice"
    assert who(server, call(f"?delegation={bob}&delegation={alice}")) == "bob"
    assert who(server, call(headers={HEADER: alice}, user="bob")) == "alice"
    # What fails is final: neither the other token nor a name helps.
    check_refused(call(f"?delegation={bob}", {HEADER: alice[:-9]}), "java.io.EOFException")
    check_refused(call(f"?delegation={alice[:-9]}", user="bob"), "java.io.EOFException")
    check_refused(call(headers={**late, HEADER: alice[:-9]}, user="bob"), "java.io.EOFException")
    check_refused(call("?delegation=", user="bob"))
    # An empty header is none, as is a parameter in other letters.
    assert call(headers={HEADER: ""}).status == 401 and call(f"?DELEGATION={alice}").status == 401
    assert who(server, call(headers={HEADER: ""}, user="bob")) == "bob"


def test_kind_and_service_say_nothing(client: Client) -> None:
    """As in Java: they are outside of what the password covers."""
    token = Token.parse(issue(client))
    for text in (token.but(kind="HDFS_DELEGATION_TOKEN"), token.but(kind=""), token.but(service="kms://http@x:1/kms")):
        assert use(client, text).status == 200


def test_ways_to_write_base64(client: Client) -> None:
    """Both alphabets, with padding or without; bytes behind the fields are not looked at."""
    token = Token.parse(issue(client, "alice", "service=" + "x" * 7))
    text, plain = token.text(), base64.b64encode(token.raw()).decode()
    for other in (text + "=" * (-len(text) % 4), plain, plain.rstrip("="), encode(token.raw() + b"more")):
        assert use(client, other).status == 200 and use_in_query(client, other).status == 200


# -- what is no token


@pytest.mark.smoke
def test_forged(client: Client) -> None:
    """Each byte of identifier and password counts."""
    token = Token.parse(issue(client))
    whole = token.raw()
    covered = len(write_bytes(token.identifier()) + write_bytes(token.password))
    for at in range(covered):
        bad = bytearray(whole)
        bad[at] ^= 1 << secrets.randbelow(8)
        check_refused(use(client, encode(bytes(bad))))
    assert use(client, token.text()).status == 200


def test_truncated(client: Client) -> None:
    text = issue(client)
    for length in range(len(text) - 11):
        answer = use(client, text[:length] or "=")
        check_refused(answer, None if length else "java.io.EOFException")
    assert use(client, text).status == 200


def test_swapped(client: Client) -> None:
    """The password of one token with the fields of another."""
    token, other = Token.parse(issue(client)), Token.parse(issue(client, "bob"))
    for text in (token.but(owner="admin"), token.but(owner=other.owner), token.but(real_user="gateway"),
                 token.but(max_ms=token.max_ms + 1), token.but(issue_ms=token.issue_ms - 1),
                 token.but(master_key_id=token.master_key_id + 1), token.but(sequence=10 ** 6),
                 token.but(renewer="mallory"), token.but(owner="", renewer="")):
        answer = use(client, text)
        check_refused(answer)
        assert answer.message().startswith(INVALID + "Token for real user: ")
    check_refused(use(client, token.but(sequence=other.sequence)), NOT_FOUND)
    wrong = token.but(password=other.password)
    check_refused(use(client, wrong), f"{INVALID}token {token.said()} is invalid, password doesn't match")
    for password in (b"", b"\0" * 20, token.password[:-1], token.password + b"x"):
        check_refused(use(client, token.but(password=password)))


@pytest.mark.parametrize("text", [
    "=", "!!!!", "AAAA", "a", " ", "%00", "HQAFYWxpY2U", "_" * 4000, "/" * 4000, "~" * 8, "\xff\xfe" * 20,
    base64.b64encode(bytes(range(256))).decode(),
    encode(write_bytes(b"")) + "AAAA",
    encode(b"\x8c\x7f\xff\xff\xff" + b"x" * 100),  # says it is 2 GiB long
    encode(b"\x80" + b"\xff" * 8 + b"x" * 100),    # of a negative length
    encode(write_bytes(b"\x01" + b"x" * 40) + write_bytes(b"y" * 20) + write_bytes(b"kms-dt") + b"\0"),  # version 1
], ids=lambda text: repr(text[:20]))
def test_garbage(client: Client, text: str) -> None:
    for answer in (client.call("GET", "keys/names", headers={HEADER: text.strip() or "="}, user=None),
                   use_in_query(client, text)):
        check_refused(answer)
    assert renew(client, text).status == 403
    assert refused_to_cancel(cancel(client, text))
    assert refused_to_cancel(cancel(client, text, headers=cookie_of("alice")))


def test_huge_headers(server: Httpd, client: Client) -> None:
    """Up to the limit of a header the KMS looks at it; over the limit httpd answers."""
    token = Token.parse(issue(client))
    long = token.but(service="s" * 48000)
    assert 64000 < len(long) < 65000 and use(client, long).status == 200
    check_refused(use(client, token.but(password=b"p" * 48000)))
    check_refused(use(client, token.but(owner="o" * 48000)))
    over = raw(server.port, f"GET /kms/v1/keys/names HTTP/1.1\r\nHost: x\r\n{HEADER}: {'A' * 66000}\r\n\r\n".encode())
    assert over.startswith(b"HTTP/1.1 400 ")
    over = raw(server.port, f"GET /kms/v1/keys/names?delegation={'A' * 66000} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert over.startswith(b"HTTP/1.1 414 ")


def test_long_names(client: Client) -> None:
    name, renewer = "n" * 1024, "r" * 1024
    token = issue(client, name, "renewer=" + renewer)
    assert Token.parse(token).owner == name and use(client, token).status == 200
    assert renew(client, token, renewer).status == 200 and cancel(client, token).status == 200
    for user, query in ((name + "n", "renewer=yarn"), ("alice", f"renewer={renewer}r")):
        answer = get(client, user, query)
        assert answer.status == 400 and "longer than 1024 bytes" in answer.message()


def test_replayed(client: Client) -> None:
    """Used as often as one likes; cancelled once and for all."""
    token = issue(client)
    assert {use(client, token).status for _ in range(5)} == {200}
    assert cancel(client, token).status == 200
    check_refused(use(client, token), NOT_FOUND)
    check_refused(use_in_query(client, token), NOT_FOUND)
    assert refused_to_cancel(cancel(client, token))
    check_renewal(renew(client, token), INVALID + f"Renewal request for unknown token {Token.parse(token).said()}")


# -- renewal


def check_renewal(answer: Answer, reason: str) -> None:
    assert (answer.status, answer.reason) == (403, reason)
    assert answer.header("Set-Cookie") == "hadoop.auth=; HttpOnly"
    assert answer.header("Content-Type") == "text/html;charset=iso-8859-1"


@pytest.mark.smoke
def test_renewal(client: Client) -> None:
    token = issue(client)
    before = time.time() * 1000
    answer = renew(client, token)
    assert answer.status == 200 and answer.header("Set-Cookie") is None
    assert answer.header("Content-Type") == "application/json" and answer.body.endswith(b"}\n")
    assert before + 86400000 - 1 <= answer.json()["long"] <= time.time() * 1000 + 86400000
    assert renew(client, token, None, headers=cookie_of("yarn")).status == 200
    assert renew(client, token, RM).status == 200, "a renewer goes by his short name"


def test_who_may_not_renew(client: Client) -> None:
    token = issue(client)
    said = Token.parse(token).said()
    for user in ("alice", "mallory", "YARN", "yar"):
        check_renewal(renew(client, token, user),
                      f"{DENIED}{user} tries to renew a token {said} with non-matching renewer yarn")
    check_renewal(renew(client, token, "mallory", headers=cookie_of("alice")),
                  f"{DENIED}alice tries to renew a token {said} with non-matching renewer yarn")
    nobody = issue(client, "alice", "renewer=")
    check_renewal(renew(client, nobody, "alice"),
                  f"{DENIED}alice tried to renew a token {Token.parse(nobody).said()} without a renewer")
    of_alice = issue(client, "gateway", "renewer=alice&doAs=alice")
    check_renewal(renew(client, of_alice, "gateway"), f"{DENIED}gateway tries to renew a token "
                  f"{Token.parse(of_alice).said()} with non-matching renewer alice")
    for_alice = client.call("PUT", f"/kms/v1/?op=RENEWDELEGATIONTOKEN&doAs=alice&token={of_alice}", user="gateway")
    assert for_alice.status == 200, "who acts for the renewer is the renewer"


def test_renewals_of_what_is_forged(client: Client) -> None:
    token = Token.parse(issue(client))
    for text, reason in [
        (token.but(password=b"\0" * 20), "{d}yarn is trying to renew a token {t} with wrong password"),
        (token.but(owner="admin"), "{d}yarn is trying to renew a token {t} with wrong password"),
        (token.but(max_ms=token.max_ms + 86400000), "{d}yarn is trying to renew a token {t} with wrong password"),
        (token.but(renewer="mallory"), "{d}yarn tries to renew a token {t} with non-matching renewer mallory"),
        (token.but(master_key_id=77777), "{i}Unable to find master key for keyId=77777 from cache. Failed to renew an "
         "unexpired token {t} with sequenceNumber={s}"),
    ]:
        changed = Token.parse(text)
        check_renewal(renew(client, text), reason.format(d=DENIED, i=INVALID, t=changed.said(), s=changed.sequence))
    late = Token.parse(token.but(max_ms=1000))
    answer = renew(client, late.text())
    assert answer.status == 403 and answer.reason.startswith(
        f"{INVALID}yarn tried to renew an expired token {late.said()} max expiration date: 1970-01-01 ")
    check_renewal(renew(client, ""), "java.io.EOFException")
    assert use(client, token.text()).status == 200


# -- cancelling


@pytest.mark.smoke
@pytest.mark.parametrize("how", ["holder", "owner", "renewer", "doAs", "name beside it"])
def test_who_may_cancel(client: Client, how: str) -> None:
    token = issue(client)
    answer = {
        "holder": lambda: cancel(client, token),
        "owner": lambda: cancel(client, token, headers=cookie_of("alice")),
        "renewer": lambda: cancel(client, token, headers=cookie_of("yarn")),
        "doAs": lambda: cancel(client, token, more="&doAs=alice", headers=cookie_of("gateway")),
        # Neither a name nor a bad cookie is looked at: whoever holds the token may.
        "name beside it": lambda: cancel(client, token, "mallory", headers=cookie_of("mallory", -5)),
    }[how]()
    assert (answer.status, answer.body) == (200, b"") and answer.header("Set-Cookie") is None
    check_refused(use(client, token), NOT_FOUND)


def test_who_may_not_cancel(client: Client) -> None:
    token = issue(client)
    for user in ("mallory", "gateway", "ALICE", "yar"):
        assert refused_to_cancel(cancel(client, token, headers=cookie_of(user))), user
    assert cancel(client, token, more="&doAs=alice", headers=cookie_of("mallory")).status == 403
    nobody = issue(client, "alice", "renewer=")
    assert refused_to_cancel(cancel(client, nobody, headers=cookie_of("yarn")))
    assert use(client, token).status == 200 and use(client, nobody).status == 200


def test_cancelling_what_is_forged(client: Client) -> None:
    """Java believes an owner who has a cookie without looking at the password; here it has to be right."""
    token = Token.parse(issue(client))
    for text in (token.but(password=b"\0" * 20), token.but(password=b""), token.but(owner="bob"),
                 token.but(sequence=token.sequence + 1000), token.text()[:-12], "", "AAAA"):
        assert refused_to_cancel(cancel(client, text)), text
        for user in ("alice", "yarn", "bob"):
            assert refused_to_cancel(cancel(client, text, headers=cookie_of(user))), (text, user)
    assert use(client, token.text()).status == 200


def test_operations_leave_no_audit_line_and_no_token_in_a_log(server: Httpd, client: Client) -> None:
    """The access log of this server has whole queries; tests of what a shipped one has are in test_canaries.py."""
    audited = len(server.audit_lines())
    token = issue(client)
    password = Token.parse(token).password
    assert renew(client, token).status == 200 and renew(client, token, "mallory").status == 403
    assert cancel(client, token, headers=cookie_of("mallory")).status == 404
    assert cancel(client, token).status == 200
    assert server.audit_lines()[audited:] == []
    refused = client.call("GET", f"keys/names?op=x&token={token}&DELEGATION={token}", user=None)
    assert refused.status == 401 and "token=...&DELEGATION=..." in server.audit_lines()[-1]
    text = server.log_text() + "\n".join(server.audit_lines())
    for part in (token, token[:40], token[-40:], password.hex(), base64.b64encode(password).decode()[:-2]):
        assert part not in text
    assert unbase64(token) == Token.parse(token).raw()
