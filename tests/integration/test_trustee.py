# SPDX-License-Identifier: Apache-2.0
"""Keys in PostgreSQL: two nodes, each an httpd with several children, on one database over TLS."""
from __future__ import annotations

import os
import signal
import threading
import time

import kmsctl
import pytest
from audit_faults import ONE_CHILD
from client import Answer, Client
from harness import OPEN_KEY_ACLS, PASSWORD, Area, Httpd, serving_account, wait_for
from postgres import ROLE, USUAL, Postgres, certificate, missing
from tls import openssl

pytestmark = pytest.mark.skipif(missing(), reason="no PostgreSQL server here")


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as it:
        yield it


@pytest.fixture
def store(postgres: Postgres, area: Area) -> Area:
    """An area whose keys are in a database of the test's own."""
    postgres.configure(area, postgres.database())
    postgres.initialize(area)
    return area


def node(registry, area: Area, name: str) -> Httpd:
    it = registry.httpd(area, name)
    it.usual |= USUAL
    return it


@pytest.fixture
def pair(registry, store: Area) -> list[Httpd]:
    return [node(registry, store, "first").start(), node(registry, store, "second").start()]


def soon(what: str, condition) -> None:
    """What one node changed each child of the other one sees within a second; a busy machine gets a moment more."""
    begin = time.monotonic()
    in_a_row = 0
    while in_a_row < 12 or time.monotonic() - begin < 1:
        in_a_row = in_a_row + 1 if condition() else 0
        assert in_a_row > 0 or time.monotonic() - begin < 2.5, what


def test_life_of_a_key_on_two_nodes(pair: list[Httpd]) -> None:
    # A connection for each request: so they go to all children.
    a, b = (Client(s.port, fresh=True) for s in pair)
    for i in range(4):
        name = f"life-{i}"
        assert b.metadata(name).body == b"{ }"
        made = a.create(name, length=256, description="d", attributes={"x": "y"})
        assert made.status == 201
        for _ in range(8):
            assert a.current(name).json() == made.json()
        soon("the new key", lambda: b.current(name).json() == made.json())
        metadata = b.metadata(name).json()
        assert (metadata["length"], metadata["description"], metadata["versions"]) == (256, "d", 1)
        assert metadata["attributes"] == {"x": "y", "key.acl.name": name}
        eek = b.generate(name).json()[0]
        rolled = b.roll(name).json()
        assert rolled["versionName"] == f"{name}@1"
        for _ in range(8):
            assert b.current(name).json() == rolled
            assert b.version(f"{name}@0").json() == made.json()
        soon("the new version", lambda: a.current(name).json() == rolled)
        assert a.decrypt(eek).json() == b.decrypt(eek).json()
        again = a.reencrypt(eek).json()
        assert again["versionName"] == f"{name}@1"
        assert a.decrypt(again).json() == b.decrypt(eek).json()
        batch = a.reencrypt_batch(name, b.generate(name, 3).json() + [eek])
        assert [e["versionName"] for e in batch.json()] == [f"{name}@1"] * 4
        assert [v["versionName"] for v in a.versions(name).json()] == [f"{name}@0", f"{name}@1"]
        assert name in a.names().json() and name in b.names().json()
        assert a.roll(name).status == 200
        assert b.invalidate(name).status == 200
        assert b.generate(name).json()[0]["versionName"] == f"{name}@2"
        assert b.delete(name).status == 200
        for _ in range(8):
            assert b.metadata(name).body == b"{ }"
        soon("the deletion", lambda: a.metadata(name).body == b"{ }")
        assert a.generate(name).status == 500 and name not in a.names().json()
        a, b = b, a


def test_races_over_http(pair: list[Httpd]) -> None:
    """Each name has one maker; each roll gives a version of its own."""
    creates: dict[str, list[int]] = {f"race-{i}": [] for i in range(25)}
    Client(pair[0].port).create("turns")
    rolls: list[str] = []
    lock = threading.Lock()

    def work(server: Httpd) -> None:
        client = Client(server.port)
        for name, statuses in creates.items():
            status = client.create(name).status
            version = client.roll("turns").json()["versionName"]
            with lock:
                statuses.append(status)
                rolls.append(version)

    threads = [threading.Thread(target=work, args=(pair[i % 2],)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert all(sorted(statuses) == [201, 500, 500, 500] for statuses in creates.values()), creates
    assert sorted(rolls, key=lambda v: int(v.split("@")[1])) == [f"turns@{i}" for i in range(1, 101)]
    for server in pair:
        client = Client(server.port)
        client.invalidate("turns")
        assert len(client.versions("turns").json()) == 101
    # Each success has its line.
    lines = [line for s in pair for line in s.audit_lines()]
    assert sum("OK[op=CREATE_KEY, key=race-" in line for line in lines) == 25
    assert sum("OK[op=ROLL_NEW_VERSION, key=turns" in line for line in lines) == 100


def test_database_is_killed_and_comes_back(registry, postgres: Postgres, area: Area) -> None:
    postgres.configure(area, postgres.database(), {"timeout.ms": "1000", "stale-reads.ms": "8000"})
    postgres.initialize(area)
    it = node(registry, area, "first")
    it.children = ONE_CHILD  # so that what is in memory does not depend on who takes a connection
    it.start()
    client = Client(it.port, fresh=True)
    client.create("kept")
    eek = client.generate("kept").json()[0]
    plain = client.decrypt(eek).json()
    it.expect("KMS0131", "KMS0132")
    it.allow("KMS0311", "KMS0370", "KMS0601")
    postgres.crash()
    killed = time.monotonic()
    assert client.create("lost").status == 503
    refused = client.roll("kept")
    assert refused.status == 503 and refused.header("Retry-After") == "5"
    served = 0
    while time.monotonic() < killed + 4:
        served += client.decrypt(eek).json() == plain
    assert served > 10
    # The bound, and the second that every look is good for.
    wait_for("the end of the reads", lambda: client.decrypt(eek).status == 503, 30)
    assert time.monotonic() - killed > 7
    postgres.start()
    wait_for("the database", lambda: client.decrypt(eek).status == 200, 30)
    assert client.decrypt(eek).json() == plain
    assert client.metadata("kept").json()["versions"] == 1
    assert client.metadata("lost").body == b"{ }"
    assert client.roll("kept").status == 200


def test_graceful_restart_without_the_database(registry, postgres: Postgres, store: Area) -> None:
    """apachectl refuses, since configtest does; the signal alone, as of logrotate, must not end the server."""
    it = node(registry, store, "first").start()
    client = Client(it.port, fresh=True)
    client.create("before")
    it.expect("KMS0130", "KMS0132")
    it.allow("KMS0131", "KMS0311", "KMS0370", "KMS0601")
    postgres.stop(signal.SIGINT)
    status, text = it.configtest()
    assert status != 0 and "trustee://" in text and postgres.password not in text
    before = it.generations()
    assert it.process is not None
    it.process.send_signal(signal.SIGUSR1)
    wait_for("the new generation", lambda: it.generations() > before, 30)
    wait_for("an answer", lambda: client.create("during").status == 503, 30)
    postgres.start()
    wait_for("the database", lambda: client.generate("before").status == 200, 30)
    wait_for("the children", lambda: "KMS0132" in it.log_text(), 20)


def test_what_configtest_says(registry, postgres: Postgres, area: Area) -> None:
    database = postgres.database()
    postgres.configure(area, database)
    it = node(registry, area, "first")

    def refusal() -> str:
        status, text = it.configtest()
        assert status != 0 and postgres.password not in text
        return text

    assert "run 'kmsctl store init'" in refusal()
    postgres.initialize(area)
    assert it.configtest()[0] == 0
    area.write("seal.key", b"T" * 32).chmod(0o600)
    assert "is not the one that the store is sealed with" in refusal()
    area.write("seal.key", b"S" * 32)
    assert "others may read or change it" in refusal()
    area.write("seal.key", b"S" * 32).chmod(0o600)
    area.write("db.password", b"wrong").chmod(0o600)
    assert "password authentication failed" in refusal()
    postgres.configure(area, database, {"ssl.root-cert": ""})
    assert "ssl.root-cert must name" in refusal()
    certificate(area.path / "other.key", area.conf / "other-ca.pem")
    postgres.configure(area, database, {"ssl.root-cert": "other-ca.pem"})
    assert "certificate verify failed" in refusal()
    postgres.configure(area, database, {"require-synchronous-standby": "true"})
    assert "synchronous_standby_names is empty" in refusal()
    postgres.configure(area, database)
    assert it.configtest()[0] == 0


def test_a_client_certificate(registry, postgres: Postgres, area: Area) -> None:
    """Instead of a password, where the server wants one. libpq takes a key file of root's that its group may read."""
    database = postgres.database()
    key, cert = area.conf / "db-client.key", area.conf / "db-client.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={ROLE}", "-days", 2,
            "-keyout", key, "-out", cert)
    key.chmod(0o600)
    if (account := serving_account()) is not None:
        os.chown(key, 0, account.pw_gid)
        key.chmod(0o640)
    trusted = postgres.path / "clients.pem"
    trusted.write_bytes(cert.read_bytes())
    rules = postgres.data / "pg_hba.conf"
    rules.write_text(f"hostssl {database} {ROLE} 127.0.0.1/32 cert\n" + rules.read_text())
    postgres.sql(f"ALTER SYSTEM SET ssl_ca_file = '{trusted}'")
    postgres.sql("SELECT pg_reload_conf()")
    wait_for("the rule", lambda: postgres.sql("SHOW ssl_ca_file") == str(trusted))
    postgres.configure(area, database)
    wait_for("the refusal", lambda: "client certificate" in kmsctl.run("store", "init", "--conf", area.conf).err)
    postgres.configure(area, database, {"password-file": "", "ssl.cert": cert.name, "ssl.key": key.name})
    postgres.initialize(area)
    it = node(registry, area, "first").start()
    assert Client(it.port).create("k").status == 201


def test_nothing_of_a_key_is_readable_in_the_database(registry, postgres: Postgres, store: Area) -> None:
    it = node(registry, store, "first").start()
    material = "c2VjcmV0c2VjcmV0ISEhIQ"
    Client(it.port).create("hidden", length=128, material=material)
    database = f"kms{postgres.databases}"
    rows = postgres.sql("SELECT encode(sealed, 'escape') || encode(sealed, 'hex') FROM kms_key_version", database)
    assert rows and "secretsecret" not in rows and b"secretsecret".hex() not in rows
    postgres.sql("CHECKPOINT")
    for file in (postgres.data / "pg_wal").iterdir():
        if file.is_file():
            assert b"secretsecret!!!!" not in file.read_bytes()


def trustee(client: Client, name: str, query: str = "", form: str | None = None, **headers: str) -> Answer:
    """POST /kms/v1/trustee/key/NAME."""
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    return client.call("POST", f"trustee/key/{name}?{query}", form, headers)


def test_deleted_keys(registry, store: Area) -> None:
    store.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "keeper", "keytrustee.kms.acl.PURGE": "keeper,purger"})
    a, b = (node(registry, store, name).start() for name in ("first", "second"))
    user, keeper, purger = (Client(a.port, name, fresh=True) for name in ("u", "keeper", "purger"))
    other = Client(b.port, "u", fresh=True)
    for name in ("gone", "stays"):
        assert user.create(name, description=f"is {name}").status == 201
    user.roll("gone")
    eek = user.generate("gone").json()[0]
    plain = user.decrypt(eek).json()
    assert user.delete("gone").status == 200
    soon("the deletion", lambda: other.decrypt(eek).status != 200)
    assert user.metadata("gone").body == b"{ }" and "gone" not in user.names().json()
    refused = user.create("gone")
    assert refused.status == 500 and "it was deleted, and is kept until it is purged" in refused.body.decode()

    # Nobody without the ACL, not even the one who deleted it.
    for query in ("trusteeOp=undelete", "trusteeOp=purge"):
        assert trustee(user, "gone", query).status == 403
    assert user.call("GET", "trustee/keys").status == 403
    assert trustee(purger, "gone", "trusteeOp=undelete").status == 403
    for client in (keeper, purger):
        listed = client.call("GET", "trustee/keys").json()
        assert [(k["name"], k["versions"], k["description"]) for k in listed] == [("gone", 2, "is gone")]
        assert listed[0]["deleted"] >= listed[0]["created"] and "material" not in listed[0]
    # Mistakes, and what a page in a browser could send.
    for query in ("", "trusteeOp=", "trusteeOp=delete", "trusteeop=undelete"):
        assert trustee(keeper, "gone", query).status == 400
    assert trustee(keeper, "gone", "trusteeOp=undelete", form="trusteeOp=purge").status == 400
    assert trustee(keeper, "gone", "trusteeOp=undelete", Origin="https://elsewhere.example").status == 400
    assert trustee(keeper, "never", "trusteeOp=undelete").status == 500
    assert keeper.call("GET", "trustee/key/gone").status == 405

    assert trustee(keeper, "gone", "trusteeOp=undelete").status == 200
    assert trustee(keeper, "gone", "trusteeOp=undelete").status == 500
    assert user.decrypt(eek).json() == plain
    soon("the key", lambda: other.decrypt(eek).json() == plain)
    assert trustee(purger, "gone", "trusteeOp=purge").status == 500  # it is no deleted key
    assert user.delete("gone").status == 200
    assert trustee(purger, "gone", form="trusteeOp=purge").status == 200
    assert keeper.call("GET", "trustee/keys").json() == []
    assert trustee(keeper, "gone", "trusteeOp=undelete").status == 500
    assert user.create("gone").status == 201 and user.decrypt(eek).status != 200

    lines = a.audit_lines()
    for op, key, who in (("DELETE_KEY", "gone", "u"), ("UNDELETE_KEY", "gone", "keeper"), ("PURGE_KEY", "gone", "purger")):
        assert any(f"OK[op={op}, key={key}, user={who}]" in line for line in lines), (op, lines)
    assert any("UNAUTHORIZED[op=PURGE_KEY, key=gone, user=u]" in line for line in lines)
    assert any("UNAUTHORIZED[op=GET_DELETED_KEYS, user=u]" in line for line in lines)


def test_the_key_acl_of_a_deleted_key(registry, store: Area) -> None:
    store.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "*", "keytrustee.kms.acl.PURGE": "*",
                      "key.acl.owned.MANAGEMENT": "owner"})
    it = node(registry, store, "first").start()
    owner, other = Client(it.port, "owner"), Client(it.port, "other")
    assert owner.create("named", attributes={"key.acl.name": "owned"}).status == 201
    assert owner.delete("named").status == 200
    assert other.call("GET", "trustee/keys").json() == []
    assert [k["name"] for k in owner.call("GET", "trustee/keys").json()] == ["named"]
    for op in ("undelete", "purge"):
        assert trustee(other, "named", f"trusteeOp={op}").status == 403
    assert trustee(owner, "named", "trusteeOp=undelete").status == 200


def test_a_keystore_file_keeps_no_deleted_keys(registry, area: Area) -> None:
    it = registry.httpd(area, "file").start()
    client = Client(it.port)
    client.create("k")
    client.delete("k")
    assert trustee(client, "k", "trusteeOp=undelete").status == 403
    it.stop()
    area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "*", "keytrustee.kms.acl.PURGE": "*"})
    it = registry.httpd(area, "again").start()
    client = Client(it.port)
    for answer in (trustee(client, "k", "trusteeOp=undelete"), trustee(client, "k", "trusteeOp=purge"),
                   client.call("GET", "trustee/keys")):
        assert answer.status == 400
        assert answer.json()["RemoteException"]["exception"] == "UnsupportedOperationException"


def test_kmsctl_and_deleted_keys(registry, postgres: Postgres, area: Area) -> None:
    postgres.configure(area, postgres.database(), {"deleted.retention.days": "7"})
    done = kmsctl.run("store", "init", "--conf", area.conf, "--json", exit_status=0)
    assert (done.json["version"], done.json["keys"]) == (done.json["newest"], 0)
    area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "*", "keytrustee.kms.acl.PURGE": "*"})
    it = node(registry, area, "first").start()
    rest = ["--url", f"http://127.0.0.1:{it.port}/kms", "--user", "u"]
    kmsctl.run("key", "create", "invoices", *rest, exit_status=0)
    kmsctl.run("key", "delete", "--yes", "invoices", *rest, exit_status=0)
    listed = kmsctl.run("key", "list", "--deleted", *rest, exit_status=0)
    assert "invoices" in listed.out
    assert "invoices" not in kmsctl.run("key", "list", *rest, exit_status=0).out
    kmsctl.run("key", "undelete", "invoices", *rest, exit_status=0)
    kmsctl.run("key", "delete", "--yes", "invoices", *rest, exit_status=0)
    assert "nothing is purged without --yes" in kmsctl.run("key", "purge", "invoices", *rest, exit_status=2).err
    assert "less than 7 days ago" in kmsctl.run("key", "purge", "--yes", "invoices", *rest).err
    status = kmsctl.run("store", "status", "--conf", area.conf, "--json", exit_status=0).json
    assert (status["keys"], status["deleted"], status["versions"]) == (0, 1, 1)
    kmsctl.run("store", "upgrade", "--conf", area.conf, exit_status=0)
    it.stop()
    it.directives.append("KMSProperty hadoop.kms.trustee.deleted.retention.days 0")
    it.start()
    kmsctl.run("key", "purge", "--yes", "invoices", *rest, exit_status=0)
    assert kmsctl.run("key", "list", "--deleted", "--json", *rest, exit_status=0).json["deleted_keys"] == []


def test_migration_both_ways(registry, postgres: Postgres, store: Area) -> None:
    from_file = registry.httpd(registry.area(), "file").start()
    client = Client(from_file.port)
    for i in range(5):
        assert client.create(f"moved-{i}", description=f"number {i}", attributes={"n": str(i)}).status == 201
        for _ in range(i):
            client.roll(f"moved-{i}")
    names = client.names().json()
    metadata = {name: client.metadata(name).json() for name in names}
    versions = {name: client.versions(name).json() for name in names}
    from_file.stop()
    password = store.write("pw", PASSWORD)
    uri = postgres.uri(f"kms{postgres.databases}")
    there = ["migrate", "--conf", store.conf, "--from", from_file.area.keystore, "--to", uri, "--from-password-file", password,
             "--json"]

    def states(*more: str) -> set[str]:
        return {key["state"] for key in kmsctl.run(*there, *more, exit_status=0).json["keys"]}

    assert states("--dry-run") == {"would_copy"}
    assert states() == {"copied"}
    assert states() == {"already_there"}
    it = node(registry, store, "first").start()
    client = Client(it.port)
    assert client.names().json() == names
    for name in names:
        assert client.metadata(name).json() == metadata[name]
        assert client.versions(name).json() == versions[name]
    assert client.roll(names[0]).status == 200
    rolled = client.versions(names[0]).json()
    it.stop()
    back = store.store / "back.keystore"
    kmsctl.run("migrate", "--conf", store.conf, "--from", uri, "--to", back, "--to-password-file", password, exit_status=0)
    store.keystore = back
    store.give(back)
    store.write_password(PASSWORD)
    store.write_site({})
    it = registry.httpd(store, "back").start()
    client = Client(it.port)
    assert client.names().json() == names and client.versions(names[0]).json() == rolled
    assert client.metadata(names[3]).json() == metadata[names[3]]
