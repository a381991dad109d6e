# SPDX-License-Identifier: Apache-2.0
"""A token that fails under load: it dies and comes back, its PIN is changed, it gives four sessions. Each prints its figures."""
from __future__ import annotations

import re
import time

import pytest
from client import Client
from harness import Httpd, wait_for
from hsm import PIN, Decrypts, Token, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not here: {missing()}")


@pytest.fixture
def client(httpd: Httpd) -> Client:
    return Client(httpd.port, fresh=True)


def made_eek(client: Client) -> dict:
    assert client.create("k").status == 201
    return client.generate("k").json()[0]


def test_token_dies_and_comes_back(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_server()
    token.use(httpd)
    httpd.start()
    children = set(httpd.child_pids())
    eek = made_eek(client)
    with Decrypts(httpd, eek) as load:
        httpd.expect("KMS0141", "KMS0142")
        httpd.allow("KMS0148", "KMS0161", "KMS0601")
        token.kill_server()
        wait_for("refusals", lambda: load.seen["refused"] > 20, 30)
        assert client.metadata("k").status == 200  # which needs no token
        assert client.create("other").status == 503
        token.start_server()
        seconds = load.healthy_after(time.monotonic())
    print(load.figures("p11-kit server killed and restarted", seconds))
    assert set(load.seen) == {"good", "refused"}
    # Each child has its own connection, and finds out for itself.
    wait_for("all children", lambda: all(client.decrypt(eek).status == 200 for _ in range(20)), 30)
    assert children <= set(httpd.child_pids()), "a child died"
    assert client.roll("k").status == 200


def test_pin_is_changed(httpd: Httpd, token: Token, client: Client) -> None:
    token.use(httpd)
    # No child comes in between: it would log in with the old PIN.
    httpd.children = "StartServers 2\nServerLimit 2\nThreadsPerChild 10\nMaxRequestWorkers 20\nMinSpareThreads 1\n" \
        "MaxSpareThreads 20\n"
    httpd.start()
    eek = made_eek(client)
    with Decrypts(httpd, eek) as load:
        token.change_pin(PIN, "new-5678")
        load.serve()
        assert set(load.seen) == {"good"}, "log-ins stay"
        token.set_pin("new-5678")
        begun = time.monotonic()
        httpd.graceful()
        seconds = load.healthy_after(begun)
    print(load.figures("PIN changed, then the file and a reload", seconds))
    assert set(load.seen) <= {"good", "refused"}
    assert client.roll("k").status == 200


def test_pin_is_changed_and_the_token_lost(httpd: Httpd, token: Token, client: Client) -> None:
    """The file still has the old PIN: it is tried, not again, and the new one serves from the reload on."""
    token.with_server()
    token.use(httpd)
    httpd.start()
    eek = made_eek(client)
    children = len(httpd.child_pids())
    with Decrypts(httpd, eek) as load:
        token.change_pin(PIN, "new-5678")
        httpd.expect("KMS0141", "KMS0147")
        httpd.allow("KMS0142", "KMS0148", "KMS0161", "KMS0601")
        token.kill_server()
        wait_for("refusals", lambda: load.seen["refused"] > 20, 30)
        token.start_server()
        wait_for("the refusal of the PIN", lambda: "KMS0147" in httpd.log_text(), 30)
        time.sleep(2)  # whoever would try again does it by now
        tries = len(re.findall(r"KMS0147: .*\(0xa0\)", httpd.log_text()))  # CKR_PIN_INCORRECT
        assert tries == 1, "a token locks after a few"
        assert client.decrypt(eek).status == 503
        token.set_pin("new-5678")
        begun = time.monotonic()
        httpd.graceful()
        seconds = load.healthy_after(begun)
    print(load.figures(f"PIN changed and token lost ({tries} tries by {children} children), then a reload", seconds))
    assert set(load.seen) == {"good", "refused"}
    assert client.roll("k").status == 200


def test_four_sessions(httpd: Httpd, token: Token, client: Client) -> None:
    token.with_faults()
    (token.faults / "sessions").write_text("4")
    token.use(httpd)
    httpd.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 20\nMaxRequestWorkers 20\nMinSpareThreads 1\n" \
        "MaxSpareThreads 20\n"
    httpd.start()
    httpd.allow("KMS0145", "AH00484")  # few workers are left, which connections that end may take for a moment
    eek = made_eek(client)
    with Decrypts(httpd, eek, clients=16) as load:
        begun = time.monotonic()
        load.serve(1000)
        seconds = load.healthy_after(begun)
    print(load.figures("four sessions for 16 clients", seconds))
    assert set(load.seen) == {"good"}
