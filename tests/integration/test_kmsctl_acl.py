# SPDX-License-Identifier: Apache-2.0
"""kmsctl acl: the decisions of the Java server's own lists, findings with file and line, logs judged by other rules."""
from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from client import Client
from harness import DATA, OPEN_KEY_ACLS, Httpd, hadoop_xml
from kmsctl import run

VECTORS = json.loads((DATA / "auth-vectors.json").read_text(encoding="utf-8"))["acl"]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "kms-site.xml").write_text(hadoop_xml({}))
    (tmp_path / "core-site.xml").write_text(hadoop_xml({}))
    return tmp_path


def acls(conf: Path, properties: dict[str, str], name: str = "kms-acls.xml") -> Path:
    path = conf / name
    path.write_text(hadoop_xml(properties), encoding="utf-8")
    return path


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_the_lists_of_the_java_server(conf: Path) -> None:
    assert len(VECTORS) >= 19
    for vector in VECTORS:
        # An empty value is a property that is not set, which for an operation admits everybody: as a key ACL it is the
        # denial that the list itself means.
        path = acls(conf, {"key.acl.k.READ": vector["acl"]})
        words = ["--user", vector["user"], "--groups", ",".join(vector["groups"])]
        if vector["realUser"]:
            words += ["--real-user", vector["realUser"]]
        done = run("acl", "explain", "--conf", conf, "--op", "READ", "--key", "k", *words, "--json")
        answer = json.loads(done.out)
        assert done.status == (0 if vector["allowed"] else 1), (vector, done)
        assert answer["explanation"]["allowed"] is vector["allowed"]
        if vector["acl"].strip(" ,"):
            text = run("acl", "explain", "--conf", conf, "--op", "READ", "--key", "k", *words).out
            assert text.startswith("ALLOW " if vector["allowed"] else "DENY ")
            assert f"{path}:3: key.acl.k.READ = " in text, text


def test_file_line_and_rule(conf: Path) -> None:
    path = acls(conf, {"hadoop.kms.acl.CREATE": "alice", "hadoop.kms.acl.GENERATE_EEK": " etl",
                       "hadoop.kms.blacklist.GENERATE_EEK": "bob", "key.acl.payroll.GENERATE_EEK": "carol"})

    def explain(status: int, *words: str) -> list[str]:
        return run("acl", "explain", "--conf", conf, "--key", "payroll", *words, exit_status=status).out.splitlines()
    lines = explain(1, "--user", "bob", "--groups", "etl", "--op", "GENERATE_EEK")
    assert lines[0] == "DENY bob GENERATE_EEK on 'payroll'"
    assert lines[1].startswith(f"  by {path}:{line_of(path, 'blacklist')}: hadoop.kms.blacklist.GENERATE_EEK = 'bob' names user")
    lines = explain(1, "--user", "dora", "--groups", "etl", "--op", "GENERATE_EEK")
    assert lines[1].startswith(f"  by {path}:{line_of(path, 'payroll')}: key.acl.payroll.GENERATE_EEK = 'carol'")
    lines = explain(0, "--user", "carol", "--groups", "etl", "--op", "GENERATE_EEK")
    assert lines[0] == "ALLOW carol GENERATE_EEK on 'payroll'"
    # No rule at all: the file is named all the same.
    lines = explain(1, "--user", "carol", "--op", "DECRYPT_EEK")
    assert lines[1].startswith(f"  by {path}: ") and "denied" in lines[1]


@pytest.mark.parametrize("code, properties, where", [
    ("users-as-groups", {"hadoop.kms.acl.CREATE": "alice, bob"}, "hadoop.kms.acl.CREATE"),
    ("unknown-operation", {"key.acl.k.DECRYPT": "alice"}, "key.acl.k.DECRYPT"),
    ("unreachable", {"hadoop.kms.acl.CREATE": "alice", "hadoop.kms.blacklist.CREATE": "*"}, "hadoop.kms.acl.CREATE"),
    ("default-shadowed", {"default.key.acl.READ": "*", "default.key.acl.DECRYPT_EEK": "*", "key.acl.k.READ": "alice"},
     "key.acl.k.READ"),
])
def test_mistakes(conf: Path, code: str, properties: dict[str, str], where: str) -> None:
    path = acls(conf, properties)
    answer = json.loads(run("acl", "check", "--strict", "--json", path, "--conf", conf, exit_status=1).out)
    found = [f for f in answer["findings"] if f["code"] == code]
    assert found, answer["findings"]
    assert (found[0]["file"], found[0]["line"]) == (str(path), line_of(path, f"<name>{where}<"))
    text = run("acl", "check", path, "--conf", conf).out
    assert re.search(rf"^{re.escape(str(path))}:\d+: (error|warning): {re.escape(where)}: .+ \[{code}\]$", text, re.M), text


def test_a_file_that_does_not_parse(conf: Path) -> None:
    path = conf / "kms-acls.xml"
    path.write_text("<configuration>\n<property>\n<name>x</nmae>\n")
    done = run("acl", "check", "--conf", conf, exit_status=1)
    assert str(path) in done.err and ":3" in done.err


def make_log(server: Httpd) -> None:
    """Calls of which other rules decide some otherwise."""
    server.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.acl.DELETE": "alice"})
    server.start()
    alice, bob = Client(server.port, "alice"), Client(server.port, "bob")
    for name in ("k", "other"):
        alice.create(name)
    eek = bob.generate("k").json()[0]
    for _ in range(3):
        assert bob.decrypt(eek).status == 200
    assert alice.decrypt(eek).status == 200
    assert bob.delete("other").status == 403
    Client(server.port, None).names()
    alice.roll("no-such-key")


def test_replay_of_both_formats(registry, conf: Path) -> None:
    new = acls(conf, {**OPEN_KEY_ACLS, "hadoop.kms.acl.DECRYPT_EEK": "alice"}, "new.xml")
    answers = {}
    for form in ("java", "json"):
        server = registry.httpd(name=form)
        server.directives.append(f"KMSAuditFormat {form}")
        make_log(server)
        # What a log has beside calls: lines of another kind and what somebody else wrote.
        log = conf / f"{form}.log"
        log.write_bytes(server.audit_log.read_bytes() + b"\nnot a line\n\xff\xfe\x00\n")
        done = run("acl", "replay", "--json", "--conf", conf, new, log, exit_status=1)
        answers[form] = json.loads(done.out)
        assert json.loads(run("acl", "replay", "--json", "--conf", conf, new, "-", exit_status=1,
                              stdin=server.audit_log.read_text()).out)["differences"] == answers[form]["differences"]
        text = run("acl", "replay", "--conf", conf, new, log, exit_status=1).out
        assert "now DENIED: bob DECRYPT_EEK on 'k', 3 calls, " in text and "now ALLOWED: bob DELETE" in text
        assert f"  by {new}:{line_of(new, 'hadoop.kms.acl.DECRYPT_EEK')}: hadoop.kms.acl.DECRYPT_EEK = 'alice'" in text
    for form, answer in answers.items():
        what = [(d["now_allowed"], d["user"], d["operation"], d["calls"]) for d in answer["differences"]]
        assert what == [(False, "bob", "DECRYPT_EEK", 3), (True, "bob", "DELETE_KEY", 1)] or \
            sorted(what) == [(False, "bob", "DECRYPT_EEK", 3), (True, "bob", "DELETE_KEY", 1)], (form, what)
    assert answers["java"]["counts"] == answers["json"]["counts"]


def garbage(seed: int, good: bytes) -> bytes:
    """Lines of a real log, of which bytes were changed, left out, doubled; and noise."""
    rng = random.Random(seed)
    data = bytearray(good)
    for _ in range(rng.randrange(1, 60)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.randrange(200)]
        elif kind == 2:
            data[at:at] = data[at:at + rng.randrange(200)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(50))
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("form", ["java", "json"])
def test_garbage(registry, conf: Path, form: str) -> None:
    """No file makes them crash or lose themselves; the verdict is one of the two."""
    server = registry.httpd()
    server.directives += [f"KMSAuditFormat {form}", "KMSAuditChain On"]
    server.usual.add("KMS0404")
    make_log(server)
    server.stop()
    good = server.audit_log.read_bytes()
    new = acls(conf, OPEN_KEY_ACLS, "new.xml")
    path = conf / "garbage"
    extra = [b"", b"\0" * 5000, b"x" * 200000, b"{" * 5000, b'{"time":' * 3000, bytes(range(256)) * 20]
    for data in [*extra, *(garbage(seed, good) for seed in range(6))]:
        path.write_bytes(data)
        for words in (("audit", "verify", path), ("acl", "replay", "--conf", conf, new, path)):
            done = run(*words, "--json")
            assert done.status in (0, 1), done
            assert json.loads(done.out)["exit"] == done.status
        # What cannot be read by people is not sent to their terminal.
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", run("acl", "replay", "--conf", conf, new, path).out)
