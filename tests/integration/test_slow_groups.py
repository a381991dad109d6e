# SPDX-License-Identifier: Apache-2.0
"""A directory service that hangs: those whom it knows nothing of wait for a bounded time, nobody else waits, and children end."""
from __future__ import annotations

import threading
import time

import pytest
from client import Client
from harness import OPEN_KEY_ACLS, Httpd, wait_for
from preload import preload


class Directory:
    """The file that holds the answers of the preloaded library back."""

    def __init__(self, server: Httpd) -> None:
        self.held = server.area.path / "hold"
        preload(server, "slow_groups.c", KMS_TEST_HOLD=str(self.held))

    def hold(self) -> None:
        self.held.touch()

    def release(self) -> None:
        self.held.unlink(missing_ok=True)


@pytest.fixture
def directory(httpd: Httpd):
    it = Directory(httpd)
    # Group 0 may ask for names, and so may who is named; the fixed user's group is not asked for.
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.acl.GET_KEYS": "named root,wheel,fixed"})
    httpd.area.write_site({"hadoop.user.group.static.mapping.overrides": "static=fixed;slow-static=fixed",
                           "hadoop.security.groups.cache.secs": "1"})
    httpd.allow("KMS0211", "KMS0212")
    yield it
    it.release()


def status(httpd: Httpd, user: str) -> int:
    return Client(httpd.port, user, fresh=True).names().status


def test_who_waits_and_who_does_not(httpd: Httpd, directory: Directory) -> None:
    httpd.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\n" \
        "MaxSpareThreads 8\n"
    httpd.start()
    assert status(httpd, "slow-known") == 200 and status(httpd, "nobody-knows") == 403
    time.sleep(1.1)  # so that the cached answer is no longer fresh
    directory.hold()
    started = time.monotonic()
    refused: list[int] = []
    strangers = [threading.Thread(target=lambda i=i: refused.append(status(httpd, f"slow-{i}"))) for i in range(7)]
    for t in strangers:
        t.start()
    # Seven of eight workers may wait. Meanwhile the rest is answered, one after the other, by the eighth.
    users = ["named", "static", "slow-static", "slow-known"]
    answers = [status(httpd, user) for user in users * 5]
    took = time.monotonic() - started
    assert answers == [200] * 20
    assert took < 4.5, f"{took:.1f} s for 20 answers that need nothing of the directory"
    for t in strangers:
        t.join(30)
    assert refused == [403] * 7, "what cannot be told is no membership"
    assert 4.5 < time.monotonic() - started < 20
    # The question is still open: who asks again is refused at once.
    again = time.monotonic()
    assert status(httpd, "slow-0") == 403 and time.monotonic() - again < 4
    assert "KMS0211" in httpd.log_text()
    directory.release()
    wait_for("the groups", lambda: {status(httpd, f"slow-{i}") for i in range(7)} == {200})


@pytest.mark.slow
@pytest.mark.parametrize("how", ["graceful", "stop"])
def test_children_end(httpd: Httpd, directory: Directory, how: str) -> None:
    """With look-ups that hang in every child, old children go after a graceful restart, and a stop is not held up."""
    httpd.start()
    directory.hold()
    refused: list[int] = []
    strangers = [threading.Thread(target=lambda i=i: refused.append(status(httpd, f"slow-{i}"))) for i in range(12)]
    for t in strangers:
        t.start()
    for t in strangers:
        t.join(30)
    assert refused == [403] * 12
    old = set(httpd.child_pids())
    started = time.monotonic()
    if how == "graceful":
        httpd.graceful()
        wait_for("the old children to end", lambda: not old & set(httpd.child_pids()), 20)
    else:
        httpd.stop()
    took = time.monotonic() - started
    assert took < 5, f"{how} took {took:.1f} s"
    assert "AH00045" not in httpd.log_text() and "AH00046" not in httpd.log_text(), "httpd had to kill a child"
