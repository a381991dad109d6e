# SPDX-License-Identifier: Apache-2.0
"""Kerberos: tickets by SPNEGO through mod_auth_gssapi, the cookie that follows, and what is not let in."""
from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
import time
import urllib.parse

import pytest
from client import Answer, Client, raw
from harness import Httpd, wait_for
from kdc import Kdc, kerberize
from spnego import PREFIX, ask, header_for, header_of, token_for

SECRET = b"integration secret of the kerberos tests"
RULES = ("RULE:[2:$1@$0](nn@TEST.REALM)s/.*/hdfs/ RULE:[1:$1@$0](.*@OTHER.REALM)s/^(up.*)@.*$/$1/L "
         "RULE:[2:$1/$2](odd/.*) DEFAULT")
NAMES = "/kms/v1/keys/names"
REQUIRED = "Authentication required"


@pytest.fixture(scope="module")
def module_server(module_registry, kdc: Kdc) -> Httpd:
    server = module_registry.httpd()
    keytab = kdc.keytab("http.keytab", "HTTP/localhost", "HTTP/other.example.test")
    kerberize(server, kdc, keytab, {
        "hadoop.kms.authentication.kerberos.name.rules": RULES,
        "hadoop.kms.proxyuser.gateway.users": "alice",
        "hadoop.kms.proxyuser.gateway.hosts": "127.0.0.1",
    })
    server.directives.append(f'KMSSignatureSecretFile "{server.area.write("secret", SECRET)}"')
    return server


@pytest.fixture
def client(server: Httpd):
    """Sends no user.name."""
    it = Client(server.port, None)
    yield it
    it.close()


def signed(text: str) -> str:
    return base64.b64encode(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()).decode()


def cookie_pairs(answer: Answer) -> dict[str, str]:
    """What the cookie says, once its signature has been checked."""
    text = answer.cookie()
    assert text is not None and text.startswith('hadoop.auth="') and text.endswith('"'), text
    said, _, signature = text[len('hadoop.auth="'):-1].rpartition("&s=")
    assert signature == signed(said)
    return dict(piece.split("=", 1) for piece in said.split("&"))


def all_of(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.headers if key.lower() == name.lower()]


def check_401(answer: Answer, reason: str = REQUIRED) -> None:
    assert (answer.status, answer.reason) == (401, reason)
    assert all_of(answer, "WWW-Authenticate") == ["Negotiate"]
    assert all_of(answer, "Set-Cookie") == ["hadoop.auth=; HttpOnly"]


def check_refused(answer: Answer) -> None:
    """By mod_auth_gssapi, which may say with a token of its own what it dislikes."""
    assert answer.status == 401
    assert [value.split(" ")[0] for value in all_of(answer, "WWW-Authenticate")] == ["Negotiate"]
    assert all_of(answer, "Set-Cookie") == ["hadoop.auth=; HttpOnly"]


def audited(server: Httpd, before: int) -> list[str]:
    """Lines since then, without their time."""
    return [line[24:] for line in server.audit_lines()[before:]]


def count(server: Httpd) -> int:
    return len(server.audit_lines())


# -- who has a ticket


@pytest.mark.smoke
def test_the_walk_of_the_java_client(server: Httpd, client: Client, kdc: Kdc) -> None:
    """OPTIONS without credentials, OPTIONS with a ticket, then calls with the cookie alone."""
    before = count(server)
    refused = client.call("OPTIONS", "keys")
    check_401(refused)
    assert refused.body == b""
    greeted = client.call("OPTIONS", "keys", headers={"Authorization": header_for(kdc.login("alice"))})
    assert greeted.status == 200
    assert greeted.header("WWW-Authenticate").startswith(PREFIX), "without it the client takes nobody's word"
    pairs = cookie_pairs(greeted)
    assert list(pairs) == ["u", "p", "t", "e"]
    assert (pairs["u"], pairs["p"], pairs["t"]) == ("alice", "alice@TEST.REALM", "kerberos-dt")
    assert abs(int(pairs["e"]) / 1000 - time.time() - 36000) < 60
    headers = {"Cookie": greeted.cookie()}
    created = client.call("POST", "keys", {"name": "walked", "length": 128}, headers=headers)
    assert created.status == 201 and created.cookie() is None and created.header("WWW-Authenticate") is None
    assert client.call("GET", "keys/names", headers=headers).json() == ["walked"]
    assert [line.split("]")[0] for line in audited(server, before)] == [
        "OK[op=CREATE_KEY, key=walked, user=alice@TEST.REALM", "OK[op=GET_KEYS, user=alice@TEST.REALM"]


@pytest.mark.smoke
def test_curl(server: Httpd, kdc: Kdc) -> None:
    answer = ask(kdc.login("alice"), server.port)
    assert answer.status == 200 and answer.header("WWW-Authenticate").startswith(PREFIX)
    assert cookie_pairs(answer)["p"] == "alice@TEST.REALM"
    missing_key = ask(kdc.login("alice"), server.port, "/kms/v1/key/no-such-key", "-X", "DELETE")
    assert missing_key.status == 500, "the answer of the KMS"
    assert cookie_pairs(missing_key)["u"] == "alice", "with the cookie all the same"


def test_every_name_of_the_keytab(server: Httpd, kdc: Kdc) -> None:
    alice = kdc.login("alice")
    for host in ("localhost", "other.example.test"):
        assert ask(alice, server.port, host=host).status == 200, host
    kdc.add("HTTP/third.example.test")
    check_refused(ask(alice, server.port, host="third.example.test"))


def test_one_name_only(registry, kdc: Kdc) -> None:
    server = registry.httpd()
    kerberize(server, kdc, kdc.keytab("two.keytab", "HTTP/localhost", "HTTP/other.example.test"),
              acceptor="HTTP@localhost")
    server.start()
    alice = kdc.login("alice")
    assert ask(alice, server.port).status == 200
    check_refused(ask(alice, server.port, host="other.example.test"))


@pytest.mark.parametrize("principal, short", [
    ("alice", "alice"), ("nn/host.example.test", "hdfs"), ("yarn/rm.example.test", "yarn"), ("UpTown@OTHER.REALM", None),
    ("upTown@OTHER.REALM", "uptown")])
def test_short_names_by_rule(server: Httpd, kdc: Kdc, principal: str, short: str | None) -> None:
    answer = ask(kdc.login(principal), server.port)
    if short is None:
        server.expect("KMS0305")
        assert answer.status == 403
        return
    assert answer.status == 200
    pairs = cookie_pairs(answer)
    assert (pairs["u"], pairs["p"]) == (short, Kdc.full(principal))


@pytest.mark.parametrize("principal, words", [
    ("alice@OTHER.REALM", "alice@OTHER.REALM"), ("odd/host", "odd/host")])
def test_who_has_no_short_name_stays_out(server: Httpd, kdc: Kdc, principal: str, words: str) -> None:
    before = count(server)
    server.expect("KMS0305")
    answer = ask(kdc.login(principal), server.port)
    assert answer.status == 403 and words in answer.reason
    assert all_of(answer, "Set-Cookie") == [] and answer.body.startswith(b"<html>")
    assert audited(server, before) == []


def test_rules_of_the_mit_mechanism(registry, kdc: Kdc) -> None:
    """No rule for a name: the name itself. And the ACLs go by it."""
    server = registry.httpd()
    kerberize(server, kdc, kdc.keytab("mit.keytab", "HTTP/localhost"), {
        "hadoop.kms.authentication.kerberos.name.rules": "RULE:[1:$1@$0](.*@TEST.REALM)s/@.*//",
        "hadoop.kms.authentication.kerberos.name.rules.mechanism": "MIT"})
    server.area.write_acls({"hadoop.kms.acl.GET_KEYS": "alice@OTHER.REALM", "default.key.acl.READ": "*"})
    server.start()
    foreign = ask(kdc.login("alice@OTHER.REALM"), server.port)
    assert foreign.status == 200 and foreign.cookie().startswith('hadoop.auth="u=alice@OTHER.REALM&p=alice@OTHER.REALM&')
    ours = ask(kdc.login("alice"), server.port)
    assert ours.status == 403 and ours.message() == "User:alice not allowed to do 'GET_KEYS'"


@pytest.mark.smoke
def test_do_as(server: Httpd, kdc: Kdc) -> None:
    before = count(server)
    gateway, alice = kdc.login("gateway/host.example.test"), kdc.login("alice")
    answer = ask(gateway, server.port, NAMES + "?doAs=alice")
    assert answer.status == 200
    assert cookie_pairs(answer)["p"] == "gateway/host.example.test@TEST.REALM", "the cookie is that of who has the ticket"
    assert audited(server, before) == ["OK[op=GET_KEYS, user=alice] "]
    denied = ask(gateway, server.port, NAMES + "?doAs=bob")
    assert denied.status == 403
    assert denied.message() == "User: gateway/host.example.test@TEST.REALM is not allowed to impersonate bob"
    assert cookie_pairs(denied)["u"] == "gateway"
    own = ask(alice, server.port, NAMES + "?doAs=alice")
    assert own.status == 403 and own.message() == "User: alice@TEST.REALM is not allowed to impersonate alice"


def test_user_name_says_nothing(server: Httpd, client: Client, kdc: Kdc) -> None:
    check_401(client.call("GET", "keys/names?user.name=alice"))
    answer = ask(kdc.login("alice"), server.port, NAMES + "?user.name=bob")
    assert answer.status == 200 and cookie_pairs(answer)["u"] == "alice"


def test_a_name_without_realm_is_nobody(registry, kdc: Kdc) -> None:
    """Whoever gets mod_auth_gssapi to shorten names, past configtest, lets nobody in by that."""
    server = registry.httpd()
    keytab = kdc.keytab("local.keytab", "HTTP/localhost")
    kerberize(server, kdc, keytab)
    server.location += f"""  <If "true">
    GssapiCredStore keytab:{keytab}
    GssapiAllowedMech krb5
    GssapiLocalName On
  </If>
"""
    server.usual.add("KMS0536")
    server.start()
    server.expect("KMS0306")
    answer = ask(kdc.login("alice"), server.port)
    assert answer.status == 403 and all_of(answer, "Set-Cookie") == []


# -- cookies


def cookie_of(kind: str, seconds: int = 3600, secret: bytes = SECRET) -> dict[str, str]:
    text = f"u=alice&p=alice@TEST.REALM&t={kind}&e={int(time.time() + seconds) * 1000}"
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    return {"Cookie": f'hadoop.auth="{text}&s={signature}"'}


def test_cookies_that_are_not_ours(client: Client) -> None:
    assert client.call("GET", "keys/names", headers=cookie_of("kerberos-dt")).status == 200
    for headers, reason in [
        (cookie_of("simple-dt"), "Invalid AuthenticationToken type"),
        (cookie_of("kerberos"), "Invalid AuthenticationToken type"),
        (cookie_of("kerberos-dt", -1), "AuthenticationToken expired"),
        (cookie_of("kerberos-dt", secret=b"x"),
         "org.apache.hadoop.security.authentication.util.SignerException: Invalid signature"),
    ]:
        check_401(client.call("GET", "keys/names", headers=headers), reason)


def test_a_bad_cookie_with_a_ticket_gets_a_new_one(client: Client, kdc: Kdc) -> None:
    headers = {**cookie_of("simple-dt"), "Authorization": header_for(kdc.login("alice"))}
    answer = client.call("GET", "keys/names", headers=headers)
    assert answer.status == 200 and cookie_pairs(answer)["t"] == "kerberos-dt"


def test_a_cookie_wins_over_any_ticket(client: Client) -> None:
    headers = {**cookie_of("kerberos-dt"), "Authorization": "Negotiate bm90IGEgdGlja2V0"}
    answer = client.call("GET", "keys/names", headers=headers)
    assert answer.status == 200 and all_of(answer, "WWW-Authenticate") == []


# -- who has none


@pytest.mark.smoke
@pytest.mark.parametrize("path", [NAMES, "/kms/v1/key/x/_metadata", "/kms/v1/nothing", "/kms", "/", "/jmx", "/nothing"])
def test_nobody_gets_anything(server: Httpd, client: Client, path: str) -> None:
    before = count(server)
    check_401(client.call("GET", path))
    assert audited(server, before) == [
        f"UNAUTHENTICATED RemoteHost:127.0.0.1 Method:GET URL:http://127.0.0.1:{server.port}{path} "
        f"ErrorMsg:'{REQUIRED}'"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "FOO"])
def test_no_method_goes_round_it(client: Client, method: str) -> None:
    assert client.call(method, "keys/names").status == 401


@pytest.mark.parametrize("authorization", [
    "Basic YWxpY2U6c2VjcmV0", "Negotiate", "Negotiate ", "NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=",
    "Bearer abc", "Digest username=alice", "", "Kerberos YII="])
def test_other_schemes(server: Httpd, client: Client, authorization: str) -> None:
    before = count(server)
    check_401(client.call("GET", "keys/names", headers={"Authorization": authorization}))
    assert len(audited(server, before)) == 1


def forged(kdc: Kdc) -> list[bytes]:
    good = token_for(kdc.login("alice"))
    flipped = []
    for place in (0, 2, 40, len(good) // 2, len(good) - 3):
        bad = bytearray(good)
        bad[place] ^= 0x55
        flipped.append(bytes(bad))
    krb5 = bytes.fromhex("06092a864886f712010202")
    no_ticket = b"\x60\x1b\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x11\x30\x0f\xa0\x0d\x30\x0b" + krb5
    return [*flipped, good[:-1], good[:100], good[:5], b"\x60", b"\0" * 50, b"A" * 3000, no_ticket,
            b"NTLMSSP\0" + b"\x01\0\0\0\x07\x82\x08\0" + bytes(16), b"\x60\x84\xff\xff\xff\xff" + bytes(200)]


@pytest.mark.smoke
def test_forged_tickets(server: Httpd, client: Client, kdc: Kdc) -> None:
    tokens = forged(kdc)
    for token in tokens:
        before = count(server)
        answer = client.call("GET", "keys/names?x=1", headers=header_of(token))
        check_refused(answer)
        assert audited(server, before) == [
            f"UNAUTHENTICATED RemoteHost:127.0.0.1 Method:GET URL:http://127.0.0.1:{server.port}{NAMES}?x=1 "
            f"ErrorMsg:'{REQUIRED}'"], token.hex()
    for text in ("%%%", "YII", "====", "YIIC 8gY", "\x80\x81"):
        check_refused(client.call("GET", "keys/names", headers={"Authorization": PREFIX + text}))
    before = count(server)
    assert client.call("OPTIONS", "keys", headers=header_of(tokens[0])).status == 401
    assert audited(server, before) == []
    assert ask(kdc.login("alice"), server.port).status == 200, "and life goes on"


def test_a_ticket_counts_once(server: Httpd, client: Client, kdc: Kdc) -> None:
    """Whoever listened in gets nothing by saying it again, on whatever child."""
    headers = {"Authorization": header_for(kdc.login("alice"))}
    assert client.call("GET", "keys/names", headers=headers).status == 200
    for _ in range(8):
        again = Client(server.port, None, fresh=True).call("GET", "keys/names", headers=headers)
        check_refused(again)
    assert "replay" in server.log_text()


def test_the_service_of_another_realm(server: Httpd, client: Client, kdc: Kdc) -> None:
    """A true ticket, for HTTP/localhost, by a KDC that this server has no key of."""
    kdc.add("HTTP/localhost@OTHER.REALM")
    config = kdc.write_config("krb5.other.conf", "OTHER.REALM", "OTHER.REALM")
    stranger = kdc.login("alice@OTHER.REALM", config=config)
    check_refused(client.call("GET", "keys/names", headers={"Authorization": header_for(stranger)}))


def test_a_ticket_that_has_expired(registry, kdc: Kdc) -> None:
    server = registry.httpd()
    kerberize(server, kdc, kdc.keytab("short.keytab", "HTTP/localhost"))
    # Five minutes of grace by default.
    server.environment["KRB5_CONFIG"] = str(kdc.write_config("krb5.strict.conf", more="  clockskew = 1\n"))
    server.start()
    short = kdc.login("alice", "-l", "3s")
    end = time.time() + 4.2
    early, late = header_for(short), header_for(short)
    client = Client(server.port, None)
    if time.time() < end - 2.5:  # else the machine was too slow for that
        assert client.call("GET", "keys/names", headers={"Authorization": early}).status == 200
    time.sleep(max(0.0, end - time.time()))
    check_refused(client.call("GET", "keys/names", headers={"Authorization": late}))
    check_401(ask(short, server.port))  # curl has nothing to send any more


def test_headers_of_64_kib(server: Httpd, client: Client, kdc: Kdc) -> None:
    """A ticket with the many groups of an Active Directory user may be so long. Longer ones httpd refuses."""
    room = 65536 - len("Authorization: " + PREFIX) - 2
    check_refused(client.call("GET", "keys/names", headers={"Authorization": PREFIX + "A" * (room // 4 * 4 - 4)}))
    good = token_for(kdc.login("alice"))
    check_refused(client.call("GET", "keys/names", headers=header_of(good + bytes(45000))))
    over = raw(server.port, f"GET {NAMES} HTTP/1.1\r\nHost: x\r\nAuthorization: {PREFIX}{'A' * 66000}\r\n\r\n".encode())
    assert over.startswith(b"HTTP/1.1 400 ") and b"hadoop.auth=\"" not in over


# -- delegation tokens


def test_tokens_by_ticket(server: Httpd, client: Client, kdc: Kdc) -> None:
    before = count(server)
    issued = ask(kdc.login("alice"), server.port, "/kms/v1/?op=GETDELEGATIONTOKEN&renewer=yarn/rm.example.test@TEST.REALM")
    assert issued.status == 200 and all_of(issued, "Set-Cookie") == []
    assert issued.header("WWW-Authenticate").startswith(PREFIX)
    assert audited(server, before) == []
    token = issued.json()["Token"]["urlString"]
    used = client.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": token})
    assert used.status == 200 and all_of(used, "Set-Cookie") == [] == all_of(used, "WWW-Authenticate")
    assert audited(server, before) == ["OK[op=GET_KEYS, user=alice] "], "tokens go by short names"
    renew = "/kms/v1/?op=RENEWDELEGATIONTOKEN&token=" + urllib.parse.quote(token)
    renewed = ask(kdc.login("yarn/rm.example.test"), server.port, renew, "-X", "PUT")
    assert renewed.status == 200 and renewed.json()["long"] > time.time() * 1000
    wrong = ask(kdc.login("alice"), server.port, renew, "-X", "PUT")
    assert wrong.status == 403 and "non-matching renewer yarn" in wrong.reason
    cancel = "/kms/v1/?op=CANCELDELEGATIONTOKEN&token=" + urllib.parse.quote(token)
    assert client.call("PUT", cancel).status == 200
    assert client.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": token}).status == 403


def test_tokens_need_a_ticket(server: Httpd, client: Client, kdc: Kdc) -> None:
    before = count(server)
    for headers in ({}, {"X-Hadoop-Delegation-Token": "HQAFYWxpY2U"}):
        answer = client.call("GET", "?op=GETDELEGATIONTOKEN&renewer=yarn", headers=headers)
        assert (answer.status, answer.reason, answer.body) == (401, "Unauthorized", b"")
        assert all_of(answer, "WWW-Authenticate") == ["Negotiate"]
    assert [line.rpartition(" ErrorMsg:")[2] for line in audited(server, before)] == ["'null'", "'null'"]
    bad = client.call("GET", "?op=GETDELEGATIONTOKEN", headers=header_of(b"no ticket"))
    assert bad.status == 401 and b"urlString" not in bad.body
    # A token that is presented is final: the ticket beside it does not help.
    both = {"X-Hadoop-Delegation-Token": "HQAFYWxpY2U", "Authorization": header_for(kdc.login("alice"))}
    assert client.call("GET", "keys/names", headers=both).status == 403


# -- what stays secret, and many at once


def test_nothing_of_it_is_in_a_log(httpd: Httpd, kdc: Kdc) -> None:
    kerberize(httpd, kdc, kdc.keytab("quiet.keytab", "HTTP/localhost"))
    secret = b"canary-of-the-cookie-secret-0123456789"
    httpd.directives += [f'KMSSignatureSecretFile "{httpd.area.write("secret", secret)}"', "LogLevel debug"]
    httpd.usual.update(re.findall("KMS[0-9]{4}", "KMS0106 KMS0320 KMS0321 KMS0602"))
    httpd.start()
    client = Client(httpd.port, None)
    ticket, spare = header_for(kdc.login("alice")), header_for(kdc.login("alice"))
    good = client.call("GET", "keys/names", headers={"Authorization": ticket})
    cookie = good.cookie()
    canaries = [ticket[len(PREFIX):], good.header("WWW-Authenticate")[len(PREFIX):], cookie.rpartition("&s=")[2][:-1],
                secret.decode(), spare[len(PREFIX):]]
    client.call("GET", "keys/names", headers={"Cookie": cookie})
    client.call("GET", "keys/names", headers={"Cookie": cookie[:-3] + 'x="'})
    client.call("GET", "keys/names", headers={"Authorization": spare[:-8]})
    issued = ask(kdc.login("alice"), httpd.port, "/kms/v1/?op=GETDELEGATIONTOKEN&renewer=alice")
    token = issued.json()["Token"]["urlString"]
    canaries.append(token)
    client.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": token})
    client.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": token[:-4]})
    client.call("PUT", f"?op=RENEWDELEGATIONTOKEN&token={token}")
    client.call("PUT", f"?op=CANCELDELEGATIONTOKEN&token={token}", headers={"Authorization": spare[:-8]})
    httpd.stop()
    logs = httpd.log_text() + httpd.stderr() + httpd.audit_log.read_text()
    assert "UNAUTHENTICATED" in logs and "gss_accept_sec_context" in logs
    for canary in canaries:
        assert canary not in logs and canary[:60] not in logs and canary[-30:] not in logs


class Load:
    """Users that come with new tickets and with cookies, on new connections, until they are told to stop."""

    def __init__(self, port: int, headers: list[str]) -> None:
        self.port, self.headers = port, headers
        self.answers: list[int] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(6)]

    def work(self, number: int) -> None:
        client = Client(self.port, None, fresh=True)
        try:
            for header in self.headers[number::len(self.threads)]:
                answer = client.call("GET", "keys/names", headers={"Authorization": header})
                self.note(answer)
                for _ in range(3):
                    self.note(client.call("GET", "keys/names", headers={"Cookie": answer.cookie() or ""}))
                if self.stopping.is_set():
                    return
        except Exception as e:  # noqa: BLE001 - a thread's failure is told by the test
            self.failures.append(repr(e))

    def note(self, answer: Answer) -> None:
        self.answers.append(answer.status)
        if answer.status != 200:
            self.failures.append(f"{answer.status} {answer.reason}")

    def start(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(120)
        assert self.failures == []


def test_many_users_on_all_children(server: Httpd, kdc: Kdc) -> None:
    users = ["alice", "bob", "nn/host.example.test", "yarn/rm.example.test"]
    headers = [header_for(kdc.login(users[i % len(users)])) for i in range(60)]
    before = len(server.access_lines())
    load = Load(server.port, headers).start()
    load.finish()
    assert len(load.answers) == 240
    lines = server.access_lines()[before:]
    assert len({line.split()[0] for line in lines}) > 1, "more than one child served"
    for user in users:
        assert any(f"user={Kdc.full(user)}]" in line for line in server.audit_lines())


def test_graceful_restart_under_load(server: Httpd, kdc: Kdc) -> None:
    alice = kdc.login("alice")
    load = Load(server.port, [header_for(alice) for _ in range(120)]).start()
    for _ in range(2):
        so_far = len(load.answers)
        wait_for("some answers", lambda: len(load.answers) > so_far + 10 or load.failures)
        server.graceful()
    load.finish()
    assert ask(alice, server.port).status == 200
