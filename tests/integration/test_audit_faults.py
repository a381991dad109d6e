# SPDX-License-Identifier: Apache-2.0
"""An audit log that cannot be written: no key leaves, the caller is told to come again, and the server mends itself."""
from __future__ import annotations

import json
import re
import time
from contextlib import AbstractContextManager

import pytest
from audit_faults import FORMATS, ONE_CHILD, BrokenDisk, Program, SmallDisk, Witness, ids_in_log
from harness import Httpd, wait_for

JAVA_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ((OK|UNAUTHORIZED|ERROR)\[.*\] .*|UNAUTHENTICATED .*)")


def configure(server: Httpd, durability: str, form: str) -> None:
    server.directives += [f"KMSAuditDurability {durability}", f"KMSAuditFormat {form}"]


def is_whole(line: str, form: str) -> bool:
    if form == "java":
        return bool(JAVA_LINE.fullmatch(line))
    try:
        return {"time", "status"} <= set(json.loads(line))
    except ValueError:
        return False


def whole_lines(lines: list[str], form: str) -> tuple[list[str], list[str]]:
    """The records, and what is left of those that could not be written."""
    return [li for li in lines if is_whole(li, form)], [li for li in lines if not is_whole(li, form)]


def decrypts(lines: list[str]) -> int:
    return sum("DECRYPT_EEK" in line for line in lines)


def check_fault(server: Httpd, witness: Witness, fault: AbstractContextManager) -> None:
    """Refused while it lasts, said once, and over by itself."""
    server.allow("KMS0601")
    server.expect("KMS0401", "KMS0402")
    said = ids_in_log(server, "KMS0401")
    with fault:
        wait_for("the first refusal", lambda: witness.decrypt().status == 503)
        witness.check_all_refused()
        assert ids_in_log(server, "KMS0401") == said + 1
        assert ids_in_log(server, "KMS0402") == said
    witness.wait_until_served()
    witness.check_unchanged()
    assert ids_in_log(server, "KMS0402") == said + 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_a_full_disk(httpd: Httpd, durability: str, form: str) -> None:
    configure(httpd, durability, form)
    with SmallDisk(httpd) as disk:
        httpd.start()
        witness = Witness(httpd)
        for _ in range(2):
            check_fault(httpd, witness, disk.full())
        httpd.stop()
        records, torn = whole_lines(httpd.audit_lines(), form)
        # The last page of the file had room for some lines, and may have taken one as a whole of which the disk then
        # said that it has no room.
        assert witness.deks > 3
        assert witness.deks <= decrypts(records) <= witness.deks + 2
        assert all(line[:4] == records[0][:4] for line in torn), torn


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_stops_nobody_without_durability(httpd: Httpd, form: str) -> None:
    """KMSAuditDurability none: the records wait, and none of them is lost."""
    configure(httpd, "none", form)
    httpd.children = ONE_CHILD
    with SmallDisk(httpd) as disk:
        httpd.start()
        witness = Witness(httpd)
        httpd.expect("KMS0401", "KMS0402")
        with disk.full():
            # More than the page that the file's end has.
            while ids_in_log(httpd, "KMS0401") == 0:
                for _ in range(40):
                    assert witness.decrypt().status == 200
                time.sleep(0.05)
            assert "records wait in memory" in httpd.log_text()
        wait_for("the records", lambda: ids_in_log(httpd, "KMS0402") == 1, 30)
        httpd.stop()
        records = whole_lines(httpd.audit_lines(), form)[0]
        # A block that the disk took in part was written again.
        assert decrypts(records) >= witness.deks
        if form == "json":
            assert decrypts(list(set(records))) == witness.deks


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("durability, how", [("write", "write"), ("write", "torn"), ("fsync", "write"), ("fsync", "sync")])
def test_a_disk_that_breaks(httpd: Httpd, durability: str, how: str, form: str) -> None:
    """EIO on write, in the middle of a line, and on fsync."""
    configure(httpd, durability, form)
    disk = BrokenDisk(httpd)
    httpd.start()
    witness = Witness(httpd)
    check_fault(httpd, witness, disk.failing(how))
    records, torn = whole_lines(httpd.audit_lines(), form)
    assert len(torn) > 0 if how == "torn" else not torn
    # Each torn line is the beginning of a record, and the next record begins a line of its own.
    assert all(line[:4] == records[0][:4] for line in torn)
    assert decrypts(records) >= witness.deks


def test_writes_that_are_taken_in_part(httpd: Httpd) -> None:
    """No failure at all: the rest follows."""
    disk = BrokenDisk(httpd)
    httpd.start()
    witness = Witness(httpd)
    with disk.failing("short"):
        for _ in range(20):
            assert witness.decrypt().status == 200
    assert not whole_lines(httpd.audit_lines(), "java")[1]
    assert decrypts(httpd.audit_lines()) == witness.deks == 21


def test_it_recovers_though_nobody_asks(httpd: Httpd) -> None:
    """A server that a load balancer has taken out gets no requests that could show that the fault is over."""
    configure(httpd, "write", "json")
    disk = BrokenDisk(httpd)
    httpd.start()
    witness = Witness(httpd)
    httpd.allow("KMS0601")
    httpd.expect("KMS0401", "KMS0402")
    with disk.failing("write"):
        witness.check_refused(witness.decrypt())
    wait_for("KMS0402", lambda: ids_in_log(httpd, "KMS0402") == 1, 30)
    resumed = json.loads(httpd.audit_lines()[-1])
    assert resumed["operation"] == "AUDIT_RESUMED"
    assert re.fullmatch(r"Failures:\d+ Seconds:\d+", resumed["detail"])


def test_a_program_that_dies(httpd: Httpd) -> None:
    configure(httpd, "fsync", "java")
    program = Program(httpd)
    httpd.start()
    witness = Witness(httpd)
    httpd.expect("KMS0408")
    wait_for("the program to write", lambda: decrypts(program.lines()) >= witness.deks)
    check_fault(httpd, witness, program.gone())
    httpd.stop()
    records, torn = whole_lines(program.lines(), "java")
    assert not torn and decrypts(records) >= witness.deks


@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_a_program_that_hangs(httpd: Httpd, durability: str) -> None:
    """It reads nothing, so that what was written may never be read."""
    configure(httpd, durability, "json")
    httpd.children = ONE_CHILD
    program = Program(httpd)
    httpd.start()
    witness = Witness(httpd)
    httpd.allow("KMS0601")
    httpd.expect("KMS0401", "KMS0402")
    with program.stuck():
        begin = time.monotonic()
        while (answer := witness.decrypt()).status == 200:
            time.sleep(0.01)
            assert time.monotonic() < begin + 30, "a program that reads nothing stops nobody"
        witness.check_refused(answer)
        # Nobody waits for its timeout again and again.
        wait_for("refusals at once", lambda: quick_refusal(witness), 30)
        witness.check_all_refused()
    witness.wait_until_served()
    witness.check_unchanged()
    httpd.stop()
    records, torn = whole_lines(program.lines(), "json")
    assert not torn
    assert decrypts(records) >= witness.deks


def quick_refusal(witness: Witness) -> bool:
    begin = time.monotonic()
    witness.check_refused(witness.decrypt())
    return time.monotonic() - begin < 1

