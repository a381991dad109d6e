# SPDX-License-Identifier: Apache-2.0
"""Requests recorded with the real Java server, each with its answer. A case may differ only where
docs/compatibility.md says so, and then it has to differ in just that way.

The table there, under "Transcript differences", has the case names in its first column and what mod_kms answers in its
third: the status first, then, in backticks, what else is not compared: header names, or `body`.
"""
from __future__ import annotations

import dataclasses
import functools
import http.client
import json
import re
import urllib.parse
from typing import Any

import pytest
from client import Answer, unbase64
from harness import DATA, TOP, Httpd

pytestmark = pytest.mark.smoke
CASES = json.loads((DATA / "rest-transcripts.json").read_text(encoding="utf-8"))
HOLE = re.compile(r"<(?:provider|keystore|host:port|any)>")


@dataclasses.dataclass
class Difference:
    status: int
    exempt: set[str]


@functools.lru_cache(maxsize=None)
def differences() -> dict[str, Difference]:
    text = (TOP / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = re.search(r"^## Transcript differences$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section, "docs/compatibility.md has no section 'Transcript differences'"
    listed = {}
    for line in section[1].splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        names = re.findall(r"`([\w./-]+)`", cells[0]) if len(cells) == 4 else []
        for name in names:
            status = re.match(r"(\d{3})\b", cells[2])
            assert status, f"the row of {name} does not say the status first"
            listed[name] = Difference(int(status[1]), {w.lower() for w in re.findall(r"`([\w-]+)`", cells[2])})
    return listed


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.area.write_site({"hadoop.kms.proxyuser.proxyu.users": "*", "hadoop.kms.proxyuser.proxyu.hosts": "*"})
    server.area.write("kms-acls.xml", (DATA / "rest-transcripts-kms-acls.xml").read_bytes())
    return server


def send(port: int, step: dict[str, Any]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = step.get("body")
    data = body.encode() if isinstance(body, str) else body
    connection.putrequest(step["method"], step["path"], skip_accept_encoding=True)
    for name, value in (step.get("headers") or {}).items():
        connection.putheader(name, value)
    if data is not None or step["method"] in ("POST", "PUT"):
        connection.putheader("Content-Length", str(len(data or b"")))
    connection.endheaders(data)
    got = connection.getresponse()
    answer = Answer(got.status, got.reason, got.getheaders(), got.read())
    connection.close()
    return answer


def text_fits(wanted: str, got: Any) -> bool:
    """Strings of the recording may have holes, and some stand for a kind of value."""
    sized = re.fullmatch(r"<any-base64:(\d+)>", wanted)
    if sized:
        return isinstance(got, str) and bool(re.fullmatch(r"[\w-]*", got, re.A)) and len(unbase64(got)) == int(sized[1])
    if wanted == "<epoch-ms>":
        return type(got) is int and 10**12 < got < 10**14
    if wanted == "<any-array>":
        return isinstance(got, list)
    return isinstance(got, str) and bool(re.fullmatch(".*".join(map(re.escape, HOLE.split(wanted))), got, re.S))


def value_fits(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, str):
        return text_fits(wanted, got)
    if isinstance(wanted, dict):
        return isinstance(got, dict) and wanted.keys() == got.keys() and \
            all(value_fits(wanted[k], got[k]) for k in wanted)
    if isinstance(wanted, list):
        if len(wanted) == 1 and isinstance(wanted[0], str) and wanted[0].startswith("<contains:"):
            return isinstance(got, list) and wanted[0][len("<contains:"):-1] in got
        return isinstance(got, list) and len(wanted) == len(got) and all(map(value_fits, wanted, got))
    return type(wanted) is type(got) and wanted == got


def same_members(wanted: Any, got: Any) -> bool:
    if not isinstance(wanted, dict):
        return True
    return isinstance(got, dict) and wanted.keys() == got.keys() and \
        all(same_members(wanted[k], got[k]) for k in wanted)


def body_faults(case: dict[str, Any], answer: Answer) -> list[str]:
    kind = case["expect_body_kind"]
    if kind == "empty":
        return [] if not answer.body else [f"a body where there was none: {answer.body[:200]!r}"]
    if kind != "json":
        return []
    try:
        got = answer.json()
    except ValueError:
        return [f"the body is no JSON: {answer.body[:200]!r}"]
    fits = same_members if case["java_specific"] else value_fits
    if not fits(case["expect_json"], got):
        return [f"body {json.dumps(got)[:400]}, wanted {json.dumps(case['expect_json'])[:400]}"]
    return []


def faults(case: dict[str, Any], answer: Answer, exempt: set[str]) -> list[str]:
    """In what the answer is not that of the Java server."""
    found = []
    if answer.status != case["expect_status"]:
        return [f"status {answer.status}, wanted {case['expect_status']}: {answer.body[:200]!r}"]
    if not case["java_specific"]:
        if "reason" not in exempt and answer.reason != case["expect_reason"]:
            found.append(f"reason {answer.reason!r}, wanted {case['expect_reason']!r}")
        for name, value in (case.get("expect_headers") or {}).items():
            if name.lower() not in exempt and not text_fits(value, answer.header(name)):
                found.append(f"header {name}: {answer.header(name)!r}, wanted {value!r}")
    if "body" not in exempt:
        found += body_faults(case, answer)
    return found


def check_case(port: int, case: dict[str, Any]) -> None:
    for step in case["setup"]:
        send(port, step)
    answer = send(port, case)
    documented = differences().get(case["name"])
    if documented is None:
        assert not (found := faults(case, answer, set())), "; ".join(found)
        return
    assert faults(case, answer, set()), "listed in docs/compatibility.md, but the answer is that of the Java server"
    assert answer.status == documented.status
    if answer.status == case["expect_status"]:
        assert not (found := faults(case, answer, documented.exempt)), "; ".join(found)
    elif case["expect_body_kind"] == "json" and "body" not in documented.exempt:
        assert answer.json()["RemoteException"].keys() == {"message", "exception", "javaClassName"}
    if answer.status >= 500:
        pytest.fail("a documented difference that is a server error")


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_case(server: Httpd, case: dict[str, Any]) -> None:
    check_case(server.port, case)


def test_every_listed_case_exists() -> None:
    assert differences().keys() <= {c["name"] for c in CASES}


def test_the_recording_is_whole() -> None:
    assert len(CASES) == 215


def test_location_can_be_followed(client) -> None:
    """Java's doubles a part of the path; ours leads to the key, whatever its name."""
    for name in ("plain", "a/b", "a b", "a@b", "a%41b", "a?b#c;d&e", "\u00e9\u6f22", ".."):
        path = urllib.parse.urlsplit(client.create(name).header("Location")).path
        assert path.startswith("/kms/v1/key/") and "/" not in path[len("/kms/v1/key/"):]
        assert client.call("GET", path).json()["name"] == name


def test_pretty_printing(client) -> None:
    """One member a line, as scripts that cut it with line tools know it."""
    created = client.create("pretty", length=128, material="AAAAAAAAAAAAAAAAAAAAAA")
    assert created.body == (b'{\n  "material": "AAAAAAAAAAAAAAAAAAAAAA",\n  "name": "pretty",\n'
                            b'  "versionName": "pretty@0"\n}')
    assert list(client.metadata("pretty").json()) == \
        ["name", "cipher", "length", "description", "attributes", "created", "versions"]
    eek = client.generate("pretty").json()[0]
    assert list(eek) == ["encryptedKeyVersion", "versionName", "iv"]
    assert list(eek["encryptedKeyVersion"]) == ["material", "name", "versionName"]
