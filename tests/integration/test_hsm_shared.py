# SPDX-License-Identifier: Apache-2.0
"""Keys in a token that many nodes share, their metadata in PostgreSQL: two httpds with several children each."""
from __future__ import annotations

import collections
import json
import threading
import time

import hsm
import kmsctl
import postgres as database
import pytest
from children import CHILDREN
from client import Client
from harness import OPEN_KEY_ACLS, Area, Httpd, wait_for
from hsm import Token
from hsm_children import make_and_use
from postgres import USUAL, Postgres
from test_trustee import soon, trustee

pytestmark = pytest.mark.skipif(bool(hsm.missing()) or database.missing(), reason="no token or no PostgreSQL server here")
REFUSED = "java.lang.UnsupportedOperationException"


@pytest.fixture(scope="module")
def server():
    with Postgres() as it:
        yield it


class Cluster:
    """Nodes on one token and one new store, which is sealed by a file or by a key of that token."""

    def __init__(self, registry, area: Area, server: Postgres, sealed_by: str = "file") -> None:
        self.registry, self.area, self.server, self.sealed_by = registry, area, server, sealed_by
        self.token = Token(area)
        self.database = server.database()
        self.configure()
        if sealed_by == "token":
            self.kmsctl("seal", "setup", exit_status=0)
            self.token.give()
        self.kmsctl("store", "init", exit_status=0)
        self.nodes = [registry.httpd(area, name) for name in ("first", "second")]

    def configure(self, **trustee: str) -> None:
        self.trustee = {"hadoop.kms.trustee." + name.replace("_", "."): value for name, value in trustee.items()}
        if self.sealed_by == "token":
            self.trustee |= {"hadoop.kms.trustee.seal.key-file": "", "hadoop.kms.trustee.seal.hsm.key": "kms-seal"}
        self.use(Httpd.__new__(Httpd))

    def use(self, httpd: Httpd) -> None:
        httpd.__dict__.setdefault("usual", set())
        self.token.use(httpd, timeout_ms=2000, site={
            **self.server.properties(self.area, self.database), **self.trustee,
            "hadoop.kms.key.provider.uri": "hsm://generic",
            "hadoop.kms.hsm.metadata.uri": self.server.uri(self.database)})
        httpd.usual |= USUAL | {"KMS0165"}

    def start(self) -> list[Client]:
        """A connection for each request: so they go to all children."""
        for node in self.nodes:
            self.use(node)
            node.children = CHILDREN
            node.start()
        return [Client(node.port, fresh=True) for node in self.nodes]

    def kmsctl(self, *words: str, exit_status: int | None = None) -> kmsctl.Done:
        return kmsctl.run(*words, "--conf", self.area.conf, exit_status=exit_status, **self.token.environment)

    def status(self) -> dict:
        return json.loads(self.kmsctl("hsm", "status", "--json").out)

    def clean(self) -> bool:
        return self.kmsctl("hsm", "reconcile").status == 0


@pytest.fixture
def cluster(request, registry, area: Area, server: Postgres):
    it = Cluster(registry, area, server, getattr(request, "param", "file"))
    yield it
    for node in it.nodes:
        node.stop()
    it.token.close()


def versions_of(client: Client, name: str) -> set[str]:
    return {eek["versionName"] for eek in client.generate(name, 3).json()}


@pytest.mark.parametrize("cluster", ["file", "token"], indirect=True)
def test_life_of_a_key_on_two_nodes(cluster: Cluster) -> None:
    cluster.area.write_acls({**OPEN_KEY_ACLS, "keytrustee.kms.acl.UNDELETE": "*", "keytrustee.kms.acl.PURGE": "*"})
    a, b = cluster.start()
    assert b.metadata("k").json() == {}
    made = a.create("k", length=256, description="d", attributes={"x": "y"})
    assert made.status == 201 and made.json() == {"name": "k", "versionName": "k@0", "material": None}
    assert b.create("k").status == 500
    soon("the key", lambda: b.metadata("k").json().get("description") == "d")
    eeks = a.generate("k", 20).json()
    deks = [a.decrypt(eek).json()["material"] for eek in eeks]
    assert len(set(deks)) == 20 and [b.decrypt(eek).json()["material"] for eek in eeks] == deks
    for client in (a, b):
        for answer in (client.current("k"), client.version("k@0"), client.versions("k")):
            assert answer.status == 400 and answer.exception() == REFUSED
    # Every child of both has EEKs ready by now, and none of them is given out after the roll.
    for client in (a, b):
        for _ in range(12):
            assert versions_of(client, "k") == {"k@0"}
    assert a.roll("k").json() == {"name": "k", "versionName": "k@1", "material": None}
    assert all(versions_of(a, "k") == {"k@1"} for _ in range(12))
    soon("the roll", lambda: versions_of(b, "k") == {"k@1"})
    fresh = b.reencrypt_batch("k", [{**eek, "encryptedKeyVersion": {**eek["encryptedKeyVersion"], "name": "k"}}
                                    for eek in eeks]).json()
    assert {eek["versionName"] for eek in fresh} == {"k@1"}
    assert [a.decrypt(eek).json()["material"] for eek in fresh] == deks
    assert b.invalidate("k").status == 200
    # Cookies of one are good for the other, as with trustee://.
    cookie = {"Cookie": a.names().cookie()}
    assert b.call("GET", "keys/names", headers=cookie, user=None).status == 200
    # Deleted, had back, gone for good with its objects.
    assert a.delete("k").status == 200
    soon("the deletion", lambda: b.generate("k").status == 500)
    assert cluster.status()["good"] == 2
    assert trustee(b, "k", "trusteeOp=undelete").status == 200
    soon("the return", lambda: a.decrypt(fresh[0]).json().get("material") == deks[0])
    assert b.delete("k").status == 200 and trustee(b, "k", "trusteeOp=purge").status == 200
    assert cluster.status()["good"] == 0 and cluster.clean()
    assert cluster.kmsctl("store", "status").status == 0
    assert cluster.kmsctl("seal", "validate").status == 0
    doctor = cluster.kmsctl("hsm", "doctor", exit_status=0)
    assert "trial key" in doctor.out and cluster.server.uri(cluster.database) in doctor.out


class Load:
    """Creates and rolls on a node until it is told to end. What was answered with success must be there."""

    def __init__(self, port: int, mine: int) -> None:
        self.mine, self.client = mine, Client(port, fresh=True)
        self.made: list[str] = []
        self.statuses: collections.Counter = collections.Counter()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        i = 0
        while not self.stop.is_set():
            i += 1
            for call in (lambda n: self.client.create(n), lambda n: self.client.roll(n), lambda _: self.client.roll("all")):
                try:
                    answer = call(f"load-{self.mine}-{i}")
                except OSError:
                    self.statuses["lost"] += 1
                    time.sleep(0.05)
                    continue
                self.statuses[answer.status] += 1
                if answer.status in (200, 201):
                    self.made.append(answer.json()["versionName"])

    def end(self) -> None:
        self.stop.set()
        self.thread.join()


def test_a_node_dies_in_the_middle_of_creates(cluster: Cluster) -> None:
    cluster.configure(timeout_ms="2000")
    a, b = cluster.start()
    first, second = cluster.nodes
    assert a.create("all").status == 201
    loads = [Load(node.port, 2 * i + j) for i, node in enumerate(cluster.nodes) for j in range(2)]
    try:
        for _ in range(3):
            counts = [len(load.made) for load in loads]
            wait_for("keys", lambda c=counts: all(len(load.made) > n + 5 for load, n in zip(loads, c)), 60)
            first.kill()
            first.start()
    finally:
        for load in loads:
            load.end()
    print([dict(load.statuses) for load in loads])
    # A roll that meets another one again and again is refused; one whose key's creation was lost finds none.
    assert set().union(*(load.statuses for load in loads)) <= {200, 201, 500, 503, "lost"}
    for node in cluster.nodes:
        # SoftHSM fails C_GenerateKey now and then while another process writes; the child logs in anew.
        node.allow("KMS0164", "KMS0601", "KMS0141", "KMS0142")
    wait_for("both sides to be the same", cluster.clean, 90)
    made = {version for load in loads for version in load.made}
    assert len(made) == sum(len(load.made) for load in loads), "a version was made twice"
    names = set(a.names().json())
    assert {version.rsplit("@", 1)[0] for version in made} <= names
    status = cluster.status()
    assert status["good"] >= len(made) and (status["pending"], status["orphan"], status["missing"]) == (0, 0, 0)
    for name in sorted(names)[::7]:
        assert a.generate(name).status == 200 and b.generate(name).status == 200


def test_what_one_child_makes_all_others_use(cluster: Cluster) -> None:
    cluster.start()
    make_and_use(cluster.nodes, makers=4, rounds=5)
    assert cluster.clean()


def test_from_a_database_into_the_hsm(cluster: Cluster) -> None:
    """The same database under trustee:// first: what there is stays usable, what is new is in the HSM."""
    node = cluster.nodes[0]
    node.usual |= USUAL
    cluster.server.configure(cluster.area, cluster.database)
    node.start()
    client = Client(node.port, fresh=True)
    assert client.create("old", length=256).status == 201
    eek = client.generate("old").json()[0]
    dek = client.decrypt(eek).json()["material"]
    node.stop()
    cluster.use(node)
    node.start()
    assert client.decrypt(eek).json()["material"] == dek
    assert client.generate("old").json()[0]["versionName"] == "old@0"
    assert client.current("old").exception() == REFUSED
    status = cluster.kmsctl("hsm", "status", "--json")
    assert status.status == 0 and status.json["software"] == 1
    assert client.roll("old").json()["material"] is None
    fresh = client.reencrypt(eek).json()
    assert fresh["versionName"] == "old@1" and client.decrypt(fresh).json()["material"] == dek
    assert (cluster.status()["software"], cluster.status()["good"]) == (1, 1)
    # Back to trustee:// the old version serves, and the new one says where it is.
    node.stop()
    cluster.server.configure(cluster.area, cluster.database)
    node.start()
    assert client.decrypt(eek).json()["material"] == dek
    refused = client.decrypt(fresh)
    assert refused.status == 500 and "is in an HSM" in refused.message()
    assert client.roll("old").status == 500 and "is in an HSM" in client.generate("old").message()


def test_configtest(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    cluster.use(node)
    status, text = node.configtest()
    assert status == 0, text
    site = node.area.conf / "kms-site.xml"
    good = site.read_text()
    uri = cluster.server.uri(cluster.database)
    for old, new, part in ((f"<value>{uri}</value>", "<value>jceks://file@/x</value>", "is no trustee://"),
                           ("hsm://generic", "hsm://generic@/tmp/kms.hsm", "one of them says where they are"),
                           ("hsm://generic", "hsm://nobody", "no profile 'nobody'"),
                           ("<value>hsm://generic</value>", f"<value>{uri}</value>", "which is of a provider hsm://PROFILE only"),
                           ("hadoop.kms.hsm.metadata.uri", "hadoop.kms.hsm.other", "hadoop.kms.hsm.metadata.uri is not set"),
                           (f"/{cluster.database}", "/none", "none")):
        assert good.count(old) == 1, old
        site.write_text(good.replace(old, new))
        status, text = node.configtest()
        assert status != 0 and part in text, text


def test_the_database_goes_and_comes_back(cluster: Cluster, server: Postgres) -> None:
    cluster.configure(timeout_ms="1000")
    a, b = cluster.start()
    assert a.create("k").status == 201
    soon("the key", lambda: all(c.generate("k").status == 200 for c in (a, b)))
    for node in cluster.nodes:
        node.expect("KMS0131", "KMS0132")
        node.allow("KMS0370", "KMS0311", "KMS0601")
    server.stop(2)
    try:
        wait_for("a refusal", lambda: a.create("other").status == 503, 20)
        for client in (a, b):  # a child that has not used the key cannot know it
            statuses = [client.generate("k").status for _ in range(12)]
            assert 200 in statuses and set(statuses) <= {200, 503}
    finally:
        server.start()
    wait_for("changes", lambda: b.create("other").status == 201, 30)
    wait_for("both nodes", lambda: all(c.roll("k").status == 200 for c in (a, b)), 30)
    assert cluster.clean()
