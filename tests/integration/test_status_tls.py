# SPDX-License-Identifier: Apache-2.0
"""/kms/status of a server with TLS: the dates of its certificates; and with a thousand keys."""
from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from test_status import BROWSER, Page, screenshot
from tls import TlsDropIn

KEYS = 1000


@pytest.fixture
def tls_server(registry) -> TlsDropIn:
    area = registry.area()
    area.write_site({"hadoop.kms.http.administrators": "root"})
    server = TlsDropIn(area)
    registry.servers.append(server)
    return server


def page_of(server: TlsDropIn) -> str:
    client = server.client(user="root")
    answer = client.call("GET", "/kms/status")
    client.close()
    assert answer.status == 200
    return answer.body.decode()


def certificate_row(server: TlsDropIn) -> tuple[str, str]:
    """The state's class, and the row's text."""
    (row,) = [r for r in page_of(server).split("<tr>") if "server.pem" in r]
    return row.partition('class="pill ')[2].partition('"')[0], " ".join(re.sub("<[^>]+>", " ", row.partition("</table>")[0]).split())


def test_certificate_dates(tls_server: TlsDropIn) -> None:
    """What is served is shown, so that a new file counts from the next graceful restart on."""
    tls_server.start()
    state, text = certificate_row(tls_server)
    assert state == "ok" and "CN = localhost" in text.replace("CN=", "CN = ") and "199 d" in text
    end = subprocess.run(["openssl", "x509", "-in", tls_server.tls / "server.pem", "-noout", "-enddate", "-dateopt", "iso_8601"],
                         capture_output=True, text=True, check=False).stdout.strip().partition("=")[2].rstrip("Z")
    assert not end or end in text
    tls_server.use_certificate(tls_server.authority.server("soon", days=10))
    tls_server.graceful()
    state, text = certificate_row(tls_server)
    assert state == "degraded" and "9 d" in text
    assert "No TLS" not in page_of(tls_server)


def test_a_thousand_keys(tls_server: TlsDropIn) -> None:
    tls_server.start()

    def make(first: int) -> None:
        client = tls_server.client(user="owner")
        for n in range(first, KEYS, 4):
            assert client.create(f"key-{n:04}", length=128).status == 201
        client.close()
    threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = page_of(tls_server)
    said = Page(text).says()
    assert all(f"key-{n:04}" in said for n in (0, 499, 999)) and "Keys 1,000" in said
    if BROWSER is not None:
        with tempfile.TemporaryDirectory() as own:
            screenshot(f"https://127.0.0.1:{tls_server.port}/kms/status?user.name=root", Path(own), "tls", "--ignore-certificate-errors")
