# SPDX-License-Identifier: Apache-2.0
"""kmsctl audit verify on chains that a real server wrote: by several children, over rotations and graceful restarts."""
from __future__ import annotations

import json
import re
import secrets
from pathlib import Path

import pytest
from audit_load import MORE_CHILDREN
from client import Client
from harness import Httpd, wait_for
from kmsctl import Done, run


class ChainedLog:
    """Three files of one log, with the place that the error log had of it."""

    def __init__(self, server: Httpd, form: str, keyed: bool) -> None:
        self.server = server
        self.key: Path | None = None
        server.children = MORE_CHILDREN
        server.directives += ["KMSAuditChain On", f"KMSAuditFormat {form}"]
        if keyed:
            self.key = server.area.path / "chain-key"
            self.key.write_bytes(secrets.token_bytes(32))
            self.key.chmod(0o600)
            server.directives.append(f'KMSAuditChainKeyFile "{self.key}"')
        server.usual.update({"KMS0404", "KMS0406"})
        server.start()
        self.files: list[Path] = []
        self.place = ""
        self.write()

    def write(self) -> None:
        for part in range(3):
            if part > 0:
                old = self.server.audit_log.with_suffix(f".{part}")
                self.server.audit_log.rename(old)
                self.files.append(old)
                self.server.graceful()
            clients = [Client(self.server.port, f"user-{i}", fresh=True) for i in range(4)]
            name = f"key-{part}"
            assert clients[0].create(name).status == 201
            for i in range(12):
                assert clients[i % 4].generate(name).status == 200
        self.place = wait_for("the place of the chain", self.last_place)
        self.server.stop()
        self.files.append(self.server.audit_log)

    def last_place(self) -> str:
        """Of the last file's row, as the error log says it."""
        row = re.search(r"[0-9a-f]{16}(?=:\d+:[-r]:)", self.server.audit_log.read_text())
        found = re.findall(r"KMS0404: The audit chain is at (\S+)", self.server.log_text())
        return next((p for p in found if row and p.startswith(row[0])), "")

    def verify(self, files: list[Path], *options: str) -> Done:
        key = [f"--key-file={self.key}"] if self.key else []
        return run("audit", "verify", "--json", *key, *options, *files)


def kinds(done: Done) -> list[str]:
    return [f["kind"] for f in done.json["findings"] if f["problem"]]


@pytest.fixture(scope="module", params=["java", "json", "java, keyed", "json, keyed"])
def log(request, module_registry) -> ChainedLog:
    form, _, keyed = request.param.partition(", ")
    return ChainedLog(module_registry.httpd(name="run"), form, bool(keyed))


def test_as_it_was_written(log: ChainedLog) -> None:
    done = log.verify(log.files, "--expect", log.place)
    assert (done.status, kinds(done)) == (0, [])
    assert done.json["good"] is True and done.json["chained"] == done.json["lines"] > 36
    assert [row["ended"] for row in done.json["rows"]] == [True] * 3
    # What the report says of the ends is good for the next run.
    ends = [f"--expect={row['checkpoint']}" for row in done.json["rows"]]
    assert log.verify(log.files, *ends).status == 0
    assert log.verify(log.files[1:], "--continues").status == 0


def test_files_that_are_not_there(log: ChainedLog) -> None:
    """Somebody took a file of the middle, the first or the last one away."""
    assert kinds(log.verify(log.files[1:])) == ["removed"]
    assert kinds(log.verify([log.files[0], log.files[2]])) == ["removed"]
    assert kinds(log.verify(log.files[:2], "--expect", log.place)) == ["cut_off"]
    assert kinds(log.verify([log.files[1], log.files[0], log.files[2]])) == ["removed"]


def tampered(log: ChainedLog, tmp_path: Path, change) -> Done:
    """The verdict on the log with the lines of its second file changed."""
    lines = log.files[1].read_text().splitlines(keepends=True)
    change(lines)
    copy = tmp_path / "changed"
    copy.write_text("".join(lines))
    return log.verify([log.files[0], copy, log.files[2]])


def edit(line: str) -> str:
    """Another user, same length: nothing else than the hash can tell."""
    changed = re.sub(r"user-(\d)", lambda m: f"user-{(int(m[1]) + 1) % 4}", line, count=1)
    assert changed != line
    return changed


def swap(lines: list[str], i: int, k: int) -> None:
    lines[i], lines[k] = lines[k], lines[i]


@pytest.mark.parametrize("wanted, line, change", [
    ("changed", 6, lambda lines: lines.__setitem__(5, edit(lines[5]))),
    ("removed", 6, lambda lines: lines.__delitem__(5)),
    ("removed", 6, lambda lines: lines.__delitem__(slice(5, 8))),
    ("moved", None, lambda lines: swap(lines, 5, 6)),
    ("moved", None, lambda lines: swap(lines, 4, 9)),
    ("repeated", 7, lambda lines: lines.insert(6, lines[5])),
    ("inserted", 6, lambda lines: lines.insert(5, re.sub(r'( chain=|,"chain":).*', "", lines[5]))),
    ("removed", 1, lambda lines: lines.__delitem__(0)),
    ("removed", 1, lambda lines: lines.__delitem__(slice(-3, None))),
    ("removed", 1, lambda lines: lines.__delitem__(slice(1, None))),
], ids=["changed", "removed", "three removed", "neighbours swapped", "moved", "copied", "put in",
        "the first removed", "the end cut off", "all but the first cut off"])
def test_tampering(log: ChainedLog, tmp_path: Path, wanted: str, line: int | None, change) -> None:
    done = tampered(log, tmp_path, change)
    assert done.status == 1 and done.json["good"] is False
    assert wanted in kinds(done), done.json["findings"]
    if line is not None:
        assert line in [f["line"] for f in done.json["findings"] if f["kind"] == wanted], done.json["findings"]


def test_the_end_of_all_cut_off(log: ChainedLog, tmp_path: Path) -> None:
    """Only a place that is known from elsewhere shows it; without one the report says that the end is open."""
    lines = log.files[2].read_text().splitlines(keepends=True)
    copy = tmp_path / "cut"
    number = int(log.place.split(":")[1])
    copy.write_text("".join(lines[:number - 1]))
    done = log.verify([*log.files[:2], copy])
    assert done.status == 0 and "open_end" in [f["kind"] for f in done.json["findings"]]
    assert kinds(log.verify([*log.files[:2], copy], "--expect", log.place)) == ["cut_off"]
    # In the middle of a line.
    copy.write_text("".join(lines)[:-20])
    done = log.verify([*log.files[:2], copy])
    assert {"open_end"} == {f["kind"] for f in done.json["findings"]}


def test_another_key(log: ChainedLog, tmp_path: Path) -> None:
    other = tmp_path / "key"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    done = run("audit", "verify", "--json", "--key-file", other, *log.files, exit_status=1)
    assert set(kinds(done)) == {"wrong_key"}
    if log.key:
        assert set(kinds(run("audit", "verify", "--json", *log.files, exit_status=1))) == {"wrong_key"}


def test_who_has_no_key_cannot_forge(log: ChainedLog, tmp_path: Path) -> None:
    """A whole chain made anew with plain hashes is none for who has the key."""
    if not log.key:
        pytest.skip("this log has plain hashes, which everybody can make anew")
    forged = tmp_path / "forged"
    text = log.files[0].read_text().splitlines()
    forged.write_text("\n".join(line.replace("Keyed:true", "Keyed:false") for line in text) + "\n")
    assert "wrong_key" in kinds(log.verify([forged, *log.files[1:]]))


def test_what_people_read(log: ChainedLog, tmp_path: Path) -> None:
    lines = log.files[0].read_text().splitlines(keepends=True)
    del lines[3]
    copy = tmp_path / "kms-audit.log.1"
    copy.write_text("".join(lines))
    key = ["--key-file", log.key] if log.key else []
    done = run("audit", "verify", *key, copy, *log.files[1:], exit_status=1)
    assert re.search(rf"^{re.escape(str(copy))}:4: PROBLEM: number 4 of the row [0-9a-f]{{16}} are missing before this line "
                     r"\[removed\]$", done.out, re.M), done.out
    assert done.out.splitlines()[-1].startswith("NOT GOOD: ")
    assert not json.loads(run("audit", "verify", "--json", *key, copy, *log.files[1:]).out)["good"]
