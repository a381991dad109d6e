# SPDX-License-Identifier: Apache-2.0
"""Two servers, each with its own children, on one keystore file."""
from __future__ import annotations

import threading

import pytest
from client import Client
from harness import Area, Httpd


@pytest.fixture
def pair(registry, area: Area) -> list[Httpd]:
    return [registry.httpd(area, "first").start(), registry.httpd(area, "second").start()]


@pytest.mark.smoke
def test_each_sees_the_other_at_once(pair: list[Httpd]) -> None:
    a, b = (Client(s.port) for s in pair)
    for i in range(10):
        name = f"pair-{i}"
        assert b.metadata(name).body == b"{ }"
        made = a.create(name).json()
        assert b.current(name).json() == made
        rolled = b.roll(name).json()
        assert a.current(name).json() == rolled
        assert a.generate(name).json()[0]["versionName"] == f"{name}@1"
        eek = b.generate(name).json()[0]
        assert a.decrypt(eek).json() == b.decrypt(eek).json()
        assert a.delete(name).status == 200
        assert b.metadata(name).body == b"{ }"
        assert b.generate(name).status == 500
        a, b = b, a


def test_no_create_is_lost_between_them(pair: list[Httpd]) -> None:
    made: dict[str, str] = {}
    failures: list[str] = []
    lock = threading.Lock()

    def work(server: Httpd, prefix: str) -> None:
        client = Client(server.port)
        for i in range(25):
            answer = client.create(f"{prefix}-{i}")
            with lock:
                if answer.status == 201:
                    made[f"{prefix}-{i}"] = answer.json()["material"]
                else:
                    failures.append(f"{answer.status}: {answer.body!r}")

    threads = [threading.Thread(target=work, args=(pair[i % 2], f"w{i}")) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not failures and len(made) == 100
    for server in pair:
        client = Client(server.port)
        assert set(client.names().json()) == set(made)
        assert all(client.current(name).json()["material"] == material for name, material in made.items())


def test_one_name_is_given_once(pair: list[Httpd]) -> None:
    """All ask for the same names; each name has one maker, and the others hear that it exists."""
    results: dict[str, list[int]] = {f"race-{i}": [] for i in range(15)}
    lock = threading.Lock()

    def work(server: Httpd) -> None:
        client = Client(server.port)
        for name in results:
            status = client.create(name).status
            with lock:
                results[name].append(status)

    threads = [threading.Thread(target=work, args=(pair[i % 2],)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert all(sorted(statuses) == [201, 500, 500, 500] for statuses in results.values()), results


def test_rolls_from_both_count_on(pair: list[Httpd]) -> None:
    clients = [Client(s.port) for s in pair]
    clients[0].create("rolled")
    versions: list[str] = []
    lock = threading.Lock()

    def work(client: Client) -> None:
        for _ in range(15):
            name = client.roll("rolled").json()["versionName"]
            with lock:
                versions.append(name)

    threads = [threading.Thread(target=work, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert sorted(versions, key=lambda v: int(v.split("@")[1])) == [f"rolled@{i}" for i in range(1, 31)]
    assert len(clients[0].versions("rolled").json()) == len(clients[1].versions("rolled").json()) == 31


def test_they_share_cookies_by_the_secret_file(registry, area: Area) -> None:
    secret = area.write("signature-secret", "a secret that both servers read\n")
    servers = [registry.httpd(area, "first"), registry.httpd(area, "second")]
    for s in servers:
        s.directives.append(f'KMSSignatureSecretFile "{secret}"')
        s.start()
    first, second = (Client(s.port) for s in servers)
    cookie = first.names().cookie()
    answer = second.call("GET", "keys/names", headers={"Cookie": cookie}, user=None)
    assert answer.status == 200 and answer.cookie() is None
