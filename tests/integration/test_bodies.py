# SPDX-License-Identifier: Apache-2.0
"""Requests that are odd, broken or hostile: each gets an answer of its own, and the server lives on."""
from __future__ import annotations

import json
import socket

import pytest
from client import Answer, Client, parse_answers, raw
from harness import Httpd

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.directives += ["KMSMaxRequestBody 1048576"]
    server.start()
    client = Client(server.port)
    client.create("k", length=128)
    return server


@pytest.fixture(autouse=True)
def alive(server: Httpd):
    """After whatever a test sent, all children are still the same ones and serve."""
    before = sorted(server.child_pids())
    yield
    assert Client(server.port).current("k").status == 200
    assert set(before) <= set(server.child_pids())


def request(server: Httpd, head: str, body: bytes = b"") -> Answer:
    host = f"Host: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
    data = raw(server.port, head.replace("\n", "\r\n").encode() + host.encode() + b"\r\n" + body)
    assert data, "no answer at all"
    return parse_answers(data)[0]


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


CREATE = "POST /kms/v1/keys?user.name=u HTTP/1.1\nContent-Type: application/json\n"


def test_chunked(server: Httpd) -> None:
    body = b'{"name": "chunked", "length": 128}'
    pieces = [body[i:i + 1] for i in range(len(body))]
    answer = request(server, CREATE + "Transfer-Encoding: chunked\n", chunked(*pieces))
    assert answer.status == 201 and answer.json()["name"] == "chunked"


def test_post_without_a_length(server: Httpd) -> None:
    """The Java client sends _invalidatecache so; 411 would break it."""
    assert request(server, "POST /kms/v1/key/k/_invalidatecache?user.name=u HTTP/1.1\n").status == 200
    answer = request(server, CREATE)
    assert answer.status == 500 and answer.header("Content-Type") == "application/json"


def test_too_large(server: Httpd) -> None:
    big = json.dumps({"name": "big", "description": "x" * (1 << 20)}).encode()
    answer = request(server, CREATE + f"Content-Length: {len(big)}\n", big)
    assert answer.status == 413
    answer = request(server, CREATE + "Content-Length: 99999999999\n")
    assert answer.status == 413
    answer = request(server, CREATE + "Transfer-Encoding: chunked\n", chunked(*[big[:65536]] * 20))
    assert answer.status == 413
    fits = json.dumps({"name": "fits", "description": "x" * 1000000}).encode()
    assert len(fits) < 1 << 20
    assert request(server, CREATE + f"Content-Length: {len(fits)}\n", fits).status == 201
    assert len(Client(server.port).metadata("fits").json()["description"]) == 1000000


def test_cut_off_in_the_middle(server: Httpd) -> None:
    for head, body in [(CREATE + "Content-Length: 100\n", b'{"name": "cut'),
                       (CREATE + "Transfer-Encoding: chunked\n", b'64\r\n{"name": "cut'),
                       (CREATE + "Transfer-Encoding: chunked\n", b"zz\r\n")]:
        host = "Host: x\r\nConnection: close\r\n\r\n"
        raw(server.port, head.replace("\n", "\r\n").encode() + host.encode() + body)
    assert Client(server.port).metadata("cut").body == b"{ }"


def test_hang_up_without_reading(server: Httpd) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"GET /kms/v1/key/k/_eek?eek_op=generate&num_keys=2000&user.name=u HTTP/1.1\r\nHost: x\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b" ", b"\n", b"{", b"[", b'"', b'{"name"', b'{"name":', b"nul", b"\x00",
                                  b"\xff\xfe", b"\xef\xbb\xbf", b"{'name': 'x'}", b"{name: 1}", b"/**/{}", b"[1", b"{]",
                                  b'{"name": "\xc3"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\\ud800"}',
                                  b'{"name": "\x01"}', b'{"a": 1e999999}', b"-", b"01"],
                         ids=lambda b: repr(b)[2:-1] or "empty")
def test_what_is_no_json(client: Client, body: bytes) -> None:
    for path in ("keys", "key/k", "keyversion/k@0/_eek?eek_op=decrypt", "key/k/_reencryptbatch"):
        answer = client.call("POST", path, body)
        assert 400 <= answer.status <= 500, (path, answer.status)
        assert answer.json()["RemoteException"]["javaClassName"]


@pytest.mark.parametrize("value", [None, True, 1, -1, 1.5, 2**31, 2**63, 2**64, "", "x", [], [[]], {}, {"a": {}},
                                   [None]], ids=repr)
@pytest.mark.parametrize("member", ["name", "cipher", "length", "material", "description", "attributes"])
def test_every_type_in_every_member_of_create(client: Client, member: str, value: object) -> None:
    members = {"name": f"type-{member}-{abs(hash(repr(value)))}", "length": 128, member: value}
    answer = client.call("POST", "keys", members)
    assert answer.status in (201, 400, 500)
    if answer.status == 201:
        client.delete(answer.json()["name"])


@pytest.mark.parametrize("value", [None, True, 1, 1.5, [], {}, [None]], ids=repr)
@pytest.mark.parametrize("member", ["name", "iv", "material"])
@pytest.mark.parametrize("op", ["decrypt", "reencrypt"])
def test_every_type_in_every_member_of_eek(client: Client, op: str, member: str, value: object) -> None:
    body = {"name": "k", "iv": "A" * 22, "material": "A" * 22, member: value}
    answer = client.call("POST", f"keyversion/k@0/_eek?eek_op={op}", body)
    assert answer.status in (400, 500) and answer.exception()


@pytest.mark.parametrize("element", [None, 1, "x", [], {}, {"versionName": 1}, {"versionName": "k@0", "iv": "A" * 22},
                                     {"versionName": "k@0", "iv": "A" * 22, "encryptedKeyVersion": 1},
                                     {"versionName": "k@0", "iv": "A" * 22, "encryptedKeyVersion": {}}], ids=repr)
def test_odd_elements_of_a_batch(client: Client, element: object) -> None:
    assert client.reencrypt_batch("k", [element]).status in (400, 500)  # type: ignore[list-item]


def test_deep_json(client: Client) -> None:
    for depth in (50, 1000, 100000):
        for opener, closer in (("[", "]"), ('{"a":', "}")):
            nested = opener * depth + "1" + closer * depth
            assert client.call("POST", "keys", nested).status in (400, 413, 500)
            answer = client.call("POST", "keys", '{"name": "deep-%d%s", "other": %s}' %
                                 (depth, "l" if opener == "[" else "o", nested))
            assert answer.status in (201, 400, 413, 500)
            assert client.call("POST", "keys", opener * depth).status in (400, 413, 500)


def test_wide_json(client: Client) -> None:
    many = {f"m{i}": "v" for i in range(20000)}
    assert client.create("wide", **many).status == 201
    assert client.create("attributed", attributes={f"m{i}": "v" for i in range(2000)}).status == 201
    assert len(client.metadata("attributed").json()["attributes"]) >= 2000


def test_last_of_equal_members_wins(client: Client) -> None:
    assert client.call("POST", "keys", '{"name": "loser", "name": "winner"}').json()["name"] == "winner"


def test_bytes_after_the_value_are_not_read(client: Client) -> None:
    assert client.call("POST", "keys", '{"name": "trailed"} and more').status == 201


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_encodings(client: Client, encoding: str) -> None:
    name = f"häß-漢-{encoding}".lower()
    answer = client.call("POST", "keys", ('{"name": "%s"}' % name).encode(encoding))
    assert answer.status == 201 and answer.json()["name"] == name
    assert client.metadata(name).json()["name"] == name


def test_headers_left_out(server: Httpd) -> None:
    body = b'{"name": "k", "iv": "AAAAAAAAAAAAAAAAAAAAAA", "material": "AAAAAAAAAAAAAAAAAAAAAA"}'
    path = "/kms/v1/keyversion/k@0/_eek?eek_op=decrypt&user.name=u"
    full = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body)), "Accept": "*/*",
            "User-Agent": "t", "Connection": "close"}
    for missing in full:
        head = "".join(f"{k}: {v}\r\n" for k, v in full.items() if k != missing)
        data = raw(server.port, f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status = int(data.split()[1])
        wanted = {"Host": (400,), "Content-Type": (415, 500), "Content-Length": (500, 400)}.get(missing, (200,))
        assert status in wanted, (missing, data[:200])
    assert raw(server.port, b"GET /kms/v1/keys/names?user.name=u HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert raw(server.port, b"\r\n\r\n") is not None
    assert b" 400 " in raw(server.port, b"GET\r\n\r\n")


def test_header_values_that_are_odd(client: Client) -> None:
    for name in ("Content-Type", "Accept", "Cookie", "X-Hadoop-Delegation-Token", "Content-Encoding", "Range",
                 "If-None-Match", "If-Modified-Since", "Expect"):
        for value in ("", " ", ",", ";", "=", '"', "/", "a/b;c", "\xff", "x" * 60000, "*/*;q=2", "bytes=0-0"):
            answer = client.call("GET", "key/k/_currentversion", headers={name: value})
            assert answer.status in (200, 401, 403, 406, 415, 417, 500), (name, value[:10], answer.status)


def test_a_head_too_large(server: Httpd) -> None:
    data = raw(server.port, b"GET /kms/v1/keys/names?user.name=u HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"y" * 70000))
    assert data.split()[1] in (b"400", b"431")
    data = raw(server.port, b"GET /kms/v1/key/" + b"n" * 70000 + b"?user.name=u HTTP/1.1\r\nHost: x\r\n\r\n")
    assert data.split()[1] in (b"414", b"400")
    long_name = "n" * 20000
    assert Client(server.port).metadata(long_name).body == b"{ }"


@pytest.mark.parametrize("path", ["%", "%2", "%zz", "%00", "%c3%28", "%ff", "%2e%2e", "..", "a%0d%0aX:y", "%252f", ";",
                                  ";a=b", "k;x", "k@", "@", "@0", "k@-1", "k@00", "k@99999999999999999999", "k@0@0",
                                  "?", "%3f", "%23", "//", "a//b", "a/./b", "a/../b"])
def test_odd_paths(client: Client, server: Httpd, path: str) -> None:
    server.allow("AH10244")  # httpd's own complaint of a path that it cannot decode
    for form in (f"key/{path}", f"key/{path}/_metadata", f"keyversion/{path}", f"key/{path}/_eek?eek_op=generate"):
        answer = client.call("GET", form)
        assert answer.status in (200, 400, 404, 405, 500)
        if answer.status == 500:
            assert answer.json()["RemoteException"]["javaClassName"]


@pytest.mark.parametrize("count, status", [("0", 200), ("-5", 200), ("", 200), ("abc", 500), ("2147483648", 500),
                                           ("1.5", 500), ("%201", 500), ("%2B1", 200)])
def test_num_keys(client: Client, count: str, status: int) -> None:
    answer = client.call("GET", f"key/k/_eek?eek_op=generate&num_keys={count}")
    assert answer.status == status


def test_many_eeks_at_once(client: Client) -> None:
    eeks = client.generate("k", 20000).json()
    assert len(eeks) == 20000 and len({e["iv"] for e in eeks}) == 20000


def test_the_count_of_eeks_has_an_end(client: Client) -> None:
    """Two thousand million EEKs are no reason to die."""
    answer = client.call("GET", "key/k/_eek?eek_op=generate&num_keys=2147483647")
    assert answer.status in (400, 413, 500, 503)


def test_pipelining(server: Httpd) -> None:
    requests = b""
    for i in range(20):
        body = b'{"name": "piped-%d", "length": 128}' % i
        requests += b"POST /kms/v1/keys?user.name=u HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" \
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        requests += b"GET /kms/v1/key/piped-%d/_metadata?user.name=u HTTP/1.1\r\nHost: x\r\n\r\n" % i
    requests += b"GET /kms/v1/keys/names HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = parse_answers(raw(server.port, requests))
    assert [a.status for a in answers] == [201, 200] * 20 + [401]
    for i in range(20):
        assert answers[2 * i].json()["name"] == answers[2 * i + 1].json()["name"] == f"piped-{i}"


def test_a_body_that_nobody_reads_is_not_the_next_request(server: Httpd) -> None:
    """A refused request's body must not be taken for a request on the same connection."""
    smuggled = b"DELETE /kms/v1/key/k?user.name=u HTTP/1.1\r\nHost: x\r\n\r\n"
    for path in (b"/kms/v1/keys", b"/kms/v1/nothing?user.name=u", b"/kms/v1/keys/names?user.name=u"):
        data = raw(server.port, b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n%sGET /kms/v1/keys/names HTTP/1.1\r\nHost: x\r\n"
                   b"Connection: close\r\n\r\n" % (path, len(smuggled), smuggled))
        assert len(parse_answers(data)) == 2
    # Two lengths, or a length beside chunks, are refused or resolved in the standard's way, never as two requests.
    data = raw(server.port, CREATE.replace("\n", "\r\n").encode() + b"Host: x\r\nContent-Length: 5\r\n"
               b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled)
    assert Client(server.port).current("k").status == 200


def test_common_headers(client: Client) -> None:
    for answer in (client.names(), client.roll("no-such-key"), client.call("GET", "keys/names", user=None)):
        assert answer.header("Cache-Control") == "no-cache"
        assert answer.header("Pragma") == "no-cache"
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("X-XSS-Protection") == "1; mode=block"
        assert len([k for k, _ in answer.headers if k.lower() == "content-type"]) == 1
