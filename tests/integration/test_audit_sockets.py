# SPDX-License-Identifier: Apache-2.0
"""The audit log in the system log and in the journal: what the receiver of the socket gets, and what when it is away."""
from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from pathlib import Path

import pytest
from audit_faults import Witness, ids_in_log
from harness import Httpd, serving_account, wait_for


class Receiver:
    """What syslogd and journald are for a writer: a datagram socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        path.chmod(0o666)

    def take(self) -> list[bytes]:
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(self.socket.recv(65536))
        return taken

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def path(httpd: Httpd):
    """Of a socket, in a folder that those who serve can pass."""
    folder = httpd.area.path / "sockets"
    folder.mkdir()
    if account := serving_account():
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder / "log"


def test_syslog(httpd: Httpd, path: Path) -> None:
    receiver = Receiver(path)
    httpd.audit_log = None
    httpd.directives.append(f"KMSAuditLog syslog:local3:kms-test:{path}")
    httpd.start()
    witness = Witness(httpd)
    # local3 is 19; 19 * 8 + 6 for info
    lines = [d.decode() for d in receiver.take()]
    form = re.compile(r"<158>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d kms-test\[\d+\]: "
                      r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \S.*)")
    assert all(form.fullmatch(line) for line in lines), lines
    assert "OK[op=DECRYPT_EEK, key=witness, user=alice" in lines[-1]
    assert len([line for line in lines if "user=alice" in line]) == 3
    check_full(httpd, check_away(httpd, receiver, witness, path), witness)


def test_journal(httpd: Httpd, path: Path) -> None:
    receiver = Receiver(path)
    httpd.audit_log = None
    httpd.directives += [f"KMSAuditLog journal:kms-test:{path}", "KMSAuditFormat json"]
    httpd.start()
    witness = Witness(httpd)
    records = [dict(part.split("=", 1) for part in d.decode().splitlines()) for d in receiver.take()]
    for record in records:
        assert set(record) == {"MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_IDENTIFIER"}
        assert (record["PRIORITY"], record["SYSLOG_IDENTIFIER"]) == ("6", "kms-test")
    assert json.loads(records[-1]["MESSAGE"])["operation"] == "DECRYPT_EEK"
    check_away(httpd, receiver, witness, path)


def check_away(server: Httpd, receiver: Receiver, witness: Witness, path: Path) -> Receiver:
    """Restarted, as syslogd is on an update: refused meanwhile, and found again."""
    server.allow("KMS0601")
    server.expect("KMS0401", "KMS0402")
    receiver.close()
    witness.check_all_refused()
    receiver = Receiver(path)
    witness.wait_until_served()
    witness.check_unchanged()
    return receiver


def check_full(server: Httpd, receiver: Receiver, witness: Witness) -> None:
    """Alive, but it takes nothing: its queue gets full, and a caller waits for its time only."""
    receiver.take()
    refusals = ids_in_log(server, "KMS0401")
    while (answer := witness.decrypt()).status == 200:
        assert witness.deks < 20000
    witness.check_refused(answer)
    assert ids_in_log(server, "KMS0401") == refusals + 1
    receiver.take()
    wait_for("the service", lambda: witness.decrypt().status == 200)
