# SPDX-License-Identifier: Apache-2.0
"""Keys in a token: the whole API, what is refused, a token that goes and comes back, a library that hangs."""
from __future__ import annotations

import json
import os
import subprocess
import threading
import time

import pytest
from children import CHILDREN
from client import Client, unbase64
from harness import BUILD, Httpd, wait_for
from hsm import KIND, Token, missing
from hsm_children import make_and_use

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not here: {missing()}")
REFUSED = "java.lang.UnsupportedOperationException"


@pytest.fixture
def client(httpd: Httpd) -> Client:
    return Client(httpd.port, fresh=True)


def material(eek: dict) -> str:
    return eek["encryptedKeyVersion"]["material"]


def test_life_of_a_key(httpd: Httpd, token: Token, client: Client) -> None:
    token.use(httpd)
    httpd.start()
    made = client.create("k", length=256, description="d", attributes={"a": "b"})
    assert made.status == 201 and made.json() == {"name": "k", "versionName": "k@0", "material": None}
    eeks = client.generate("k", 20).json()
    assert len(eeks) == 20 and {len(unbase64(material(eek))) for eek in eeks} == {32}
    # Every child can, as each takes some of the connections.
    deks = [client.decrypt(eek).json()["material"] for eek in eeks]
    assert len(set(deks)) == 20 and deks == [client.decrypt(eek).json()["material"] for eek in eeks]
    rolled = client.roll("k")
    assert rolled.status == 200 and rolled.json() == {"name": "k", "versionName": "k@1", "material": None}
    fresh = client.reencrypt_batch("k", [{**eek, "encryptedKeyVersion": {**eek["encryptedKeyVersion"], "name": "k"}}
                                         for eek in eeks]).json()
    assert {eek["versionName"] for eek in fresh} == {"k@1"}
    assert [client.decrypt(eek).json()["material"] for eek in fresh] == deks
    # None that a child has made in advance is of the old version.
    assert {client.generate("k").json()[0]["versionName"] for _ in range(20)} == {"k@1"}
    one = client.reencrypt(eeks[0]).json()
    assert material(one) == material(fresh[0]) != material(eeks[0])
    metadata = client.metadata("k").json()
    assert (metadata["length"], metadata["versions"], metadata["description"]) == (256, 2, "d")
    assert metadata["attributes"]["a"] == "b"
    assert client.names().json() == ["k"]
    assert client.invalidate("k").status == 200
    # A restart finds all of it again.
    httpd.stop()
    httpd.start()
    assert [client.decrypt(eek).json()["material"] for eek in fresh[:3]] == deks[:3]
    assert client.delete("k").status == 200
    assert client.metadata("k").json() == {} and client.generate("k").status == 500
    lines = "\n".join(httpd.audit_lines())
    assert "OK[op=CREATE_KEY, key=k, user=u]" in lines and "OK[op=DELETE_KEY, key=k, user=u]" in lines


def test_material_is_refused_both_ways(httpd: Httpd, token: Token, client: Client) -> None:
    token.use(httpd)
    httpd.start()
    given = client.create("k", length=128, material="AAECAwQFBgcICQoLDA0ODw")
    assert given.status == 400 and given.exception() == REFUSED and "not taken" in given.message()
    assert client.metadata("k").json() == {}
    assert client.create("k", length=128).status == 201
    assert client.roll("k", material="AAECAwQFBgcICQoLDA0ODw").exception() == REFUSED
    for answer in (client.current("k"), client.version("k@0"), client.versions("k")):
        assert answer.status == 400 and answer.exception() == REFUSED
        assert answer.message() == "The material of k@0 cannot be read: this KMS keeps its keys in an HSM"
    assert client.create("l", length=512).status == 400
    assert client.create("l", cipher="HmacSHA256", length=256).exception() == REFUSED
    assert client.metadata("k").json()["versions"] == 1
    # What does not exist is answered as ever.
    assert client.current("none").json() == {} and client.versions("none").json() == []


def generate_without_token(httpd: Httpd, token: Token, client: Client) -> list[dict]:
    """EEKs that were ready when the token went: as many as there were. It is away afterwards."""
    for attempt in range(20):
        assert client.generate("k").status == 200  # which has some made in advance, soon
        time.sleep(0.02 * attempt)
        token.kill_server()
        eeks = []
        while (answer := client.generate("k")).status == 200:
            eeks += answer.json()
        assert answer.status == 503
        if len(eeks) > 1:
            return eeks
        token.start_server()
        wait_for("the token", lambda: client.generate("k").status == 200, 30)
    raise AssertionError("nothing is made in advance")


def test_eeks_made_in_advance(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_server()
    token.use(httpd, site={"hadoop.security.kms.encrypted.key.cache.size": "40",
                           "hadoop.security.kms.encrypted.key.cache.low.watermark": "0.5"})
    httpd.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 10\nMaxRequestWorkers 10\nMinSpareThreads 1\n" \
        "MaxSpareThreads 10\n"
    httpd.start()
    httpd.expect("KMS0141", "KMS0142")
    httpd.allow("KMS0148", "KMS0161", "KMS0601")
    assert client.create("k").status == 201
    eeks = generate_without_token(httpd, token, client)
    assert len(eeks) <= 40
    token.start_server()
    wait_for("the token", lambda: client.decrypt(eeks[0]).status == 200, 30)
    deks = {client.decrypt(eek).json()["material"] for eek in eeks}
    assert len(deks) == len(eeks) == len({eek["iv"] for eek in eeks})
    # A deleted and made anew key has its own.
    assert client.delete("k").status == 200 and client.generate("k").status == 500
    assert client.create("k").status == 201
    again = client.generate("k", 100).json()
    assert len({client.decrypt(eek).json()["material"] for eek in again}) == 100
    httpd.stop()
    token.use(httpd, site={"hadoop.security.kms.encrypted.key.cache.low.watermark": "30"})
    status, text = httpd.configtest()
    assert status != 0 and "low.watermark: value '30' is no fraction above 0 and up to 1" in text


def test_library_that_hangs(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_faults()
    token.use(httpd, timeout_ms=1000, sessions=4)
    httpd.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 10\nMaxRequestWorkers 10\nMinSpareThreads 1\n" \
        "MaxSpareThreads 10\n"
    httpd.start()
    assert client.create("k").status == 201
    eek = client.generate("k").json()[0]
    httpd.expect("KMS0143", "KMS0144", "KMS0601")
    httpd.allow("AH00484")  # there are more requests than workers
    token.hold()
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(Client(httpd.port, fresh=True).decrypt(eek).status))
               for _ in range(30)]  # three times the workers
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [503] * 30
    assert time.monotonic() - begun < 20
    # Workers are free for what needs no token, and for refusals.
    begun = time.monotonic()
    assert client.metadata("k").status == 200
    assert time.monotonic() - begun < 5
    token.release()
    wait_for("decrypts again", lambda: client.decrypt(eek).status == 200, 30)


def test_httpd_ends_while_the_library_hangs(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_faults()
    token.use(httpd, timeout_ms=500)
    httpd.start()
    assert client.create("k").status == 201
    httpd.expect("KMS0143", "KMS0601")
    token.hold()
    assert client.generate("k").status == 503
    httpd.stop()  # which fails when it takes over 20 s


def wait_until_clean(httpd: Httpd, token: Token) -> None:
    """Every version in the token, and nothing else."""
    last = []

    def clean() -> bool:
        last[:] = [kmsctl(httpd, token, "status")]
        return last[0].returncode == 0

    try:
        wait_for("a clean token", clean, 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0].stdout}{last[0].stderr}") from None


@pytest.mark.skipif(KIND == "opencryptoki", reason="loses its token or a key when a process that uses it is killed: docs/hsm.md")
def test_crash_while_a_key_is_made(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_faults()
    token.use(httpd)
    httpd.start()
    assert client.create("k").status == 201
    token.hold()

    def create() -> None:
        try:
            Client(httpd.port, fresh=True).create("other")
        except OSError:
            pass

    thread = threading.Thread(target=create)
    thread.start()
    wait_for("the note of it", lambda: json.loads(token.metadata.read_text())["pending"])
    httpd.kill()
    thread.join()
    token.release()
    httpd.start()
    assert client.names().json() == ["k"]
    assert client.create("other").status == 201 and client.generate("other").status == 200
    wait_until_clean(httpd, token)


def test_what_one_child_makes_all_others_use(httpd: Httpd, token: Token) -> None:
    token.use(httpd)
    httpd.children = CHILDREN
    httpd.start()
    make_and_use([httpd], makers=3, rounds=5)
    wait_until_clean(httpd, token)


def test_configtest_logs_in(httpd: Httpd, token: Token) -> None:
    token.use(httpd)
    status, text = httpd.configtest()
    assert status == 0, text
    assert not token.metadata.exists()
    token.set_pin("wrong-one")
    status, text = httpd.configtest()
    assert status != 0 and "KMS0001" in text and "C_Login" in text
    assert f"{httpd.area.conf}/kms-site.xml:" in text and "hadoop.kms.key.provider.uri" in text
    assert "wrong-one" not in text
    token.set_pin("1234")
    token.pin_file.chmod(0o644)
    status, text = httpd.configtest()
    assert status != 0 and "may be read or changed by others" in text


def kmsctl(httpd: Httpd, token: Token, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([BUILD / "tools" / "kmsctl" / "kmsctl", "hsm", *words, "--conf", httpd.area.conf],
                          env={**os.environ, **token.environment}, capture_output=True, text=True, timeout=60, check=False)


def test_kmsctl(httpd: Httpd, token: Token, client: Client) -> None:
    token.use(httpd)
    httpd.children = CHILDREN
    httpd.start()
    # opencryptoki may lose a key that is made while another process logs in.
    wait_for("every child in the token", lambda: httpd.log_text().count("KMS0140") == 3)
    assert client.create("k").status == 201 and client.roll("k").status == 200 and client.create("l").status == 201
    doctor = kmsctl(httpd, token, "doctor")
    assert doctor.returncode == 0 and "trial key" in doctor.stdout, doctor.stdout + doctor.stderr
    assert "3 versions usable" in doctor.stdout
    report = json.loads(kmsctl(httpd, token, "status", "--json").stdout)
    assert (report["good"], report["missing"], report["orphan"]) == (3, 0, 0)
    # The file of before l was made, as of a restored backup: its object is an orphan.
    httpd.stop()
    state = json.loads(token.metadata.read_text())
    orphan = next(key for key in state["keys"] if key["name"] == "l")["objects"][0]["id"]
    state["keys"] = [key for key in state["keys"] if key["name"] != "l"]
    token.metadata.write_text(json.dumps(state))
    shown = kmsctl(httpd, token, "reconcile")
    assert shown.returncode == 1 and f"orphan  {orphan}" in shown.stdout, shown.stdout
    kept = next(key for key in state["keys"] if key["name"] == "k")["objects"][0]["id"]
    refused = kmsctl(httpd, token, "reconcile", "--destroy", kept)
    assert refused.returncode != 0 and "is no orphan" in refused.stderr
    assert kmsctl(httpd, token, "reconcile", "--destroy", orphan).returncode == 0
    assert json.loads(kmsctl(httpd, token, "status", "--json").stdout)["good"] == 2
