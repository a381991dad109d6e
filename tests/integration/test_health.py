# SPDX-License-Identifier: Apache-2.0
"""/kms/health on a real httpd: status, access, and the files that make it yellow; test_health_parts.py has the other parts."""
from __future__ import annotations

import threading
import time

import pytest
from children import every_child
from client import Client
from harness import Httpd, wait_for
from health_checks import becomes, health


@pytest.mark.smoke
def test_good(httpd: Httpd) -> None:
    httpd.start()
    answer = health(httpd)
    assert (answer.status, answer.json()) == (200, {"status": "ok", "reasons": []})
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Cache-Control") == "no-store"
    head = health(httpd, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("Content-Length") == answer.header("Content-Length")
    assert health(httpd, method="POST").status == 405


def test_acls(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0204", "KMS0205"}
    httpd.start()
    httpd.area.write("kms-acls.xml", "<configuration><property>")
    (reason,) = becomes(httpd, 429, "acls")
    assert reason["state"] == "degraded"
    # For balancers that know only up and down.
    assert health(httpd, "?degraded=200").status == 200
    assert health(httpd, "?degraded=200").json()["status"] == "degraded"
    assert health(httpd, "?degraded=503").status == 503
    assert health(httpd, "?degraded=418").status == 429
    assert health(httpd, method="HEAD").status == 429
    assert Client(httpd.port).names().status == 200
    httpd.area.write_acls({"default.key.acl.READ": "*"})
    becomes(httpd, 200)
    (httpd.area.conf / "kms-acls.xml").unlink()
    becomes(httpd, 429, "acls")
    httpd.area.write_acls({"default.key.acl.READ": "*"})
    becomes(httpd, 200)


def test_keystore_gone_and_back(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0107", "KMS0108", "KMS0109", "KMS0112", "KMS0113", "KMS0316", "KMS0324", "KMS0325", "KMS0327",
                      "KMS0328", "KMS0601"}
    httpd.start()
    client = Client(httpd.port)
    assert client.create("k", length=128).status == 201
    away = httpd.area.path / "away"
    httpd.area.store.rename(away)
    becomes(httpd, 429, "keystore")
    assert client.metadata("k").status == 200  # from memory
    away.rename(httpd.area.store)
    becomes(httpd, 200)
    assert client.create("l", length=128).status == 201


def test_keystore_damaged(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0107", "KMS0109"}
    httpd.start()
    client = Client(httpd.port, fresh=True)
    assert client.create("k", length=128).status == 201
    # A child that has not read it yet would know of a change that it cannot read.
    every_child(httpd, "key/k/_metadata", lambda: client.metadata("k"))
    good = httpd.area.keystore.read_bytes()
    httpd.area.keystore.write_bytes(good[:100])
    (reason,) = becomes(httpd, 429, "keystore")
    assert "last good state" in reason["text"]
    httpd.area.keystore.write_bytes(good)
    httpd.area.give(httpd.area.keystore)
    becomes(httpd, 200)


def test_secret_file_unreadable(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0360", "KMS0361", "KMS0362"}
    secret = httpd.area.write("secret", "some-secret")
    httpd.directives.append(f"KMSSignatureSecretFile {secret}")
    httpd.start()
    becomes(httpd, 200)
    secret.unlink()
    (reason,) = becomes(httpd, 429, "signer")
    assert "secret" in reason["text"]
    httpd.area.write("secret", "some-secret")
    becomes(httpd, 200)


def test_administrators_see_details(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0205"}
    httpd.area.write_site({"hadoop.kms.http.administrators": "root"})
    httpd.directives.append("KMSPageAccess health users")
    httpd.start()
    (httpd.area.conf / "kms-acls.xml").unlink()
    root = Client(httpd.port, "root")
    wait_for("health 429", lambda: root.call("GET", "/kms/health").status == 429)
    assert root.call("GET", "/kms/health").json()["reasons"][0]["detail"] == str(httpd.area.conf / "kms-acls.xml")
    other = Client(httpd.port, "other")
    wait_for("health 429", lambda: other.call("GET", "/kms/health").status == 429)
    assert "detail" not in other.call("GET", "/kms/health").json()["reasons"][0]
    assert health(httpd).status == 401


def test_answers_under_load(httpd: Httpd) -> None:
    """While every worker but a few makes keys, health does not wait for the keystore."""
    httpd.start()
    stop = threading.Event()

    def create(n: int) -> None:
        client = Client(httpd.port)
        i = 0
        while not stop.is_set():
            assert client.create(f"k{n}-{i}", length=128).status == 201
            i += 1
    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            begin = time.monotonic()
            assert health(httpd).status == 200
            assert time.monotonic() - begin < 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()
