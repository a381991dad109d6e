# SPDX-License-Identifier: Apache-2.0
"""/kms/status on a real httpd, and in a real browser where there is one."""
from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from client import Answer, Client
from harness import Httpd, wait_for

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
NEVER_CLOSED = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
NAMES = [EVIL.lower(), "\u202egnp.exe", "x" * 900, "\u05de\u05e4\u05ea\u05d7", "a&b;c"]


class Page(HTMLParser):
    """The page as elements, and whether what opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in NEVER_CLOSED and tag not in ("rect",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for t, attrs in self.elements if t == tag]

    def says(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.allowed |= {"KMS0632"}
    server.area.write_site({"hadoop.kms.http.administrators": "root"})
    server.area.write_acls({"default.key.acl.MANAGEMENT": "*", "default.key.acl.READ": "*",
                            "default.key.acl.GENERATE_EEK": "*", "default.key.acl.DECRYPT_EEK": "alice"})
    server.directives += ["KMSRateLimit user read 3/hour burst=1", "KMSDecryptAlarm key 100/hour"]
    server.start()
    owner = Client(server.port, "owner")
    for name in NAMES:
        assert owner.create(name, length=128).status == 201, name
    eek = owner.generate(NAMES[0]).json()[0]
    assert Client(server.port, "stranger").decrypt(eek).status == 403
    assert [Client(server.port, "limited").names().status for _ in range(2)] == [200, 429]
    return server


def page(server: Httpd, query: str = "", user: str = "root") -> Answer:
    client = Client(server.port, user)
    answer = client.call("GET", "/kms/status" + query)
    client.close()
    return answer


def test_page(server: Httpd) -> None:
    answer = page(server)
    assert answer.status == 200
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert answer.header("Cache-Control") == "no-store"
    text = answer.body.decode()
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.header("Content-Security-Policy")
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    parsed = Page(text)
    assert not parsed.all("script") and not parsed.all("img") and not parsed.all("iframe")
    assert not any(a.startswith("on") or a == "style" for _, attrs in parsed.elements for a in attrs)
    for _, attrs in parsed.elements:
        for name in ("src", "href"):
            assert attrs.get(name, "?").startswith(("?", "data:,")), attrs
    said = parsed.says()
    for name in NAMES:
        assert name[:100].replace("\u202e", "\\u202e") in said
    for words in ("Health", "Keystore", "AES/CTR/NoPadding", "user read 3/hour burst=1", "rate limit", "No TLS"):
        assert words in said
    tables = parsed.all("table")
    assert len(tables) >= 6 and len(parsed.all("caption")) == len(tables)
    assert all(th.get("scope") in ("col", "row") for th in parsed.all("th"))


def test_operations(server: Httpd) -> None:
    """What the counters of all processes say, as numbers and as bars."""
    alice = Client(server.port, "alice", fresh=True)
    before = re.search(rb'>generate_eek</th><td class="n">([0-9,]+)<', page(server).body)
    for _ in range(5):
        assert alice.generate(NAMES[0]).status == 200
    body = page(server).body
    after = re.search(rb'>generate_eek</th><td class="n">([0-9,]+)<', body)
    assert int(after[1]) == int(before[1]) + 5
    row = next(r for r in body.decode().split("<tr>") if ">decrypt_eek</th>" in r)
    assert '</th><td class="n">0</td><td class="n">1</td>' in row  # the stranger was denied
    assert 'class="bar"' in row and "<title>1 up to" in row


def test_no_material(server: Httpd) -> None:
    owner = Client(server.port, "another")
    material = owner.create("secret", length=128).json()["material"]
    assert material and material not in page(server).body.decode()


def test_only_administrators(server: Httpd) -> None:
    assert page(server, user="alice").status == 403


def test_refresh(server: Httpd) -> None:
    assert b"http-equiv=\"refresh\"" not in page(server).body
    for query, seconds in (("?refresh=10", b"10"), ("?refresh=1", b"2"), ("?refresh=99999999", b"3600")):
        assert b'<meta http-equiv="refresh" content="' + seconds + b'">' in page(server, query).body
    for query in ("?refresh=0", "?refresh=-5", "?refresh=x%22%3E", "?refresh="):
        assert b"http-equiv=\"refresh\"" not in page(server, query).body


def test_red(httpd: Httpd) -> None:
    httpd.allowed |= {"KMS0205"}
    httpd.area.write_site({"hadoop.kms.http.administrators": "root"})
    httpd.start()
    (httpd.area.conf / "kms-acls.xml").unlink()

    def red() -> str | None:
        body = page(httpd).body.decode()  # once: another process may not know it yet
        return body if "<title>KMS degraded" in body else None
    assert "kms-acls.xml is gone" in Page(wait_for("a yellow page", red)).says()
    httpd.area.write_acls({})
    wait_for("a green page", lambda: b"<title>KMS ok" in page(httpd).body)


def screenshot(url: str, own: Path, name: str, *more: str) -> None:
    """The browser draws it, and has nothing to complain about: no violation of the policy, no error."""
    shot = Path(os.environ.get("KMS_SCREENSHOT_DIR", own)) / f"status-{name}.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--disable-quic", "--hide-scrollbars", "--enable-logging=stderr",
               "--window-size=1280,2200", f"--user-data-dir={own}/profile", *more]
    done = subprocess.run([*command, f"--screenshot={shot}", url], capture_output=True, text=True, timeout=180, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
    assert shot.stat().st_size > 20000  # a page with text, and not a white one


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(server: Httpd, dark: bool) -> None:
    with tempfile.TemporaryDirectory() as own:
        screenshot(f"http://127.0.0.1:{server.port}/kms/status?user.name=root", Path(own), "dark" if dark else "light",
                   *(["--force-dark-mode"] if dark else []))
