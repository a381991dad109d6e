# SPDX-License-Identifier: Apache-2.0
"""Two nodes that share cookie secrets and delegation tokens through a ZooKeeper of three servers, some of which are down.

Run by tests/interop/run-zookeeper, which has the ZooKeeper servers; see conftest.py.
"""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from children import every_child
from client import Client
from harness import TOP, Area, Httpd, die_with_parent, free_port, wait_for
from token_load import Holders
from tokens import cancel, check_refused, get, issue, renew, use

SIGNER = "hadoop.kms.authentication.signer.secret.provider"
MANAGER = "hadoop.kms.authentication.zk-dt-secret-manager"
# A ZooKeeper that is away, and what is refused meanwhile.
AWAY = ("KMS0331", "KMS0333", "KMS0334", "KMS0340", "KMS0508", "KMS0601", "KMS0311")


def start_server(folder: Path, port: int, *arguments: str) -> subprocess.Popen:
    """A ZooKeeper, whose words are in folder/out; see tests/interop/zookeeper."""
    with (folder / "out").open("wb") as out:
        return subprocess.Popen([TOP / "tests/interop/zookeeper", "--dir", folder, "--port", str(port), *arguments],
                                stdout=out, stderr=out, preexec_fn=die_with_parent)


def wait_until_served(nodes: list[Httpd]) -> None:
    """By every child, each of which has connections of its own."""
    for node in nodes:
        client = Client(node.port, fresh=True)
        every_child(node, "keys/names", client.names)
        every_child(node, "GETDELEGATIONTOKEN", lambda c=client: get(c, "u"))


class Ensemble:
    """Three servers, each in a process of its own that starts it again unless it is to stay down."""

    def __init__(self, area: Area) -> None:
        ports = [free_port() for _ in range(9)]
        self.clients = ports[:3]
        self.folders = [area.path / f"zookeeper{i}" for i in (1, 2, 3)]
        lines = "".join(f"server.{i + 1}=127.0.0.1:{ports[3 + i]}:{ports[6 + i]}\n" for i in range(3))
        for folder in self.folders:
            folder.mkdir()
            (folder / "extra.cfg").write_text(f"initLimit=20\nsyncLimit=10\n4lw.commands.whitelist=srvr\n{lines}")
        self.processes: list[subprocess.Popen] = []

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.clients)

    def start(self) -> None:
        for i, folder in enumerate(self.folders):
            self.processes.append(start_server(folder, self.clients[i], "--id", str(i + 1), "--offline"))
        self.wait_for_all()

    def wait_for_all(self) -> None:
        wait_for("all three servers of ZooKeeper", lambda: self.roles().count("follower") == 2, 120)

    def roles(self) -> list[str]:
        """leader or follower; empty for one that does not serve."""
        return [self.role(port) for port in self.clients]

    @staticmethod
    def role(port: int) -> str:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as s:
                s.sendall(b"srvr")
                answer = b""
                while piece := s.recv(4096):
                    answer += piece
        except OSError:
            return ""
        return answer.decode().partition("Mode: ")[2].partition("\n")[0]

    def take_down(self, role: str) -> int:
        i = self.roles().index(role)
        (self.folders[i] / "stay-down").touch()
        os.kill(int((self.folders[i] / "pid").read_text()), signal.SIGKILL)
        return i

    def bring_up(self, i: int) -> None:
        (self.folders[i] / "stay-down").unlink()
        self.wait_for_all()

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)


@pytest.fixture
def ensemble(area: Area):
    it = Ensemble(area)
    yield it
    it.stop()


@pytest.fixture
def nodes(registry, area: Area, ensemble: Ensemble) -> list[Httpd]:
    area.write_site({
        SIGNER: "zookeeper", f"{SIGNER}.zookeeper.connection.string": ensemble.hosts, f"{SIGNER}.zookeeper.auth.type": "none",
        f"{SIGNER}.zookeeper.path": "/kms-signer", f"{MANAGER}.enable": "true", f"{MANAGER}.zkAuthType": "none",
        f"{MANAGER}.zkConnectionString": ensemble.hosts,
    })
    pair = [registry.httpd(area, name) for name in ("first", "second")]
    for node in pair:
        node.usual |= {"KMS0330", "KMS0342", "KMS0351"}  # connected; who makes the first secrets and the first key
    return pair


def check_shared(nodes: list[Httpd]) -> None:
    """Cookies and tokens of either node are good on the other, and a token cancelled there is no more good here."""
    for one, other in (nodes, nodes[::-1]):
        a, b = Client(one.port), Client(other.port)
        cookie = {"Cookie": a.names().cookie()}
        assert b.call("GET", "keys/names", headers=cookie, user=None).status == 200
        token = issue(a)
        assert use(b, token).status == 200 and renew(b, token).status == 200 and use(a, token).status == 200
        assert cancel(b, token).status == 200
        wait_for("the watch", lambda c=a, t=token: use(c, t).status == 403)
        check_refused(use(a, token))


def test_httpd_is_there_before_zookeeper(nodes: list[Httpd], ensemble: Ensemble) -> None:
    """It starts, says 503 for what it cannot do, and needs no restart when ZooKeeper comes."""
    for node in nodes:
        node.allow(*AWAY)
        node.start()
    pids = [set(node.child_pids()) for node in nodes]
    for node in nodes:
        client = Client(node.port)
        for answer in (client.call("OPTIONS", ""), client.names(), get(client, "alice"), client.create("early")):
            assert answer.status == 503 and answer.cookie() is None
        assert client.call("GET", "keys/names", user=None).status == 401
    ensemble.start()
    wait_until_served(nodes)
    check_shared(nodes)
    assert [set(node.child_pids()) for node in nodes] == pids


class Cookies:
    """Clients that get a cookie from one node and use it on the other, while tokens are used as well."""

    def __init__(self, nodes: list[Httpd]) -> None:
        self.nodes = nodes
        self.stopping = threading.Event()
        self.calls = self.unavailable = 0
        self.failures: list[str] = []
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        clients = [Client(n.port, fresh=True) for n in self.nodes]
        while not self.stopping.is_set():
            clients.reverse()
            greeted = clients[0].call("OPTIONS", "")
            answers = [greeted]
            if greeted.status == 200:
                answers.append(clients[1].call("GET", "keys/names", headers={"Cookie": greeted.cookie()}, user=None))
            for answer in answers:
                self.calls += 1
                self.unavailable += answer.status == 503
                if answer.status not in (200, 503):
                    self.failures.append(f"{answer.status} {answer.reason}")

    def __enter__(self) -> Cookies:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(60)


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_one_of_three_is_killed_under_load(nodes: list[Httpd], ensemble: Ensemble, role: str) -> None:
    """With two left, both nodes serve on; nothing that was answered is lost. The leader's death stops ZooKeeper for an election."""
    ensemble.start()
    for node in nodes:
        node.allow(*AWAY)
        node.start()
    check_shared(nodes)
    with Holders(nodes, may_break=True, patience=20) as load, Cookies(nodes) as cookies:
        load.wait_for_more(100)
        before, at = load.broken, time.monotonic()
        down = ensemble.take_down(role)
        load.wait_for_more(100)
        pause = time.monotonic() - at
        # Its servers wait up to a minute before they tell each other again whom they elect.
        wait_for("a leader", lambda: "leader" in ensemble.roles(), 120)
        load.wait_for_more(100)
        ensemble.bring_up(down)
        load.wait_for_more(100)
    load.figures(f"{role} of ZooKeeper killed, the next 100 calls within {pause:.1f} s")
    print(f"cookies: {cookies.calls} calls, {cookies.unavailable} of them 503, {len(cookies.failures)} failed; "
          f"before the kill {before} calls about tokens were not answered; a token cancelled on one node was refused by the "
          f"other after {load.longest:.2f} s at most")
    assert before == 0 and cookies.failures == [] and cookies.unavailable == 0
    load.check(*nodes)
    check_shared(nodes)


def test_two_of_three_are_gone(nodes: list[Httpd], ensemble: Ensemble) -> None:
    """Without a majority: known cookies and tokens go on, the rest waits for it, by 503; then all is as before."""
    ensemble.start()
    for node in nodes:
        node.allow(*AWAY)
        node.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 10\nMaxRequestWorkers 10\nMinSpareThreads 1\n" \
            "MaxSpareThreads 10\n"
        node.start()
    clients = [Client(n.port) for n in nodes]
    cookie, token = {"Cookie": clients[0].names().cookie()}, issue(clients[0])
    assert [use(c, token).status for c in clients] == [200, 200]
    down = [ensemble.take_down("follower"), ensemble.take_down("leader")]
    wait_for("token operations to be refused", lambda: get(clients[0], "alice").status == 503, 60)
    for client in clients:
        assert client.call("GET", "keys/names", headers=cookie, user=None).status == 200
        assert client.names().cookie() is not None, "cookies are made as well"
        assert use(client, token).status == 200
        assert renew(client, token).status == 503 and cancel(client, token).status == 503
    (ensemble.folders[down[1]] / "stay-down").unlink()
    ensemble.bring_up(down[0])
    wait_for("tokens", lambda: get(clients[0], "alice").status == 200 == get(clients[1], "alice").status, 60)
    assert renew(clients[1], token).status == 200
    check_shared(nodes)
