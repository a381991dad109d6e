# SPDX-License-Identifier: Apache-2.0
"""The audit log: a line for each operation, in order, which nobody forges and without which no key is served."""
from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from client import Client, quote
from harness import OPEN_KEY_ACLS, Httpd, is_root, wait_for

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (.*)", re.S)


def messages(server: Httpd) -> list[str]:
    """The lines without their times, each of which has to be well formed."""
    out = []
    for line in server.audit_lines():
        match = LINE.fullmatch(line)
        assert match, f"not a line of the audit log: {line!r}"
        out.append(match[1])
    return out


@pytest.mark.smoke
def test_a_line_for_each_operation_in_order(httpd: Httpd) -> None:
    httpd.start()
    begin = len(messages(httpd))
    c = Client(httpd.port, "alice")
    c.create("k1", description="first")
    c.create("k2", material="A" * 22)
    c.roll("k1")
    c.names()
    c.metadata("k1")
    c.call("GET", "keys/metadata?key=k1&key=k2")
    c.current("k1")
    c.version("k1@0")
    c.versions("k1")
    eek = c.generate("k1").json()[0]
    c.decrypt(eek)
    c.reencrypt(eek)
    c.reencrypt_batch("k1", [eek, eek, eek])
    c.invalidate("k1")
    c.delete("k2")
    lines = messages(httpd)[begin:]
    prefixes = [
        "OK[op=CREATE_KEY, key=k1, user=alice] UserProvidedMaterial:false Description:first",
        "OK[op=CREATE_KEY, key=k2, user=alice] UserProvidedMaterial:true Description:null",
        "OK[op=ROLL_NEW_VERSION, key=k1, user=alice] UserProvidedMaterial:false NewVersion:k1@1",
        "OK[op=GET_KEYS, user=alice] ",
        "OK[op=GET_METADATA, key=k1, user=alice] ",
        "OK[op=GET_KEYS_METADATA, user=alice] ",
        "OK[op=GET_CURRENT_KEY, key=k1, user=alice",
        "OK[op=GET_KEY_VERSION, key=k1, user=alice",
        "OK[op=GET_KEY_VERSIONS, key=k1, user=alice] ",
        "OK[op=GENERATE_EEK, key=k1, user=alice",
        "OK[op=DECRYPT_EEK, key=k1, user=alice",
        "OK[op=REENCRYPT_EEK, key=k1, user=alice",
        "OK[op=REENCRYPT_EEK_BATCH, key=k1, user=alice] reencrypted 3 keys",
        "OK[op=INVALIDATE_CACHE, key=k1, user=alice] ",
        "OK[op=DELETE_KEY, key=k2, user=alice] ",
    ]
    assert len(lines) == len(prefixes), "\n".join(lines)
    for line, prefix in zip(lines, prefixes):
        assert line.startswith(prefix)


def test_refusals_and_failures(httpd: Httpd) -> None:
    httpd.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.CREATE": "bob", "key.acl.own.MANAGEMENT": "alice",
                           "key.acl.own.READ": "alice"})
    httpd.start()
    begin = len(messages(httpd))
    alice, bob, nobody = Client(httpd.port, "alice"), Client(httpd.port, "bob"), Client(httpd.port, None)
    bob.create("k")
    alice.create("own")
    bob.metadata("own")
    bob.generate("own")
    nobody.call("GET", "keys/names")
    alice.call("POST", "keyversion/own@0/_eek?eek_op=nonsense", {"name": "own", "iv": "", "material": ""})
    alice.roll("no-such-key")
    lines = messages(httpd)[begin:]
    wanted = [
        "UNAUTHORIZED[op=CREATE_KEY, key=k, user=bob] ",
        "OK[op=CREATE_KEY, key=own, user=alice] UserProvidedMaterial:false Description:null",
        "UNAUTHORIZED[op=READ, key=own, user=bob] ",
        "UNAUTHORIZED[op=ALL, key=own, user=bob] ",
        "UNAUTHORIZED[op=GENERATE_EEK, key=own, user=bob] ",
        "UNAUTHORIZED[op=ALL, key=own, user=bob] ",
    ]
    assert lines[:6] == wanted
    rest = lines[6:]
    if rest[0].startswith("ERROR[user=bob]"):
        rest.pop(0)  # Java's own shape of a refused generate
    assert rest[0].startswith("UNAUTHENTICATED RemoteHost:127.0.0.1 Method:GET "
                              f"URL:http://127.0.0.1:{httpd.port}/kms/v1/keys/names ErrorMsg:'Authentication required'")
    assert rest[1] == "ERROR[user=alice] Method:'POST' Exception:" \
        "'IllegalArgumentException Wrong eek_op value, it must be generate or decrypt'"
    assert rest[2] == "ERROR[user=alice] Method:'POST' Exception:'Can't find Metadata for key no-such-key'"
    assert len(rest) == 3


def test_who_acts_for_whom(httpd: Httpd) -> None:
    httpd.area.write_site({"hadoop.kms.proxyuser.gateway.users": "*", "hadoop.kms.proxyuser.gateway.hosts": "*"})
    httpd.start()
    Client(httpd.port).call("GET", "keys/names?doAs=alice", user="gateway")
    assert messages(httpd)[-1].startswith("OK[op=GET_KEYS, user=alice] ")


FORGED = "\n2026-01-01 00:00:00,000 OK[op=DELETE_KEY, key=k, user=root] "


@pytest.mark.smoke
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x0b", "\x1b[2K", "\x00"])
def test_nobody_forges_a_line(httpd: Httpd, end: str) -> None:
    httpd.start()
    begin = httpd.audit_log.read_bytes().count(b"\n")
    evil = "x" + end + FORGED[1:]
    c = Client(httpd.port, "alice")
    calls = [
        lambda: c.create(evil), lambda: c.create("k", description=evil), lambda: c.metadata(evil),
        lambda: c.roll(evil), lambda: c.delete(evil), lambda: c.generate(evil), lambda: c.version(evil + "@0"),
        lambda: c.call("GET", "keys/names", user=evil), lambda: c.call("GET", "keys/metadata?key=" + quote(evil)),
        lambda: c.call("GET", "keys/names?doAs=" + quote(evil)),
        lambda: c.call("GET", "keys/names?x=" + quote(evil), user=None),
        lambda: c.call("GET", "key/" + quote(evil), user=None),
        lambda: c.call("GET", "keys/names", user=None, headers={"Cookie": 'hadoop.auth="' + quote(evil) + '"'}),
        lambda: c.call("POST", "keyversion/k@0/_eek?eek_op=decrypt", {"name": evil, "iv": "", "material": ""}),
        lambda: c.call("POST", f"keyversion/k@0/_eek?eek_op={quote(evil)}", {"name": "k", "iv": "", "material": ""}),
        lambda: c.call("POST", "keys", {"name": "n", "attributes": {evil: evil}}),
    ]
    for call in calls:
        call()
    text = httpd.audit_log.read_bytes()
    lines = text.split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (OK|UNAUTHORIZED|ERROR)\[|"
                        rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} UNAUTHENTICATED RemoteHost:", line), line
        assert not re.match(rb"2026-01-01 00:00:00,000", line)
        assert not re.search(rb"[\x00-\x1f\x7f]", line), line
    assert len(lines) - begin <= len(calls) + 4


def test_secrets_stay_out_of_all_logs(httpd: Httpd) -> None:
    """Key material, cookies and tokens, whichever way they come."""
    httpd.start()
    c = Client(httpd.port, "alice")
    material = "c2VjcmV0IG1hdGVyaWFsIQ"
    c.create("k", material=material)
    dek = c.decrypt(c.generate("k").json()[0]).json()["material"]
    c.call("POST", "keys", '{"name": "k2", "material": "' + material)  # malformed
    c.call("POST", "keys", {"name": "k3", "material": material[:-4]})
    c.call("GET", "keys/names?delegation=canary-token", user=None)
    c.call("PUT", "?op=RENEWDELEGATIONTOKEN&token=canary-token", user=None)
    for log in (httpd.audit_log, httpd.error_log, httpd.run / "stderr"):
        text = log.read_text(errors="replace")
        for secret in (material, material[:-4], dek, "canary-token"):
            assert secret not in text, log.name


def test_a_full_audit_log_stops_the_service(httpd: Httpd) -> None:
    httpd.start()
    made = Client(httpd.port).create("before").json()
    httpd.stop()
    httpd.audit_log = Path("/dev/full")
    httpd.start()
    httpd.allow("KMS0601", "KMS0401", "KMS0402")
    c = Client(httpd.port)
    for answer in (c.create("k"), c.roll("before"), c.current("before"), c.names(), c.generate("before"),
                   c.delete("before"), c.call("GET", "keys/names", user=None)):
        assert answer.status == 503, answer.body
        assert b"material" not in answer.body or b"RemoteException" in answer.body
    httpd.stop()
    httpd.audit_log = httpd.run / "kms-audit.log"
    httpd.start()
    c = Client(httpd.port)
    assert c.names().json() == ["before"], "a key was made or deleted that nobody can read about"
    assert c.current("before").json() == made


@pytest.mark.skipif(not is_root(), reason="mounts a small file system")
def test_a_disk_that_fills_up(httpd: Httpd) -> None:
    small = httpd.area.path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("no mounts here")
    try:
        httpd.audit_log = small / "kms-audit.log"
        httpd.start()
        httpd.allow("KMS0601", "KMS0401", "KMS0402")
        c = Client(httpd.port)
        c.create("k")
        room = small / "ballast"
        with contextlib.suppress(OSError), open(room, "wb", buffering=0) as f:
            for _ in range(1024):
                f.write(bytes(1024))
        made, refused = [], 0
        for i in range(400):
            answer = c.create(f"full-{i}", description="x" * 200)
            if answer.status == 201:
                made.append(f"full-{i}")
            else:
                assert answer.status == 503
                refused += 1
            if refused > 5:
                break
        assert refused > 5
        assert sorted(n for n in _names_after_making_room(c, room)) == sorted(["k", *made])
        for line in httpd.audit_lines():
            assert LINE.fullmatch(line) or line == "", line
        noted = {m[1] for m in re.finditer(r"OK\[op=CREATE_KEY, key=([\w-]+),", httpd.audit_log.read_text())}
        assert set(made) <= noted
    finally:
        httpd.stop()
        subprocess.run(["umount", small], check=True)


def _names_after_making_room(client: Client, ballast: Path) -> list[str]:
    ballast.unlink()
    answer = client.names()
    assert answer.status == 200, "the service has to come back by itself when there is room again"
    return answer.json()


def test_repeats_are_summed_up_only_when_asked_for(httpd: Httpd) -> None:
    httpd.directives += ["KMSAuditAggregate On", "KMSAuditAggregateWindow 2000"]
    # One child, so that one table counts.
    httpd.children = "StartServers 1\nServerLimit 1\nThreadsPerChild 5\nMaxRequestWorkers 5\n" \
        "MinSpareThreads 1\nMaxSpareThreads 5\n"
    httpd.start()
    c = Client(httpd.port, "alice")
    c.create("k")
    eek = c.generate("k").json()[0]
    for _ in range(5):
        c.decrypt(eek)

    def decrypts() -> list[str]:
        return [m for m in messages(httpd) if "op=DECRYPT_EEK" in m]
    assert decrypts() == ["OK[op=DECRYPT_EEK, key=k, user=alice, accessCount=1, interval=0ms] "]
    wait_for("the summary", lambda: len(decrypts()) == 2, 10)
    assert re.fullmatch(r"OK\[op=DECRYPT_EEK, key=k, user=alice, accessCount=5, interval=\d+ms\] ", decrypts()[1])


def test_a_stop_loses_no_counts(httpd: Httpd) -> None:
    httpd.directives += ["KMSAuditAggregate On", "KMSAuditAggregateWindow 60000"]
    httpd.start()
    c = Client(httpd.port, "alice")
    c.create("k")
    eek = c.generate("k").json()[0]
    for _ in range(7):
        c.decrypt(eek)
    c.close()
    httpd.stop()
    counts = [int(n) for n in re.findall(r"op=DECRYPT_EEK, key=k, user=alice, accessCount=(\d+)",
                                         "\n".join(messages(httpd)))]
    assert 7 in counts


def test_graceful_opens_the_file_anew(httpd: Httpd) -> None:
    """What logrotate relies on."""
    httpd.allow("KMS0406")  # said when the look of a second falls between the renaming and the restart
    httpd.start()
    c = Client(httpd.port, "alice", fresh=True)
    c.create("before")
    old = httpd.audit_log.with_suffix(".1")
    os.rename(httpd.audit_log, old)
    httpd.graceful()
    wait_for("the new file", httpd.audit_log.exists)
    time.sleep(0.3)
    c.create("after")
    assert any("key=after" in m for m in messages(httpd))
    assert "key=before" in old.read_text()
