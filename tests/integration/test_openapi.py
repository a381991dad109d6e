# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml against a real server: schemathesis makes requests of it, good and bad, and an answer that the file
does not describe is a failure. schemathesis.toml says what is asked of which operation."""
from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from client import Client
from harness import TOP, Httpd

SPEC = TOP / "docs" / "openapi.yaml"
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def module_server(module_registry) -> Httpd:
    server = module_registry.httpd()
    server.start()
    client = Client(server.port)
    for name in ("demo", "obsolete"):  # the examples of the file
        assert client.create(name, length=128).status == 201
    client.close()
    return server


def schemathesis(server: Httpd, spec: Path, *options: str) -> None:
    # Not a skip: what is not there has tested nothing. tools/check installs it.
    assert importlib.util.find_spec("schemathesis"), f"{sys.executable} has no schemathesis (pip install schemathesis)"
    client = Client(server.port)
    cookie = client.names().cookie()
    client.close()
    assert cookie is not None
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(spec), "--url",
         f"http://127.0.0.1:{server.port}", "-H", f"Cookie: {cookie}", "--no-color", "--continue-on-failure",
         "--generation-deterministic", "--request-timeout", "60", *options],
        capture_output=True, text=True, timeout=240, check=False, cwd=server.run)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert tested and int(tested[2]) > 300, done.stdout
    assert re.search(r"Selected: (\d+)/\1\n\s+Tested: \1\n", done.stdout), done.stdout


def test_every_answer_is_described(server: Httpd) -> None:
    schemathesis(server, SPEC, "--phases", "examples,coverage,fuzzing", "--max-examples", "12")


def test_credentials_are_asked_for(server: Httpd, tmp_path: Path) -> None:
    """Without user.name, which is believed, a request with no or false credentials is refused."""
    text = SPEC.read_text(encoding="utf-8")
    strict = re.sub(r"^ *- userName: \[\]\n", "", text, flags=re.M)
    assert strict != text
    path = tmp_path / "openapi.yaml"
    path.write_text(strict, encoding="utf-8")
    schemathesis(server, path, "--phases", "examples,coverage", "--checks", "ignored_auth")


def test_an_answer_that_is_not_described_is_found(server: Httpd, tmp_path: Path) -> None:
    text = SPEC.read_text(encoding="utf-8")
    wrong = text.replace("already exists in |", "")
    assert wrong != text
    path = tmp_path / "openapi.yaml"
    path.write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match="POST /kms/v1/keys"):
        schemathesis(server, path, "--phases", "examples", "--include-operation-id", "createKey")
