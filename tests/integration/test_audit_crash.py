# SPDX-License-Identifier: Apache-2.0
"""Every DEK that a client got has its record: over kill -9 of children and of everything, over rotations, under load."""
from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from audit_load import MORE_CHILDREN, DekLoad, read_records
from harness import Httpd, wait_for
from kmsctl import run


def configure(server: Httpd, *directives: str) -> None:
    server.children = MORE_CHILDREN
    server.directives += ["KMSAuditFormat json", *directives]
    server.access_log = False


def kill_children(server: Httpd, seconds: float) -> int:
    """One child after the other by SIGKILL, in the middle of its work."""
    killed, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if children := server.child_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(children), signal.SIGKILL)
                killed += 1
        time.sleep(0.15)
    return killed


def report(title: str, load: DekLoad, records: dict, missing: list, **more: int) -> None:
    figures = {"released DEKs and EEKs": len(load.answers), "records": len(records), "missing": len(missing),
               "calls without answer": load.broken, "refused": load.refused.total(), **more}
    print(f"{title}: " + ", ".join(f"{n} {what}" for what, n in figures.items()))


@pytest.mark.slow
@pytest.mark.parametrize("durability, chain", [("write", False), ("fsync", False), ("fsync", True)],
                         ids=["write", "fsync", "fsync, chained"])
def test_kill_9(httpd: Httpd, durability: str, chain: bool) -> None:
    """Children first; then the parent alone; then all that is left."""
    configure(httpd, f"KMSAuditDurability {durability}", f"KMSAuditChain {'On' if chain else 'Off'}")
    httpd.start()
    httpd.allow("AH00052", "KMS0404")
    if durability == "fsync":
        # One who syncs for others and is killed leaves them without knowing, so that they are refused.
        httpd.allow("KMS0401", "KMS0402", "KMS0601")
    with DekLoad(httpd) as load:
        wait_for("some answers", lambda: len(load.answers) > 50)
        killed = kill_children(httpd, 3)
        wait_for("answers after that", lambda n=len(load.answers): len(load.answers) > n + 50, 30)
        parent = httpd.pid
        os.kill(parent, signal.SIGKILL)
        time.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent, signal.SIGKILL)
        assert httpd.process is not None
        httpd.process.wait(20)
        httpd.process = None
    assert killed > 3
    # A line may be torn: of a write that was cut by the end of its process, and whose caller got nothing.
    records = read_records([httpd.audit_log], torn_allowed=True)
    missing = load.missing(records)
    report(f"kill -9, {durability}{', chained' if chain else ''}", load, records, missing, **{"killed children": killed})
    assert len(load.answers) > 100
    assert not missing
    assert set(load.refused) <= ({503} if durability == "fsync" else set())
    assert "Input/output error" not in httpd.log_text()
    if chain:
        verified = run("audit", "verify", "--json", httpd.audit_log, exit_status=0)
        assert verified.json["problems"] == 0 and verified.json["chained"] >= len(records)


class Rotation:
    """As logrotate with its two steps, over and over."""

    def __init__(self, server: Httpd) -> None:
        self.server = server
        assert server.audit_log is not None
        self.log: Path = server.audit_log
        self.files: list[Path] = []

    def turn(self) -> None:
        old = self.log.with_suffix(f".{len(self.files) + 1}")
        self.log.rename(old)
        self.files.append(old)
        self.server.graceful()
        wait_for("the new file", self.log.exists)

    def all_files(self) -> list[Path]:
        return [*self.files, self.log]


@pytest.mark.slow
@pytest.mark.parametrize("chain", [False, True], ids=["plain", "chained"])
def test_rotation_under_load(httpd: Httpd, chain: bool) -> None:
    """No line is lost, none is torn, none is there twice; what is chained holds over all files."""
    configure(httpd, f"KMSAuditChain {'On' if chain else 'Off'}")
    httpd.start()
    httpd.allow("KMS0404", "KMS0406")
    rotation = Rotation(httpd)
    with DekLoad(httpd) as load:
        for _ in range(4):
            before = len(load.answers)
            wait_for("answers", lambda n=before: len(load.answers) > n + 50, 30)
            rotation.turn()
        wait_for("answers", lambda n=len(load.answers): len(load.answers) > n + 50, 30)
    httpd.stop()
    records = read_records(rotation.all_files())
    missing = load.missing(records)
    report(f"rotation{', chained' if chain else ''}", load, records, missing, files=len(rotation.all_files()))
    assert not missing and not load.refused and load.broken == 0
    # Beside them there are the keys that the load was made with, and the probe of start().
    granted = sum(r["status"] == "OK" and r["operation"] in ("GENERATE_EEK", "DECRYPT_EEK") for r in records.values())
    assert granted == len(load.answers)
    assert all(any('"DECRYPT_EEK"' in line for line in f.read_text().splitlines()) for f in rotation.all_files())
    if chain:
        verified = run("audit", "verify", "--json", *rotation.all_files(), exit_status=0)
        assert verified.json["problems"] == 0 and len(verified.json["rows"]) == 5
