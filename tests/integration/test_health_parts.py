# SPDX-License-Identifier: Apache-2.0
"""What /kms/health says of keystore, tokens, cookie secrets, audit log and maintenance when each is ill, and when it is well again."""
from __future__ import annotations

import os
import re
import signal

import pytest
from audit_faults import ONE_CHILD, SmallDisk
from children import every_child
from client import Client
from harness import BUILD, DATA, PASSWORD, Httpd, is_root, wait_for
from health_checks import becomes
from kmsctl import run
from preload import preload
from tokens import get

NOT_ROOT = pytest.mark.skipif(not is_root(), reason="httpd's user has to be another one")


def metric(server: Httpd, component: str) -> str:
    """The state that /prom shows."""
    text = Client(server.port).call("GET", "/prom").body.decode()
    (state,) = re.findall(rf'^kms_health{{component="{component}",state="(\w+)"}} 1$', text, re.M)
    return state


@NOT_ROOT
def test_keystore_changed_by_another_server_and_unreadable(httpd: Httpd) -> None:
    """Old keys would be a lie then: somebody may have rolled them."""
    httpd.allow("KMS0107", "KMS0109", "KMS0601")
    httpd.start()
    client = Client(httpd.port)
    assert client.create("k", length=128).status == 201
    # A child that has not read it yet would know of a change that it cannot read.
    every_child(httpd, "key/k/_metadata", lambda c=Client(httpd.port, fresh=True): c.metadata("k"))
    os.chown(httpd.area.keystore, 0, 0)
    (reason,) = becomes(httpd, 429, "keystore")
    assert "last good state is served" in reason["text"] and client.metadata("k").status == 200
    passwords = [httpd.area.path / name for name in ("none", "ours")]
    for path, password in zip(passwords, ("none", PASSWORD)):
        path.write_text(password)
        path.chmod(0o600)
    run("migrate", "--from", DATA / "jceks" / "attrs256.jceks", "--to", httpd.area.keystore, "--from-password-file",
        passwords[0], "--to-password-file", passwords[1], exit_status=0)
    (reason,) = becomes(httpd, 503, "keystore")
    assert "keys are refused" in reason["text"] and metric(httpd, "keystore") == "failing"
    assert client.metadata("k").status == client.names().status == 503
    httpd.area.give(httpd.area.keystore)
    becomes(httpd, 200)
    assert client.names().json() == ["finance-key", "k"] and metric(httpd, "keystore") == "ok"


def test_keystore_in_a_folder_that_became_read_only(httpd: Httpd) -> None:
    """As when the kernel mounts a disk with errors read-only: without a change that fails."""
    httpd.allow("KMS0110", "KMS0601")
    httpd.start()
    client = Client(httpd.port)
    assert client.create("k", length=128).status == 201
    httpd.area.store.chmod(0o555)
    (reason,) = becomes(httpd, 429, "keystore")
    assert "read-only" in reason["text"] and metric(httpd, "keystore") == "degraded"
    assert client.roll("k").status >= 500 and client.metadata("k").status == 200
    httpd.area.store.chmod(0o700)
    becomes(httpd, 200)  # a failed change that this explains is forgotten with it
    assert client.roll("k").status == 200


def test_keystore_on_a_full_disk(httpd: Httpd) -> None:
    httpd.allow("KMS0110", "KMS0601")
    httpd.children = ONE_CHILD
    with SmallDisk(httpd, audit=False) as disk:
        httpd.area.write_site({"hadoop.kms.key.provider.uri": f"jceks://file@{disk.folder('store')}/kms.keystore"})
        httpd.start()
        client = Client(httpd.port)
        assert client.create("k", length=128).status == 201
        with disk.full():
            assert client.create("l", length=128).status >= 500
            (reason,) = becomes(httpd, 429, "keystore")
            assert "last change" in reason["text"] and client.metadata("k").status == 200
        assert client.create("l", length=128).status == 201
        becomes(httpd, 200)
        httpd.stop()


@pytest.mark.parametrize("how", ["whole", "half"])
def test_keystore_after_a_recovery(httpd: Httpd, how: str) -> None:
    """While it is mended at the start nobody is answered; from the first answer on all is well."""
    httpd.start()
    assert Client(httpd.port).create("k", length=128).status == 201
    httpd.stop()
    httpd.allow("KMS0102", "KMS0103", "KMS0104", "KMS0105")
    content = httpd.area.keystore.read_bytes()
    httpd.area.keystore.rename(httpd.area.store / "kms.keystore_OLD")
    new = httpd.area.store / "kms.keystore_NEW"
    new.write_bytes(content if how == "whole" else content[:len(content) // 2])
    new.chmod(0o600)
    httpd.area.give(new)
    httpd.start()
    becomes(httpd, 200)
    assert Client(httpd.port).roll("k").status == 200


def test_tokens_on_a_full_disk(httpd: Httpd) -> None:
    httpd.allow("KMS0324", "KMS0325", "KMS0601")
    httpd.children = ONE_CHILD
    with SmallDisk(httpd, audit=False) as disk:
        httpd.directives.append(f"KMSTokenFile {disk.folder('tokens')}/journal")
        httpd.start()
        client = Client(httpd.port)
        assert get(client, "u").status == 200
        with disk.full():
            wait_for("a token that is refused", lambda: get(client, "u").status == 503)
            (reason,) = becomes(httpd, 429, "tokens")
            assert "token journal" in reason["text"] and metric(httpd, "tokens") == "degraded"
            assert client.names().status == 200
        assert get(client, "u").status == 200
        becomes(httpd, 200)
        httpd.stop()


def test_tokens_that_a_child_cannot_open(httpd: Httpd) -> None:
    httpd.allow("AH00052", "KMS0324", "KMS0325", "KMS0508", "KMS0601")
    httpd.children = ONE_CHILD
    folder = httpd.area.path / "tokens"
    folder.mkdir(mode=0o700)
    httpd.area.give(folder)
    httpd.directives.append(f"KMSTokenFile {folder}/journal")
    httpd.start()
    becomes(httpd, 200)
    folder.chmod(0)
    os.kill(httpd.child_pids()[0], signal.SIGKILL)
    (reason,) = becomes(httpd, 503, "tokens")
    assert "tokens are refused" in reason["text"] and metric(httpd, "tokens") == "failing"
    client = Client(httpd.port)
    assert get(client, "u").status == 503 and client.names().status == 200
    folder.chmod(0o700)
    becomes(httpd, 200)
    assert get(client, "u").status == 200


@pytest.mark.skipif("#define HAVE_ZOOKEEPER 1" not in (BUILD / "config.h").read_text(), reason="built without ZooKeeper")
def test_zookeeper_was_never_reached(httpd: Httpd) -> None:
    """What happens when it goes later is in test_zookeeper.py, with real servers."""
    httpd.allow("KMS0331", "KMS0333", "KMS0334", "KMS0340", "KMS0508", "KMS0601", "KMS0311")
    httpd.directives.append("KMSPageAccess prom all")  # nobody can authenticate
    signer = "hadoop.kms.authentication.signer.secret.provider"
    httpd.area.write_site({signer: "zookeeper", f"{signer}.zookeeper.auth.type": "none", f"{signer}.zookeeper.path": "/secrets",
                           f"{signer}.zookeeper.connection.string": "127.0.0.1:1"})
    httpd.start()
    (reason,) = becomes(httpd, 503, "signer")
    assert "no cookie secrets" in reason["text"] and metric(httpd, "signer") == "failing"


@pytest.mark.parametrize("durability, status", [("write", 503), ("fsync", 503), ("none", 429)])
def test_audit_on_a_full_disk(httpd: Httpd, durability: str, status: int) -> None:
    httpd.allow("KMS0401", "KMS0402", "KMS0601")
    httpd.directives.append(f"KMSAuditDurability {durability}")
    with SmallDisk(httpd) as disk:
        httpd.start()
        client = Client(httpd.port)
        wait_for("a green page", lambda: client.names().status == 200 and becomes(httpd, 200) == [])
        with disk.full():
            wait_for("a failing write", lambda: client.names().status == 503 or "KMS0401" in httpd.log_text())
            (reason,) = becomes(httpd, status, "audit")
            assert reason["state"] == metric(httpd, "audit") == {503: "failing", 429: "degraded"}[status]
            assert client.names().status == {503: 503, 429: 200}[status]
        becomes(httpd, 200)  # without any request: the log is tried every few seconds
        assert client.names().status == 200
        httpd.stop()


def test_maintenance_that_hangs(httpd: Httpd) -> None:
    """A dead network disk holds the thread that looks at files; requests go on, and the page says that it may be old."""
    hold = httpd.area.path / "hold"
    preload(httpd, "slow_stat.c", KMS_TEST_HOLD=str(hold))
    httpd.start()
    becomes(httpd, 200)
    hold.touch()
    try:
        (reason,) = becomes(httpd, 429, "maintenance", 90)
        assert "hangs" in reason["text"] and metric(httpd, "maintenance") == "degraded"
        assert Client(httpd.port).names().status == 200
    finally:
        hold.unlink()
    becomes(httpd, 200)
