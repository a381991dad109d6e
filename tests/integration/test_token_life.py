# SPDX-License-Identifier: Apache-2.0
"""Delegation tokens over time and processes: several children and servers, restarts, crashes, expiry, new master keys.

Short lives come from the properties of the site file, so that nothing but the clock of the machine makes them end.
"""
from __future__ import annotations

import dataclasses
import os
import signal
import time

import pytest
from children import CHILDREN, clients_on_all_children
from client import Answer, Client
from harness import Area, Httpd, wait_for
from token_load import Holders
from tokens import INVALID, NOT_FOUND, Token, cancel, check_refused, issue, lifetimes, renew, use

DAY_MS = 86400000


def check_over(clients: list[Client], rounds: int) -> None:
    """Each step on another child or server, the look at it on all of them at once."""
    for i in range(rounds):
        at = [clients[(i + k) % len(clients)] for k in range(len(clients))]
        token = issue(at[0])
        assert [use(c, token).status for c in at] == [200] * len(at)
        assert renew(at[1], token).status == 200
        assert [use(c, token).status for c in at] == [200] * len(at)
        assert cancel(at[-1], token).status == 200
        for c in at:
            check_refused(use(c, token), NOT_FOUND)
            assert renew(c, token).reason.startswith(INVALID + "Renewal request for unknown token ")
            assert cancel(c, token).status == 404


@pytest.mark.smoke
def test_the_next_request_on_any_child_knows_it(httpd: Httpd) -> None:
    httpd.start()
    by_pid = clients_on_all_children(httpd, 3)
    assert len(by_pid) == 3 and set(by_pid) <= set(httpd.child_pids())
    check_over(list(by_pid.values()), 6)
    made = [Token.parse(issue(c)) for _ in range(5) for c in by_pid.values()]
    assert len({t.sequence for t in made}) == 15, "each has a number of its own"
    assert len({t.master_key_id for t in made}) == 1, "all children use one master key"


def test_two_servers_on_one_token_file(registry, area: Area) -> None:
    """Their own children, ports and restarts; the file is all they share."""
    pair = [registry.httpd(area, "first"), registry.httpd(area, "second")]
    for server in pair:
        server.directives.append(f'KMSTokenFile "{area.store}/shared-tokens"')
        server.start()
    check_over([Client(s.port) for s in pair], 6)
    tokens = [issue(Client(s.port)) for s in pair for _ in range(3)]
    pair[0].stop()
    gone = tokens.pop()
    assert cancel(Client(pair[1].port), gone).status == 200
    pair[0].start()
    first = Client(pair[0].port)
    check_refused(use(first, gone), NOT_FOUND)
    assert {use(first, t).status for t in tokens} == {200} == {renew(first, t).status for t in tokens}
    assert (area.store / "shared-tokens").stat().st_mode & 0o777 == 0o600
    assert not (area.store / "kms.keystore.tokens").exists()


# -- under load


@pytest.mark.slow
def test_graceful_and_plain_restarts_under_load(httpd: Httpd) -> None:
    httpd.start()
    with Holders([httpd]) as load:
        for _ in range(3):
            load.wait_for_more()
            httpd.graceful()
        load.wait_for_more()
    load.figures("graceful restarts")
    load.check(httpd)
    pids = {line.split()[0] for line in httpd.access_lines()}
    assert len(pids) > 3, "children of several generations"
    # The other kinds of restart cut connections off by design, so nobody calls meanwhile.
    before = httpd.generations()
    os.kill(httpd.pid, signal.SIGHUP)
    wait_for("the new generation", lambda: httpd.generations() > before)
    load.check(httpd)
    httpd.stop()
    httpd.start()
    load.check(httpd)


@pytest.mark.slow
def test_the_parent_is_killed_under_load(httpd: Httpd) -> None:
    httpd.start()
    with Holders([httpd], may_break=True) as load:
        load.wait_for_more()
        os.kill(httpd.pid, signal.SIGKILL)
        # The children serve on without it.
        load.wait_for_more(30)
        httpd.kill()
        httpd.start()
        load.wait_for_more()
    load.figures("parent killed")
    load.check(httpd)


@pytest.mark.slow
def test_everything_is_killed_under_load(registry, area: Area) -> None:
    """Several times, one of two servers on one file dies while it writes; the other goes on."""
    pair = [registry.httpd(area, "first").start(), registry.httpd(area, "second").start()]
    with Holders(pair, may_break=True) as load:
        for i in range(4):
            load.wait_for_more(30)
            pair[i % 2].kill()
            pair[i % 2].start()
        load.wait_for_more(30)
    load.figures("two servers, one killed")
    load.check(*pair)
    for server in pair:
        server.allow("KMS0321", "KMS0322", "KMS0323")  # what was half written is cut off
    numbers = [Token.parse(t).sequence for t in load.alive | load.dead]
    assert len(set(numbers)) == len(numbers), "no number twice"


def test_children_that_come_and_go(httpd: Httpd) -> None:
    httpd.children += "MaxConnectionsPerChild 15\n"
    httpd.start()
    first = set(httpd.child_pids())
    with Holders([httpd]) as load:
        wait_for("all first children to be replaced", lambda: load.failures or not first & set(httpd.child_pids()), 60)
        load.wait_for_more()
    load.figures("MaxConnectionsPerChild 15")
    load.check(httpd)


# -- time


def is_unknown(answer: Answer) -> bool:
    return answer.status == 403 and answer.message() == NOT_FOUND


def until_refused(client: Client, token: str, seconds: float = 20):
    """The first answer to a use that is not 200."""
    found = []

    def refused() -> bool:
        answer = use(client, token)
        if answer.status != 200:
            found.append(answer)
        return bool(found)
    wait_for("the token to expire", refused, seconds)
    return found[0]


def test_expiry_and_renewal(httpd: Httpd) -> None:
    # Each child removes what has expired once within its first 5 s, and then every hour: the token is to expire after that.
    httpd.children = CHILDREN
    httpd.area.write_site(lifetimes(renew=7, life=15))
    httpd.start()
    client = Client(httpd.port)
    token = issue(client)
    parsed = Token.parse(token)
    assert parsed.max_ms - parsed.issue_ms == 15000
    expired = until_refused(client, token)
    assert 7000 <= time.time() * 1000 - parsed.issue_ms
    check_refused(expired)
    assert expired.message().startswith(INVALID + "Token  has expired, current time: ")
    assert " expected renewal time: " in expired.message()
    # Its holder cannot cancel it any more. Its renewer makes it good again, as long as it is not removed.
    assert cancel(client, token).status == 404
    assert renew(client, token, "mallory").status == 403
    check_refused(use(client, token))
    before = time.time() * 1000
    until = renew(client, token).json()["long"]
    assert before + 6999 <= until <= min(parsed.max_ms, time.time() * 1000 + 7000)
    assert use(client, token).status == 200
    # Never beyond the end that was set at the issue.
    def last_renewal() -> bool:
        return renew(client, token).json()["long"] == parsed.max_ms
    wait_for("renewals that reach the end of the token", last_renewal)
    expired = until_refused(client, token)
    assert time.time() * 1000 > parsed.max_ms and "has expired" in expired.message()
    late = renew(client, token)
    assert late.status == 403
    assert late.reason.startswith(f"{INVALID}yarn tried to renew an expired token {parsed.said()} max expiration date: ")
    assert " currentTime: " in late.reason


def test_a_renewal_may_not_outlive_the_token(httpd: Httpd) -> None:
    httpd.area.write_site(lifetimes(renew=86400, life=100))
    httpd.start()
    client = Client(httpd.port)
    token = issue(client)
    assert renew(client, token).json()["long"] == Token.parse(token).max_ms


@pytest.mark.slow
def test_new_master_keys_and_purge(httpd: Httpd) -> None:
    """A key a second, each good as long as a token that it has made; what has expired is gone for good."""
    httpd.area.write_site(lifetimes(update=1, life=4, renew=4, scan=1))
    httpd.usual.add("KMS0310")
    httpd.start()
    clients = list(clients_on_all_children(httpd, 3).values())
    tokens: dict[int, str] = {}

    def one_more_key() -> bool:
        for client in clients:
            token = issue(client)
            parsed = Token.parse(token)
            tokens.setdefault(parsed.master_key_id, token)
            # All keys whose tokens are alive are there, on every child. 1 s for what a busy machine takes.
            for old in list(tokens.values()):
                if time.time() * 1000 < Token.parse(old).max_ms - 1000:
                    assert {use(c, old).status for c in clients} == {200} == {renew(c, old).status for c in clients}
        time.sleep(0.1)
        return len(tokens) >= 4
    wait_for("four master keys", one_more_key, 30)
    ids = list(tokens)
    assert ids == list(range(ids[0], ids[0] + len(ids))), "one after the other, one for all children"
    wait_for("the purge", lambda: all(is_unknown(use(c, t)) for c in clients for t in tokens.values()), 20)
    wait_for("its line", lambda: "KMS0310" in httpd.log_text())
    httpd.stop()
    httpd.start()
    client = Client(httpd.port)
    for token in tokens.values():
        check_refused(use(client, token), NOT_FOUND)


def test_the_purge_spares_what_is_alive(httpd: Httpd) -> None:
    httpd.area.write_site(lifetimes(renew=2, scan=1))
    httpd.usual.add("KMS0310")
    httpd.start()
    client = Client(httpd.port)
    left, kept = issue(client, "bob"), issue(client)

    def gone() -> bool:
        assert renew(client, kept).status == 200
        return is_unknown(use(client, left))
    wait_for("the token that nobody renews to be removed", gone, 30)
    assert use(client, kept).status == 200
    assert renew(client, left).reason == f"{INVALID}Renewal request for unknown token {Token.parse(left).said()}"


def test_other_lifetimes_than_at_the_issue(httpd: Httpd) -> None:
    """A token keeps the end that it was issued with; properties that have changed count for what comes after."""
    httpd.area.write_site(lifetimes(renew=3600, life=7200))
    httpd.start()
    token = issue(Client(httpd.port))
    httpd.stop()
    httpd.area.write_site(lifetimes(renew=60, life=120))
    httpd.start()
    client = Client(httpd.port)
    assert use(client, token).status == 200
    assert renew(client, token).json()["long"] < time.time() * 1000 + 61000
    young = Token.parse(issue(client))
    assert young.max_ms - young.issue_ms == 120000
    forged = dataclasses.replace(young, max_ms=young.max_ms + DAY_MS).text()
    check_refused(use(client, forged))


def test_a_token_file_that_is_taken_away(httpd: Httpd) -> None:
    """What docs/security.md says to do when a token has got out: none of before is good any more, new ones are."""
    httpd.start()
    old = issue(Client(httpd.port))
    httpd.stop()
    (httpd.area.store / "kms.keystore.tokens").unlink()
    httpd.start()
    client = Client(httpd.port)
    for _ in range(20):
        fresh = issue(client)
        assert use(client, fresh).status == 200
    check_refused(use(client, old), NOT_FOUND)
    assert renew(client, old).status == 403 and cancel(client, old).status == 404


def test_a_token_file_that_breaks(httpd: Httpd) -> None:
    """Damage in the middle is said and kept beside; it never makes a token valid, and what is whole stays."""
    httpd.start()
    client = Client(httpd.port)
    tokens = [issue(client) for _ in range(6)]
    httpd.stop()
    journal = httpd.area.store / "kms.keystore.tokens"
    data = bytearray(journal.read_bytes())
    password = Token.parse(tokens[2]).password
    at = data.index(password)
    data[at:at + 20] = b"\0" * 20
    with journal.open("r+b") as f:  # owner and mode stay
        f.write(data)
    httpd.expect("KMS0322")
    httpd.start()
    client = Client(httpd.port)
    statuses = [use(client, t).status for t in tokens]
    assert statuses[2] == 403 and statuses.count(200) == 5
    assert use(client, Token.parse(tokens[2]).but(password=b"\0" * 20)).status == 403
