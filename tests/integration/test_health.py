# SPDX-License-Identifier: Apache-2.0
"""/kms/health on a real httpd: every state that makes it red or yellow, and the way back to green."""
from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import threading
import time

import pytest
from client import Answer, Client
from harness import Httpd, is_root, wait_for


def health(server: Httpd, query: str = "", method: str = "GET") -> Answer:
    """From a new connection each time, so that any of the children answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, "/kms/health" + query)
    got = connection.getresponse()
    answer = Answer(got.status, got.reason, got.getheaders(), got.read())
    connection.close()
    return answer


def becomes(server: Httpd, status: int, component: str | None = None) -> list[dict]:
    """Waits until several looks in a row, which meet several children, agree; gives the reasons."""
    def agree():
        answers = [health(server) for _ in range(12)]
        if any(a.status != status for a in answers):
            return None
        reasons = answers[0].json()["reasons"]
        if component is not None and component not in {r["component"] for r in reasons}:
            return None
        return answers
    answers = wait_for(f"health {status} {component}", agree, 30)
    for answer in answers:
        body = answer.json()
        assert body["status"] == {200: "ok", 429: "degraded", 503: "failing"}[status]
        assert (answer.header("Retry-After") is None) == (status == 200)
        # Whoever asks learns no name of a file, a host or a key.
        assert "/" not in re.sub(r"\d{4}-[0-9T:-]+Z", "", json.dumps(body)), body
        for reason in body["reasons"]:
            assert set(reason) == {"component", "state", "since", "text"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", reason["since"])
    return answers[0].json()["reasons"]


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
    assert Client(httpd.port).create("k", length=128).status == 201
    good = httpd.area.keystore.read_bytes()
    httpd.area.keystore.write_bytes(good[:100])
    (reason,) = becomes(httpd, 429, "keystore")
    assert "last good state" in reason["text"]
    httpd.area.keystore.write_bytes(good)
    httpd.area.give(httpd.area.keystore)
    becomes(httpd, 200)


@contextlib.contextmanager
def tiny_disk(path):
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", str(path)],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("no tmpfs can be mounted here: " + mounted.stderr)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.skipif(not is_root(), reason="mounts a disk")
def test_audit_disk_full(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0401", "KMS0402", "KMS0601"}
    with tiny_disk(httpd.area.path / "audit") as disk:
        httpd.audit_log = disk / "kms-audit.log"
        httpd.start()
        client = Client(httpd.port)
        assert client.names().status == 200
        becomes(httpd, 200)
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
            while True:
                f.write(b"x" * 512)
        wait_for("a failing request", lambda: client.names().status == 503)
        (reason,) = becomes(httpd, 503, "audit")
        assert reason["state"] == "failing"
        filler.unlink()
        becomes(httpd, 200)  # without any request: the log is tried every few seconds
        assert client.names().status == 200
        httpd.stop()


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
