# SPDX-License-Identifier: Apache-2.0
"""Keys that come into a token from another keystore: old EEKs go on until they are re-encrypted and their versions forgotten."""
from __future__ import annotations

import json
import os
import signal

import kmsctl
import postgres
import pytest
from children import every_child
from client import Client
from harness import Area, Httpd, wait_for
from health_checks import becomes
from hsm import Token, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not here: {missing()}")
COUNT = 6


@pytest.fixture
def client(httpd: Httpd) -> Client:
    return Client(httpd.port, fresh=True)


class Move:
    """A KMS whose keys are elsewhere, with EEKs of two versions of k and of one of m; then the same KMS on a token."""

    def __init__(self, area: Area, httpd: Httpd, token: Token, client: Client, previous: str) -> None:
        self.area, self.httpd, self.token, self.client, self.previous = area, httpd, token, client, previous
        httpd.start()
        assert client.create("k", length=128, description="d", attributes={"a": "b"}).status == 201
        assert client.create("m", length=256).status == 201
        self.eeks = {"k@0": client.generate("k", COUNT).json(), "m@0": client.generate("m", COUNT).json()}
        assert client.roll("k").status == 200
        self.eeks["k@1"] = client.generate("k", COUNT).json()
        self.deks = {name: self.decrypt(eeks) for name, eeks in self.eeks.items()}
        self.metadata = client.metadata("k").json()

    def decrypt(self, eeks: list[dict]) -> list[str]:
        return [self.client.decrypt(eek).json()["material"] for eek in eeks]

    def hsm(self, command: str, *words: object, status: int = 0) -> dict:
        done = kmsctl.run("hsm", command, "--conf", self.area.conf, "--json", *words, exit_status=status,
                          **self.token.environment)
        return done.json

    def states(self, *words: object, status: int = 0) -> dict[str, str]:
        return {key["name"]: key["state"] for key in self.hsm("adopt", *words, status=status)["keys"]}

    def outside(self) -> dict[str, int]:
        """Versions, and when they were last used."""
        return {version["name"]: version["last_use_ms"] for key in self.hsm("status")["keys"]
                for version in key["versions"] if version["outside"]}

    def switch(self, site: dict[str, str]) -> None:
        """The new configuration is there while the old one serves; only then the restart."""
        self.token.use(self.httpd, site={**site, "hadoop.kms.hsm.previous.uri": self.previous})
        assert self.states("--dry-run") == {"k": "would-adopt", "m": "would-adopt"}
        assert self.states("k") == {"k": "adopted"}
        assert self.states() == {"k": "already-there", "m": "adopted"}
        assert self.decrypt(self.eeks["k@1"]) == self.deks["k@1"]
        self.httpd.stop()
        self.httpd.start()

    def reencrypt_all(self) -> None:
        for name, current in (("k", "k@2"), ("m", "m@1")):
            old = [version for version in self.eeks if version.startswith(name)]
            batch = [{**eek, "encryptedKeyVersion": {**eek["encryptedKeyVersion"], "name": name}}
                     for version in old for eek in self.eeks[version]]
            fresh = self.client.reencrypt_batch(name, batch).json()
            assert {eek["versionName"] for eek in fresh} == {current}
            assert self.decrypt(fresh) == [dek for version in old for dek in self.deks[version]]

    def run(self, site: dict[str, str]) -> None:
        self.switch(site)
        client = self.client
        assert {name: self.decrypt(eeks) for name, eeks in self.eeks.items()} == self.deks
        metadata = client.metadata("k").json()
        assert metadata == {**self.metadata, "versions": 3}
        for answer in (client.version("k@0"), client.versions("k"), client.current("k")):
            assert answer.status == 400 and answer.exception() == "java.lang.UnsupportedOperationException"
            assert answer.message().endswith("cannot be read: this KMS keeps its keys in an HSM")
        assert client.generate("k").json()[0]["versionName"] == "k@2"
        self.reencrypt_all()
        wait_for("a date of use", lambda: any(self.outside().values()))
        self.httpd.stop()
        used = self.outside()
        assert used.keys() == self.eeks.keys() and all(used.values())
        self.httpd.start()
        # Used a moment ago, so only by force, and one by one.
        refused = kmsctl.run("hsm", "forget", "--conf", self.area.conf, "--yes", "k@0", **self.token.environment)
        assert refused.status != 0 and "k@0 was used within the last 7 days" in refused.err
        assert kmsctl.run("hsm", "forget", "--conf", self.area.conf, "k@0", **self.token.environment).status == 2
        for left, version in ((2, "k@0"), (1, "m@0"), (0, "k@1")):
            self.hsm("forget", "--yes", "--unused-days", 0, version)
            assert len(self.outside()) == left
            answer = client.decrypt(self.eeks[version][0])
            assert answer.status == 400 and f"'{version}' not found" in answer.message()
        text = kmsctl.run("hsm", "status", "--conf", self.area.conf, exit_status=0, **self.token.environment).out
        assert "No version is outside" in text and "hadoop.kms.hsm.previous.uri can be taken out" in text


@pytest.fixture
def from_file(area: Area, httpd: Httpd, token: Token, client: Client) -> Move:
    return Move(area, httpd, token, client, f"jceks://file@{area.keystore}")


def test_from_a_keystore_file(from_file: Move, httpd: Httpd, token: Token) -> None:
    from_file.run({})
    httpd.stop()
    from_file.area.keystore.unlink()
    token.use(httpd)
    httpd.start()
    assert from_file.client.generate("m").json()[0]["versionName"] == "m@1"


@pytest.mark.skipif(postgres.missing(), reason="no PostgreSQL server here")
def test_from_a_database(area: Area, httpd: Httpd, token: Token, client: Client) -> None:
    with postgres.Postgres() as server:
        name = server.database()
        site = server.properties(area, name)
        area.write_site(site)
        server.initialize(area)
        httpd.usual |= postgres.USUAL
        move = Move(area, httpd, token, client, site.pop("hadoop.kms.key.provider.uri"))
        # Neither what may not be used now, nor what was deleted, becomes a key that may.
        assert client.create("held", length=128, attributes={"kms.key.state": "pre-active"}).status == 201
        token.use(httpd, site={**site, "hadoop.kms.hsm.previous.uri": move.previous})
        assert move.states("--dry-run", status=5)["held"] == "refused"
        assert client.delete("held").status == 200
        move.run(site)
        httpd.stop()


def test_previous_keystore_is_away(from_file: Move, httpd: Httpd, area: Area) -> None:
    from_file.switch({})
    hidden = area.store / "hidden"
    area.keystore.rename(hidden)
    status, text = httpd.configtest()
    assert status != 0 and "hadoop.kms.hsm.previous.uri, which has 3 versions" in text
    # It is in memory, until a reload that somebody forces.
    assert from_file.decrypt(from_file.eeks["k@0"]) == from_file.deks["k@0"]
    httpd.allow("KMS0170", "KMS0171", "KMS0601")
    before = httpd.generations()
    os.kill(httpd.pid, signal.SIGUSR1)
    wait_for("the new generation", lambda: httpd.generations() > before)
    becomes(httpd, 429, "keystore")
    answer = from_file.client.decrypt(from_file.eeks["m@0"][0])
    assert answer.status == 503 and "m@0 is not in the HSM" in answer.message()
    eek = from_file.client.generate("m").json()[0]
    assert from_file.client.decrypt(eek).status == 200
    hidden.rename(area.keystore)
    every_child(httpd, "eek_op=decrypt", lambda: from_file.client.decrypt(from_file.eeks["m@0"][0]))
    becomes(httpd, 200)
    assert from_file.decrypt(from_file.eeks["m@0"]) == from_file.deks["m@0"]


def test_rolled_after_it_was_adopted(from_file: Move, httpd: Httpd, token: Token) -> None:
    token.use(httpd, site={"hadoop.kms.hsm.previous.uri": from_file.previous})
    assert from_file.states() == {"k": "adopted", "m": "adopted"}
    # The old KMS serves still, and somebody rolls.
    assert from_file.client.roll("k").json()["versionName"] == "k@2"
    late = from_file.client.generate("k").json()[0]
    dek = from_file.decrypt([late])
    httpd.stop()
    assert from_file.states(status=1) == {"k": "rolled-since", "m": "already-there"}
    for command in ("status", "doctor"):
        report = from_file.hsm(command, status=1)
        assert report["late"] == 1
        assert [each["label"] for each in report["findings"] if each["kind"] == "late"] == ["k@2"]
    httpd.allow("KMS0174")
    status, text = httpd.configtest()
    assert status == 0 and "KMS0174" in text and "of these names: k@2" in text
    httpd.start()
    wait_for("each child to say it", lambda: httpd.log_text().count("KMS0174") >= 2)
    # Why it is said: nobody can tell from the answer.
    assert from_file.client.decrypt(late).status == 200 and from_file.decrypt([late]) != dek
    assert from_file.decrypt(from_file.eeks["k@1"]) == from_file.deks["k@1"]


def test_property_is_missing(from_file: Move, httpd: Httpd, token: Token) -> None:
    from_file.switch({})
    token.use(httpd)
    status, text = httpd.configtest()
    assert status != 0
    assert f"{token.metadata} has 3 versions" in text and "hadoop.kms.hsm.previous.uri does not name that" in text
    done = kmsctl.run("hsm", "status", "--conf", from_file.area.conf, "--json", exit_status=0, **token.environment)
    assert sum(version["outside"] for key in json.loads(done.out)["keys"] for version in key["versions"]) == 3
    missing_source = kmsctl.run("hsm", "adopt", "--conf", from_file.area.conf, **token.environment)
    assert missing_source.status == 2 and "--from" in missing_source.err
    again = kmsctl.run("hsm", "adopt", "--conf", from_file.area.conf, "--from", from_file.area.keystore, "--json",
                       exit_status=0, **token.environment)
    assert {key["state"] for key in again.json["keys"]} == {"already-there"}
    token.use(httpd, previous_uri="jceks://file@/elsewhere/kms.keystore")
    other = kmsctl.run("hsm", "adopt", "--conf", from_file.area.conf, "--from", from_file.area.keystore, **token.environment)
    assert other.status != 0 and "old versions would not be found" in other.err
