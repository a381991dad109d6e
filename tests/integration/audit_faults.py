# SPDX-License-Identifier: Apache-2.0
"""Ways in which an audit log fails, each as a context manager, and what a server has to do meanwhile."""
from __future__ import annotations

import base64
import contextlib
import ctypes
import functools
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from client import Client, unbase64
from harness import Httpd, is_root, wait_for
from preload import preload

CLONE_NEWNS = 0x00020000
CAP_SYS_ADMIN = 21
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 5\nMaxRequestWorkers 5\n" \
    "MinSpareThreads 1\nMaxSpareThreads 5\n"
FORMATS = ["java", "json"]


def may_mount() -> bool:
    text = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.M)
    return is_root() and text is not None and bool(int(text[1], 16) >> CAP_SYS_ADMIN & 1)


@functools.lru_cache(maxsize=None)
def private_mounts() -> None:
    """What is mounted from now on is seen by this process and those that it starts, and goes with them."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class SmallDisk:
    """A file system of 128 KiB, for the audit log of a server where nothing else is said."""

    def __init__(self, server: Httpd, audit: bool = True) -> None:
        if not may_mount():
            pytest.skip("mounting needs root")
        private_mounts()
        self.path = server.area.path / "small"
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=755", "tmpfs", self.path], check=True)
        self.ballast = self.path / "ballast"
        self.area = server.area
        if audit:
            server.audit_log = self.path / "kms-audit.log"

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a server that is still running holds it, and the tests have yet to read the log.
        subprocess.run(["umount", "-l", self.path], check=True)

    def folder(self, name: str) -> Path:
        """A new one on it, of those who serve."""
        folder = self.path / name
        folder.mkdir()
        self.area.give(folder)
        return folder

    @contextlib.contextmanager
    def full(self):
        with contextlib.suppress(OSError), open(self.ballast, "wb", buffering=0) as f:
            while True:
                f.write(bytes(4096))
        yield
        self.ballast.unlink()


class BrokenDisk:
    """The file of the audit log fails on demand: "write", "torn", "short" or "sync" (audit_fault.c)."""

    def __init__(self, server: Httpd) -> None:
        self.folder = server.area.path / "faults"
        self.folder.mkdir()
        preload(server, "audit_fault.c", FAULT_TARGET=str(server.audit_log), FAULT_FOLDER=str(self.folder))

    @contextlib.contextmanager
    def failing(self, how: str):
        switch = self.folder / how
        switch.touch()
        yield
        switch.unlink()


class Program:
    """A piped audit log whose program can die and hang. What it reads is in a file."""

    def __init__(self, server: Httpd) -> None:
        self.folder = server.area.path / "program"
        self.folder.mkdir()
        self.log, self.pid_file, self.dead = (self.folder / name for name in ("log", "pid", "dead"))
        script = self.folder / "reader"
        script.write_text(f"#!/bin/sh\n[ -e {self.dead} ] && exit 1\necho $$ > {self.pid_file}\nexec cat >> {self.log}\n")
        script.chmod(0o755)
        server.audit_log = None
        server.directives.append(f'KMSAuditLog "|{script}"')

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    @contextlib.contextmanager
    def stuck(self):
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def gone(self):
        """What is in the pipe, or was read and not yet written, goes with it."""
        pid = self.pid
        self.dead.touch()
        os.kill(pid, signal.SIGKILL)
        wait_for("its death", lambda: not runs(pid))
        yield
        self.dead.unlink()


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Witness:
    """A key, an EEK of it, and the secrets that no refusal may show."""

    def __init__(self, server: Httpd) -> None:
        self.server = server
        self.client = Client(server.port, "alice")
        self.current = self.client.create("witness").json()
        self.eek = self.client.generate("witness").json()[0]
        self.deks = 0  # that were released
        self.dek = self.decrypt().json()["material"]

    def decrypt(self):
        answer = self.client.decrypt(self.eek)
        self.deks += answer.status == 200
        return answer

    def calls(self) -> list:
        c = self.client
        return [self.decrypt, lambda: c.current("witness"), lambda: c.generate("witness"),
                lambda: c.reencrypt(self.eek), lambda: c.create("refused"), lambda: c.roll("witness"),
                lambda: c.version("witness@0"), lambda: c.versions("witness"), c.names,
                lambda: c.metadata("witness"), lambda: c.delete("witness"),
                lambda: c.call("GET", "keys/names", user=None)]

    def secrets(self) -> list[bytes]:
        out = []
        for text in (self.dek, self.current["material"], self.eek["encryptedKeyVersion"]["material"]):
            raw = unbase64(text)
            out += [raw, base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")]
        return out

    def check_refused(self, answer) -> None:
        assert answer.status == 503, answer.body
        assert answer.header("Retry-After") == "5"
        assert set(answer.json()) == {"RemoteException"}
        assert "audit log" in answer.message()
        for secret in self.secrets():
            assert secret not in answer.body

    def check_all_refused(self) -> None:
        for call in self.calls():
            self.check_refused(call())

    def check_unchanged(self) -> None:
        """Nothing that was refused happened."""
        assert self.client.current("witness").json() == self.current
        assert self.client.names().json() == ["witness"]
        assert self.decrypt().json()["material"] == self.dek

    def wait_until_served(self, seconds: float = 30) -> None:
        wait_for("the service to come back by itself", lambda: self.client.names().status == 200, seconds)


def ids_in_log(server: Httpd, log_id: str) -> int:
    return server.log_text().count(f"{log_id}:")
