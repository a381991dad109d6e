# SPDX-License-Identifier: Apache-2.0
"""The pages beside the REST API: who may read which, and that a page open to all opens nothing else."""
from __future__ import annotations

import pytest
from client import Client, raw
from harness import Httpd

PAGES = {"jmx": "/jmx", "prom": "/prom", "health": "/kms/health", "status": "/kms/status"}


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.area.write_site({"hadoop.kms.http.administrators": "boss root"})
    return server


def get(server: Httpd, path: str, user: str | None = None, method: str = "GET"):
    client = Client(server.port, user)
    answer = client.call(method, path)
    client.close()
    return answer


def test_defaults(server: Httpd) -> None:
    for path in ("/jmx", "/kms/jmx", "/prom"):
        assert get(server, path).status == 401
        assert get(server, path, "u").status == 200
    assert get(server, "/kms/health").status == 200
    assert get(server, "/kms/status").status == 401
    assert get(server, "/kms/status", "u").status == 403
    assert get(server, "/kms/status", "boss").status == 200
    assert get(server, "/kms/status", "root").status == 200  # by the group


def test_content_types(server: Httpd) -> None:
    assert get(server, "/jmx", "u").header("Content-Type") == "application/json; charset=utf8"
    assert get(server, "/prom", "u").header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"


def test_a_refusal_says_why(server: Httpd) -> None:
    answer = get(server, "/kms/status", "u")
    assert answer.reason == "User u is unauthorized to access this page"
    assert b"unauthorized to access this page" in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_pages_are_read_only(server: Httpd, method: str) -> None:
    for path, user in (("/kms/health", None), ("/jmx", "u")):
        answer = get(server, path, user, method)
        assert (answer.status, answer.header("Allow")) == (405, "GET,HEAD")


def test_head(server: Httpd) -> None:
    answer = get(server, "/kms/health", None, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("Content-Length") or 0) > 0


@pytest.mark.parametrize("path", [
    "/kms/health/", "/kms/health/../v1/keys/names", "/kms/v1/keys/names", "/kms/%68ealth", "/kms//health", "/kms/health;x",
    "/kms/Health", "/kms/healthy", "/"])
def test_the_open_page_opens_nothing_else(server: Httpd, path: str) -> None:
    assert get(server, path).status == 401


def test_an_open_page_does_not_authenticate(server: Httpd) -> None:
    """Neither by a parameter nor does it give a cookie, nor does a token operation hide behind it."""
    for query in ("?user.name=u", "?op=GETDELEGATIONTOKEN&renewer=u&user.name=u", "?doAs=x"):
        answer = get(server, "/kms/health" + query)
        assert answer.status == 200
        assert answer.header("Set-Cookie") is None
        assert b"urlString" not in answer.body


def test_the_next_request_of_the_connection_has_no_user(server: Httpd) -> None:
    text = raw(server.port, b"GET /kms/health HTTP/1.1\r\nHost: h\r\n\r\nGET /kms/v1/keys/names HTTP/1.1\r\nHost: h\r\n"
               b"Connection: close\r\n\r\n")
    assert text.startswith(b"HTTP/1.1 200") and text.count(b"HTTP/1.1 401 ") == 1


def test_the_doas_user_counts(registry) -> None:
    server = registry.httpd()
    server.area.write_site({"hadoop.kms.http.administrators": "boss", "hadoop.kms.proxyuser.boss.users": "*",
                            "hadoop.kms.proxyuser.boss.hosts": "*"})
    server.start()
    assert get(server, "/kms/status", "boss").status == 200
    assert get(server, "/kms/status?doAs=u", "boss").status == 403


def test_nobody_is_an_administrator_by_default(registry) -> None:
    server = registry.httpd().start()
    for user in ("u", "root", "boss"):
        assert get(server, "/kms/status", user).status == 403


def test_the_directive(registry) -> None:
    server = registry.httpd()
    server.directives += ["KMSPageAccess prom all", "KMSPageAccess JMX Administrators", "KMSPageAccess health users",
                          "KMSPageAccess status none"]
    server.area.write_site({"hadoop.kms.http.administrators": "*"})
    server.start()
    assert get(server, "/prom").status == 200
    assert [get(server, "/jmx", u).status for u in (None, "u")] == [401, 200]
    assert [get(server, "/kms/health", u).status for u in (None, "u")] == [401, 200]
    refused = get(server, "/kms/status", "u")
    assert (refused.status, refused.reason) == (403, "The page status is switched off by KMSPageAccess")


def test_other_requirements_still_count(registry) -> None:
    """all is about users; an address that the location wants is still wanted."""
    server = registry.httpd()
    server.more_modules = ["authz_host"]
    server.location = "  KMSEngine On\n  AuthType KMS\n  <RequireAll>\n    Require valid-user\n" \
        "    Require ip 192.0.2.1\n  </RequireAll>\n"
    server.allow("AH01630", "AH01631")
    server.start()
    assert get(server, "/kms/health").status in (401, 403)


def test_without_a_require(registry) -> None:
    server = registry.httpd()
    server.location = "  KMSEngine On\n  AuthType KMS\n  Require all granted\n"
    server.start()
    assert get(server, "/kms/health").status == 200
    assert get(server, "/kms/status").status == 401
    assert get(server, "/kms/v1/keys/names").status == 401


@pytest.mark.parametrize("line,text", [
    ("KMSPageAccess jmx everybody", "KMSPageAccess gives a page to one of none, administrators, users, all, not 'everybody'"),
    ("KMSPageAccess logs all", "KMSPageAccess knows the pages jmx, prom, health, status, not 'logs'")])
def test_mistakes(httpd: Httpd, line: str, text: str) -> None:
    httpd.directives.append(line)
    status, said = httpd.configtest()
    assert status != 0 and text in said
