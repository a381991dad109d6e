# SPDX-License-Identifier: Apache-2.0
"""Three PostgreSQL servers that Patroni leads, by one etcd: it promotes and makes standbys by itself."""
from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from harness import die_with_parent, free_port, wait_for
from postgres import ROLE, SCRIPT, Postgres, certificate, parent_of


def missing() -> str:
    """What is not here, for a reason to skip."""
    return " ".join(name for name in ("etcd", "patroni") if shutil.which(name) is None)


def fetch(url: str) -> str:
    with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()
    return ""


class Member(Postgres):
    """One server; that it runs, and as what, is Patroni's."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.path = cluster.path / name
        self.path.mkdir()
        owner = cluster.data_owner
        os.chown(self.path, *owner)
        self.name, self.port, self.rest_port = name, free_port(), free_port()
        self.data, self.password, self.process, self.databases = self.path / "data", cluster.password, None, 0
        shutil.copy(cluster.path / "server.crt", self.certificate)
        key = self.path / "server.key"
        shutil.copy(cluster.path / "server.key", key)
        for file in (key, self.certificate):
            os.chown(file, *owner)
        key.chmod(0o600)
        (self.path / "patroni.json").write_text(json.dumps(self.settings(cluster)))

    def settings(self, cluster: Cluster) -> dict:
        trusted = "host all kms 127.0.0.1/32 trust"
        return {
            "scope": "kms", "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}", "connect_address": f"127.0.0.1:{self.rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{cluster.etcd_port}"},
            "bootstrap": {
                # The shortest times that Patroni takes. A leader that is killed may have written what no standby got; it is to
                # rewind that, as it can follow no other one with it.
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True,
                        "postgresql": {"use_pg_rewind": True, "remove_data_directory_on_diverged_timelines": True,
                                       "parameters": {"max_connections": 100, "shared_buffers": "16MB", "fsync": "on"}}},
                "initdb": [{"encoding": "UTF8"}, "no-sync"]},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}", "data_dir": str(self.data),
                "bin_dir": cluster.bin_dir, "pgpass": str(self.path / "pgpass"),
                "authentication": {"superuser": {"username": "kms"}, "replication": {"username": "kms"}},
                "parameters": {"unix_socket_directories": str(self.path), "ssl": "on", "ssl_cert_file": str(self.certificate),
                               "ssl_key_file": str(self.path / "server.key"), "password_encryption": "scram-sha-256"},
                "pg_hba": ["local all kms trust", trusted, "host replication kms 127.0.0.1/32 trust",
                           f"hostssl all {ROLE} 127.0.0.1/32 scram-sha-256"]}}

    def start(self, *_: str) -> None:
        with open(self.path / "log", "ab") as log:
            self.process = subprocess.Popen([SCRIPT, "as", "patroni", self.path / "patroni.json"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent, cwd=self.path)

    def server_pid(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        return 0

    def crash(self) -> None:
        """The machine is gone: Patroni and every process of the server, at once."""
        assert self.process is not None
        server = self.server_pid()
        mine = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(p) == server]
        for pid in [self.process.pid, server, *mine]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def close(self) -> None:
        self.stop(signal.SIGTERM)

    def is_leader(self) -> bool:
        return fetch(f"http://127.0.0.1:{self.rest_port}/leader") != ""


class Cluster:
    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kms-patroni-", dir="/tmp"))
        self.path.chmod(0o755)
        self.password = secrets.token_hex(12)
        self.bin_dir = subprocess.run([SCRIPT, "folder"], check=True, capture_output=True, text=True).stdout.strip()
        # Whose the data of a server have to be.
        probe = self.path / "probe"
        subprocess.run([SCRIPT, "init", probe], check=True, timeout=120)
        self.data_owner = (probe.stat().st_uid, probe.stat().st_gid)
        shutil.rmtree(probe)
        certificate(self.path / "server.key", self.path / "server.crt")
        self.etcd_port, peer = free_port(), free_port()
        with open(self.path / "etcd.log", "ab") as log:
            self.etcd = subprocess.Popen(
                ["etcd", "--name", "one", "--data-dir", self.path / "etcd",
                 "--listen-client-urls", f"http://127.0.0.1:{self.etcd_port}",
                 "--advertise-client-urls", f"http://127.0.0.1:{self.etcd_port}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"one=http://127.0.0.1:{peer}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.members: list[Member] = []

    def __enter__(self) -> Cluster:
        wait_for("etcd", lambda: '"true"' in fetch(f"http://127.0.0.1:{self.etcd_port}/health"), 60)
        for name in ("a", "b", "c"):
            self.members.append(Member(self, name))
            self.members[-1].start()
        wait_for("a leader with a synchronous standby", self.is_safe, 120)
        self.leader().sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for it in self.members:
            it.close()
            if kind is not None:  # pytest shows it for a test that failed
                print(f"-- {it.name}\n" + "\n".join((it.path / "log").read_text(errors="replace").splitlines()[-80:]))
        self.etcd.terminate()
        self.etcd.wait(60)
        shutil.rmtree(self.path, ignore_errors=True)

    def leader(self) -> Member:
        return next(it for it in self.members if it.is_leader())

    def is_safe(self) -> bool:
        """A server is the leader, and another one has every commit."""
        for it in self.members:
            if it.process is None or not it.is_leader():
                continue
            with contextlib.suppress(subprocess.CalledProcessError):
                return "sync" in it.sql("SELECT sync_state FROM pg_stat_replication").split() and \
                    it.sql("SHOW synchronous_standby_names") != ""
        return False
