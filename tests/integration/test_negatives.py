# SPDX-License-Identifier: Apache-2.0
"""What docs/security.md lists as refused and no other file tries: cookies and proxy users that are cut, swapped, huge or of
another realm."""
from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from client import Answer, Client, raw
from harness import Httpd
from kdc import Kdc, kerberize
from tokens import Token, check_refused, get, issue, use

SECRET = b"integration secret of the negatives"
NOT_ALLOWED = "org.apache.hadoop.security.authorize.AuthorizationException"
GATEWAY = {
    "hadoop.kms.proxyuser.gateway.users": "alice",
    "hadoop.kms.proxyuser.gateway.hosts": "127.0.0.1",
    "hadoop.kms.proxyuser.bygroup.groups": "etl",
    "hadoop.kms.proxyuser.bygroup.hosts": "192.0.2.0/24,127.0.0.0/30",
    "hadoop.kms.proxyuser.byname.users": "*",
    "hadoop.kms.proxyuser.byname.hosts": "no.such.host.invalid,localhost",
    "hadoop.kms.proxyuser.nextdoor.users": "*",
    "hadoop.kms.proxyuser.nextdoor.hosts": "127.0.0.2/31",
    "hadoop.kms.proxyuser.starred.users": "*",
    "hadoop.kms.proxyuser.starred.hosts": "192.0.2.1,*",
    "hadoop.user.group.static.mapping.overrides": "carol=staff,etl;dave=staff;eve=",
}


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.directives.append(f'KMSSignatureSecretFile "{server.area.write("secret", SECRET)}"')
    server.usual.add("KMS0011")  # hosts that are left out
    server.area.write_site(GATEWAY)
    return server


def signed(text: str) -> dict[str, str]:
    signature = base64.b64encode(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()).decode()
    return {"Cookie": f'hadoop.auth="{text}&s={signature}"'}


def cookie_of(user: str, principal: str | None = None, kind: str = "simple-dt", seconds: float = 3600) -> dict[str, str]:
    return signed(f"u={user}&p={principal or user}&t={kind}&e={int((time.time() + seconds) * 1000)}")


def names(client: Client, query: str = "", headers: dict[str, str] | None = None, user: str | None = None) -> Answer:
    return client.call("GET", "keys/names" + query, headers=headers, user=user)


# -- cookies


def test_cookies_cut_anywhere(client: Client) -> None:
    whole = cookie_of("alice")["Cookie"]
    assert names(client, headers={"Cookie": whole}).status == 200
    for length in range(len('hadoop.auth="'), len(whole) - 1):
        for end in ("", '"'):
            answer = names(client, headers={"Cookie": whole[:length] + end})
            assert (answer.status, answer.cookie()) == (401, "hadoop.auth="), whole[:length]


def test_huge_cookies(server: Httpd, client: Client) -> None:
    long = cookie_of("u" * 31000)
    assert 60000 < len(long["Cookie"]) < 65000 and names(client, headers=long).status == 200, "as long as it is signed"
    for value in ("A" * 64000, "u=" + "x" * 32000 + "&s=" + "y" * 32000, "&s=" * 20000, "=" * 64000, "&" * 64000):
        answer = names(client, headers={"Cookie": f'hadoop.auth="{value}"'})
        assert answer.status == 401 and len(answer.reason) < 300
    many = "; ".join(f"c{i}=" + "v" * 50 for i in range(1000))
    assert names(client, headers={"Cookie": f"{many}; {cookie_of('alice')['Cookie']}"}).status == 200
    over = raw(server.port, b"GET /kms/v1/keys/names HTTP/1.1\r\nHost: x\r\nCookie: hadoop.auth=" + b"A" * 66000 + b"\r\n\r\n")
    assert over.startswith(b"HTTP/1.1 400 ") and b"Set-Cookie" not in over


def test_a_cookie_of_a_kerberos_server(client: Client) -> None:
    """Signed by the same secret, of a server of the same cluster that asks for tickets."""
    answer = names(client, headers=cookie_of("alice", "alice@TEST.REALM", "kerberos-dt"))
    assert (answer.status, answer.reason) == (401, "Invalid AuthenticationToken type")


# -- proxy users


def check_impersonation(answer: Answer, message: str) -> None:
    assert answer.status == 403 and answer.exception() == NOT_ALLOWED and answer.message() == message


@pytest.mark.parametrize("real", ["gatewa", "gatewayy", "Gateway", " gateway", "gateway ", "gateway,x", "*", "alice"])
def test_real_users_that_are_not_quite(client: Client, real: str) -> None:
    check_impersonation(names(client, "?doAs=alice", user=real), f"User: {real} is not allowed to impersonate alice")


@pytest.mark.parametrize("do_as", ["alic", "alicee", "Alice", "bob", "gateway", "*", "alice,bob", "alice "])
def test_users_who_are_not_meant(client: Client, do_as: str) -> None:
    query = "?doAs=" + do_as.replace(" ", "%20").replace("*", "%2A")
    message = f"User: gateway is not allowed to impersonate {do_as}"
    check_impersonation(names(client, query, user="gateway"), message)
    check_impersonation(get(client, "gateway", query[1:]), message)
    check_impersonation(names(client, query, cookie_of("gateway")), message)


def test_the_first_do_as_counts(client: Client) -> None:
    assert names(client, "?doAs=alice&doAs=bob", user="gateway").status == 200
    check_impersonation(names(client, "?doas=bob&doAs=alice", user="gateway"),
                        "User: gateway is not allowed to impersonate bob")


def test_groups_of_whom_one_acts_for(client: Client) -> None:
    """By the static mapping, which is asked before the system."""
    assert names(client, "?doAs=carol", user="bygroup").status == 200
    for user in ("dave", "eve", "nobody-knows"):
        check_impersonation(names(client, f"?doAs={user}", user="bygroup"),
                            f"User: bygroup is not allowed to impersonate {user}")


def test_hosts(client: Client) -> None:
    """By name, by network; what cannot be resolved or is a star among others opens nothing."""
    assert names(client, "?doAs=anybody", user="byname").status == 200
    for real in ("nextdoor", "starred"):
        check_impersonation(names(client, "?doAs=anybody", user=real),
                            f"Unauthorized connection for super-user: {real} from IP /127.0.0.1")
        forwarded = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=127.0.0.2", "X-Real-IP": "127.0.0.2",
                     "Host": "127.0.0.2"}
        assert names(client, "?doAs=anybody", forwarded, real).status == 403


def test_huge_names(client: Client) -> None:
    name = "n" * 60000
    check_impersonation(names(client, "?doAs=" + name, user="gateway"),
                        f"User: gateway is not allowed to impersonate {name}")
    assert names(client, "?doAs=" + name, user="byname").status == 200


def test_expired_credentials_act_for_nobody(client: Client) -> None:
    assert names(client, "?doAs=alice", cookie_of("gateway", seconds=-1)).status == 401
    assert names(client, "?doAs=alice").status == 401


def test_a_rule_that_is_withdrawn(httpd: Httpd) -> None:
    """A cookie is no permission: who has one from before is judged by the rules of now. A token keeps what it was issued for."""
    httpd.directives.append(f'KMSSignatureSecretFile "{httpd.area.write("secret", SECRET)}"')
    httpd.usual.add("KMS0011")
    httpd.area.write_site(GATEWAY)
    httpd.start()
    first = Client(httpd.port, fresh=True)
    cookie = {"Cookie": names(first, "?doAs=alice", user="gateway").cookie()}
    token = issue(first, "gateway", "doAs=alice")
    assert names(first, "?doAs=alice", cookie).status == 200
    httpd.area.write_site({**GATEWAY, "hadoop.kms.proxyuser.gateway.users": "bob"})
    httpd.graceful()
    check_impersonation(names(first, "?doAs=alice", cookie), "User: gateway is not allowed to impersonate alice")
    assert names(first, "?doAs=bob", cookie).status == 200
    assert use(first, token).status == 200


# -- realms


@pytest.fixture(scope="module")
def kerberos_server(module_registry, kdc: Kdc) -> Httpd:
    server = module_registry.httpd(name="kerberos")
    kerberize(server, kdc, kdc.keytab("negatives.keytab", "HTTP/localhost"), {
        **GATEWAY, "hadoop.kms.authentication.kerberos.name.rules": "RULE:[2:$1@$0](gateway@TEST.REALM)s/@.*// DEFAULT"})
    server.directives.append(f'KMSSignatureSecretFile "{server.area.write("secret", SECRET)}"')
    server.usual |= {"KMS0011", "KMS0010"}
    return server.start()


def test_principals_without_a_short_name(kerberos_server: Httpd) -> None:
    """In a cookie of a server with other rules, as who is acted for, as renewer: nobody is let in by half a name."""
    client = Client(kerberos_server.port, None)

    def kerberos_cookie(short: str, principal: str) -> dict[str, str]:
        return cookie_of(short, principal, "kerberos-dt")
    assert names(client, headers=kerberos_cookie("alice", "alice@TEST.REALM")).status == 200
    for principal in ("alice@OTHER.REALM", "alice/a/b@TEST.REALM", "gateway/h@OTHER.REALM", "@", "alice@TEST.REALM@OTHER.REALM"):
        answer = names(client, headers=kerberos_cookie("alice", principal))
        assert answer.status == 403 and answer.cookie() is None, principal
    mallory = "mallory/gateway@TEST.REALM"
    check_impersonation(names(client, "?doAs=alice", kerberos_cookie("gateway", mallory)),
                        f"User: {mallory} is not allowed to impersonate alice")
    gateway = kerberos_cookie("gateway", "gateway/host@TEST.REALM")
    assert names(client, "?doAs=alice", gateway).status == 200
    assert names(client, "?doAs=alice@TEST.REALM", gateway).status == 200
    for do_as in ("alice@OTHER.REALM", "alice/a/b@TEST.REALM", "mallory/alice@TEST.REALM", "@TEST.REALM"):
        assert names(client, f"?doAs={do_as}", gateway).status == 403, do_as
        assert get(client, None, f"doAs={do_as}", headers=gateway).status == 403, do_as
    token = get(client, None, "renewer=alice@TEST.REALM", headers=kerberos_cookie("alice", "alice@TEST.REALM"))
    parsed = Token.parse(token.json()["Token"]["urlString"])
    assert (parsed.owner, parsed.renewer) == ("alice", "alice")
    for owner in ("alice@TEST.REALM", "alice@OTHER.REALM"):
        check_refused(use(client, parsed.but(owner=owner)))
    foreign = get(client, None, "renewer=alice@OTHER.REALM", headers=kerberos_cookie("alice", "alice@TEST.REALM"))
    assert foreign.status >= 400 and b"urlString" not in foreign.body
