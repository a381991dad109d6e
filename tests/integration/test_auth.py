# SPDX-License-Identifier: Apache-2.0
"""Who asks: user.name, the hadoop.auth cookie, doAs; and what everybody else gets."""
from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time

import pytest
from client import Client
from harness import Httpd, is_root, wait_for

SECRET = b"integration secret, 32 bytes ...\n"  # read as it is, with its line feed


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    area = server.area
    secret = area.write("signature-secret", SECRET)
    server.directives.append(f'KMSSignatureSecretFile "{secret}"')
    server.usual.add("KMS0010")  # nohosts can act for nobody, and the log says so
    area.write_site({
        "hadoop.kms.proxyuser.gateway.users": "alice, bob",
        "hadoop.kms.proxyuser.gateway.hosts": "127.0.0.1",
        "hadoop.kms.proxyuser.distant.users": "*",
        "hadoop.kms.proxyuser.distant.hosts": "192.0.2.1",
        "hadoop.kms.proxyuser.byrange.users": "*",
        "hadoop.kms.proxyuser.byrange.hosts": "127.0.0.0/8",
        "hadoop.kms.proxyuser.nohosts.users": "*",
    })
    return server


def make_cookie(text: str, secret: bytes = SECRET) -> dict[str, str]:
    signature = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
    return {"Cookie": f'hadoop.auth="{text}&s={signature}"'}


def token(user: str = "alice", seconds: float = 3600, kind: str = "simple-dt", more: str = "") -> str:
    return f"u={user}&p={user}&t={kind}{more}&e={int((time.time() + seconds) * 1000)}"


def check_401(answer, reason: str) -> None:
    assert (answer.status, answer.reason) == (401, reason)
    assert answer.header("WWW-Authenticate") == "PseudoAuth"
    assert answer.header("Set-Cookie") == "hadoop.auth=; HttpOnly"


@pytest.mark.smoke
def test_the_walk_of_the_java_client(client: Client) -> None:
    """OPTIONS without credentials, OPTIONS with user.name, then the call with the cookie alone, quotes and all."""
    refused = client.call("OPTIONS", "keys", user=None)
    check_401(refused, "Authentication required")
    assert refused.body == b""
    greeted = client.call("OPTIONS", "keys", user="alice")
    assert greeted.status == 200
    cookie = greeted.header("Set-Cookie")
    assert cookie is not None and cookie.startswith('hadoop.auth="u=alice&p=alice&t=simple-dt&e=')
    assert cookie.endswith('"; HttpOnly')
    # As HttpURLConnection sends it: this Accept, and no Content-Type with a GET.
    headers = {"Cookie": cookie.split(";")[0], "Accept": "text/html, image/gif, image/jpeg, */*; q=0.2",
               "Cache-Control": "no-cache", "Pragma": "no-cache"}
    created = client.call("POST", "keys", {"name": "walked", "cipher": "AES/CTR/NoPadding", "length": 128},
                          headers={**headers, "Content-Type": "application/json"}, user=None)
    assert created.status == 201 and created.cookie() is None
    assert client.call("GET", "keys/names", headers=headers, user=None).json() == ["walked"]


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/kms/v1/keys/names", "/kms/v1/key/x/_metadata", "/kms/v1/nothing", "/kms", "/",
                                  "/jmx", "/conf", "/nothing"])
def test_nobody_gets_anything(client: Client, path: str) -> None:
    check_401(client.call("GET", path, user=None), "Authentication required")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "FOO"])
def test_no_method_goes_round_authentication(client: Client, method: str) -> None:
    answer = client.call(method, "keys/names", user=None)
    assert answer.status == 401
    assert client.call(method, "key/x/_eek?eek_op=generate", user=None).status == 401


def test_the_401_is_html(client: Client) -> None:
    answer = client.call("GET", "keys/names", user=None)
    assert answer.header("Content-Type") == "text/html;charset=iso-8859-1"
    assert b"Authentication required" in answer.body and b"401" in answer.body


def test_cookie_of_an_own_signature_is_valid(client: Client) -> None:
    """The secret file is shared with Java servers: byte for byte, trailing line feed included."""
    answer = client.call("GET", "keys/names", headers=make_cookie(token()), user=None)
    assert answer.status == 200 and answer.cookie() is None
    never = make_cookie("u=alice&p=alice&t=simple-dt&e=-1")
    assert client.call("GET", "keys/names", headers=never, user=None).status == 200
    any_order = make_cookie(f"e={int(time.time() + 60) * 1000}&t=simple-dt&p=alice&u=alice")
    assert client.call("GET", "keys/names", headers=any_order, user=None).status == 200


def test_cookie_names_the_user_by_p(client: Client) -> None:
    client.call("GET", "key/of-p/_metadata", headers=make_cookie(
        f"u=zed&p=prin&t=simple-dt&e={int(time.time() + 60) * 1000}"), user=None)


@pytest.mark.parametrize("text, reason", [
    (token(seconds=-1), "AuthenticationToken expired"),
    ("u=alice&p=alice&t=simple-dt&e=0", "AuthenticationToken expired"),
    (token(more="&i=1000"), "AuthenticationToken expired"),
    (token(kind="kerberos-dt"), "Invalid AuthenticationToken type"),
    ("u=alice&p=alice&t=simple-dt", "Invalid token string, missing attributes"),
], ids=["past", "zero", "inactive", "other type", "no expiry"])
def test_signed_but_not_valid(client: Client, text: str, reason: str) -> None:
    check_401(client.call("GET", "keys/names", headers=make_cookie(text), user=None), reason)


SIGNER = "org.apache.hadoop.security.authentication.util.SignerException: "


@pytest.mark.smoke
def test_tampered_cookies(client: Client) -> None:
    good = client.call("OPTIONS", "", user="alice").cookie()
    assert good is not None
    for old, new in [("u=alice", "u=admin"), ("p=alice", "p=admin"), ("e=1", "e=2"), ("simple-dt", "simple-dx")]:
        bad = good.replace(old, new, 1)
        assert bad != good
        check_401(client.call("GET", "keys/names", headers={"Cookie": bad}, user=None), SIGNER + "Invalid signature")
    foreign = make_cookie(token(), b"somebody else's secret")
    check_401(client.call("GET", "keys/names", headers=foreign, user=None), SIGNER + "Invalid signature")
    for end in (-2, -3, -10):
        cut = good[:end] + '"'
        check_401(client.call("GET", "keys/names", headers={"Cookie": cut}, user=None), SIGNER + "Invalid signature")
    unsigned = 'hadoop.auth="u=alice"'
    check_401(client.call("GET", "keys/names", headers={"Cookie": unsigned}, user=None),
              SIGNER + "Invalid signed text: u=alice")
    check_401(client.call("GET", "keys/names", headers={"Cookie": "hadoop.auth="}, user=None), "Unauthorized access")


def test_bad_cookie_with_user_name_gets_a_new_one(client: Client) -> None:
    answer = client.call("GET", "keys/names", headers=make_cookie(token(seconds=-5)), user="bob")
    assert answer.status == 200
    assert answer.cookie().startswith('hadoop.auth="u=bob&p=bob&')


def test_cookie_wins_over_user_name(client: Client) -> None:
    """A refusal tells who was taken for the caller."""
    answer = client.call("GET", "keys/names?doAs=x", headers=make_cookie(token("alice")), user="bob")
    assert answer.status == 403 and "User: alice is not allowed" in answer.message()


def test_first_of_several_cookies_counts(client: Client) -> None:
    good = make_cookie(token())["Cookie"]
    bad = 'hadoop.auth="u=a&p=a&t=simple-dt&e=-1&s=AAAA"'
    assert client.call("GET", "keys/names", headers={"Cookie": f"a=b; {good}; {bad}"}, user=None).status == 200
    assert client.call("GET", "keys/names", headers={"Cookie": f"{bad}; {good}"}, user=None).status == 401


def test_cookie_is_there_on_refusals_too(client: Client) -> None:
    answer = client.call("POST", "key/no-such-key", {}, user="carol")
    assert answer.status == 500 and answer.cookie().startswith('hadoop.auth="u=carol&')


def test_nobody_signs_what_would_split(client: Client) -> None:
    for name in ["", "a&b", "a&u=root", "a\nb", "a\rb", "\0"]:
        answer = client.call("GET", "keys/names", user=name)
        assert 400 <= answer.status < 500 and answer.cookie() in (None, "hadoop.auth=")


@pytest.mark.smoke
def test_do_as(client: Client) -> None:
    for parameter in ("doAs", "doas", "DOAS"):
        assert client.call("GET", f"keys/names?{parameter}=alice", user="gateway").status == 200
    for query, user, message in [
        ("doAs=carol", "gateway", "User: gateway is not allowed to impersonate carol"),
        ("doAs=alice", "mallory", "User: mallory is not allowed to impersonate alice"),
        ("doAs=mallory", "mallory", "User: mallory is not allowed to impersonate mallory"),
        ("doAs=alice", "distant", "Unauthorized connection for super-user: distant from IP /127.0.0.1"),
        ("doAs=alice", "nohosts", "Unauthorized connection for super-user: nohosts from IP /127.0.0.1"),
    ]:
        answer = client.call("GET", "keys/names?" + query, user=user)
        assert answer.status == 403, (query, user)
        assert answer.exception() == "org.apache.hadoop.security.authorize.AuthorizationException"
        assert answer.message() == message
    assert client.call("GET", "keys/names?doAs=anybody", user="byrange").status == 200


def test_do_as_keeps_the_cookie_of_the_real_user(client: Client) -> None:
    answer = client.call("GET", "keys/names?doAs=alice", user="gateway")
    assert answer.cookie().startswith('hadoop.auth="u=gateway&')
    with_cookie = client.call("GET", "keys/names?doAs=carol", headers={"Cookie": answer.cookie()}, user=None)
    assert with_cookie.message() == "User: gateway is not allowed to impersonate carol"


def test_the_peer_counts_not_the_header(client: Client) -> None:
    answer = client.call("GET", "keys/names?doAs=alice", headers={"X-Forwarded-For": "192.0.2.1"}, user="distant")
    assert answer.status == 403


def test_empty_do_as_is_nobody(client: Client) -> None:
    assert 400 <= client.call("GET", "keys/names?doAs=", user="gateway").status < 500


def test_delegation_tokens_that_nobody_issued(client: Client) -> None:
    answer = client.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": "HQAFYWxpY2U"}, user="alice")
    assert answer.status == 403
    assert answer.exception() == "org.apache.hadoop.security.authentication.client.AuthenticationException"
    assert client.call("GET", "keys/names?delegation=HQAFYWxpY2U", user="alice").status == 403


def test_cookie_lives_over_a_restart_with_a_secret_file(httpd: Httpd) -> None:
    secret = httpd.area.write("signature-secret", SECRET)
    httpd.directives.append(f'KMSSignatureSecretFile "{secret}"')
    httpd.start()
    cookie = Client(httpd.port).names().cookie()
    httpd.stop()
    httpd.start()
    assert Client(httpd.port).call("GET", "keys/names", headers={"Cookie": cookie}, user=None).status == 200


def cookie_status(httpd: Httpd, cookie: dict[str, str]) -> int:
    return Client(httpd.port, fresh=True).call("GET", "keys/names", headers=cookie, user=None).status


def test_rolling_the_cookie_secret(httpd: Httpd) -> None:
    """As docs/operations.md has it: no live cookie is refused at any step."""
    secret = httpd.area.write("signature-secret", SECRET)
    following = b"the secret after that"
    httpd.directives.append(f'KMSSignatureSecretFile "{secret}"')
    httpd.start()
    old, ahead = make_cookie(token()), make_cookie(token(), following)

    def statuses(cookie: dict[str, str]) -> set[int]:
        return {cookie_status(httpd, cookie) for _ in range(20)}
    assert statuses(old) == {200} and statuses(ahead) == {401}
    coming = httpd.area.write("signature-secret.next", following)
    wait_for("children that know the next secret", lambda: statuses(ahead) == {200})
    assert statuses(old) == {200}

    httpd.expect("KMS0360")
    previous = secret.with_name("signature-secret.previous")
    os.link(secret, previous)
    coming.replace(secret)

    def signed_by_it() -> bool:
        text, _, signature = Client(httpd.port, fresh=True).names().cookie().split('"')[1].rpartition("&s=")
        return make_cookie(text, following)["Cookie"].endswith(f'&s={signature}"')
    wait_for("cookies signed by it", lambda: all(signed_by_it() for _ in range(20)))
    assert statuses(old) == {200} and statuses(ahead) == {200}
    httpd.graceful()
    assert statuses(old) == {200} and statuses(ahead) == {200}
    previous.unlink()
    httpd.stop()
    httpd.start()
    assert statuses(old) == {401} and statuses(ahead) == {200}


@pytest.mark.skipif(not is_root(), reason="children have another user only where this is root")
def test_cookie_secret_that_only_root_can_read(httpd: Httpd) -> None:
    secret = httpd.area.write("signature-secret", SECRET)
    secret.chmod(0o600)
    httpd.directives.append(f'KMSSignatureSecretFile "{secret}"')
    httpd.expect("KMS0362")
    httpd.start()
    assert cookie_status(httpd, make_cookie(token())) == 200
    wait_for("the warning", lambda: "KMS0362" in httpd.log_text())
    secret.write_bytes(b"another one")
    httpd.graceful()
    assert cookie_status(httpd, make_cookie(token(), b"another one")) == 200
    wait_for("the old secret to be gone", lambda: cookie_status(httpd, make_cookie(token())) == 401)


def test_cookie_without_a_secret_file(httpd: Httpd) -> None:
    """The secret is in shared memory: valid on every child and after a graceful restart, not after a real one."""
    httpd.start()
    cookie = Client(httpd.port).names().cookie()

    def status() -> int:
        answer = Client(httpd.port, fresh=True).call("GET", "keys/names", headers={"Cookie": cookie}, user=None)
        return answer.status
    assert {status() for _ in range(40)} == {200}
    httpd.graceful()
    assert {status() for _ in range(40)} == {200}
    httpd.stop()
    httpd.start()
    assert status() == 401


def test_cookie_attributes(httpd: Httpd) -> None:
    httpd.directives += ["KMSTokenValidity 60", "KMSCookieDomain kms.example.com", "KMSCookiePath /kms",
                         "KMSCookiePersistent On"]
    httpd.start()
    text = Client(httpd.port).names().header("Set-Cookie")
    value, *attributes = text.split("; ")
    expiry = int(value.split("&e=")[1].split("&")[0]) / 1000
    assert abs(expiry - time.time() - 60) < 15
    expires = time.strftime("%a, %d-%b-%Y %H:%M:%S GMT", time.gmtime(expiry))
    assert attributes == ["Path=/kms", "Domain=kms.example.com", f"Expires={expires}", "HttpOnly"]


def test_expiry_comes(httpd: Httpd) -> None:
    httpd.directives.append("KMSTokenValidity 2")
    httpd.start()
    client = Client(httpd.port)
    cookie = client.names().cookie()
    assert client.call("GET", "keys/names", headers={"Cookie": cookie}, user=None).status == 200
    time.sleep(2.2)
    check_401(client.call("GET", "keys/names", headers={"Cookie": cookie}, user=None), "AuthenticationToken expired")
