# SPDX-License-Identifier: Apache-2.0
"""Clients that have a Kerberos ticket: curl, and the tokens that curl would send, for requests of the tests' own."""
from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from client import Answer

PREFIX = "Negotiate "


def curl(environment: dict[str, str], *arguments: str) -> list[Answer]:
    """One call of curl --negotiate; every answer that came, the body with the last."""
    with tempfile.TemporaryDirectory(prefix="kms-curl-") as place:
        heads, body = Path(place, "heads"), Path(place, "body")
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", "60", "--http1.1", "--negotiate", "-u", ":", "-D",
             str(heads), "-o", str(body), *arguments], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        answers = [parse_head(block) for block in heads.read_bytes().decode("latin-1").split("\r\n\r\n") if block]
        answers[-1].body = body.read_bytes() if body.exists() else b""
        return answers


def parse_head(block: str) -> Answer:
    first, *rest = block.split("\r\n")
    _, status, reason = (first + " ").split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    return Answer(int(status), reason.strip(), headers, b"")


def ask(environment: dict[str, str], port: int, path: str = "/kms/v1/keys/names", *arguments: str,
        host: str = "localhost") -> Answer:
    """The last answer to a call under one of the server's names."""
    return curl(environment, "--resolve", f"{host}:{port}:127.0.0.1", *arguments, f"http://{host}:{port}{path}")[-1]


def header_for(environment: dict[str, str], host: str = "localhost") -> str:
    """The Authorization header that curl makes for a server of this name, which it never gets to see."""
    assert shutil.which("curl")
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data and (chunk := connection.recv(65536)):
                    data += chunk
                seen.extend(line.partition(": ")[2] for line in data.decode("latin-1").split("\r\n")
                            if line.lower().startswith("authorization: "))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        thread = threading.Thread(target=serve)
        thread.start()
        curl(environment, "--resolve", f"{host}:{port}:127.0.0.1", f"http://{host}:{port}/")
        thread.join(20)
    assert seen and seen[0].startswith(PREFIX), f"curl had no ticket for {host}"
    return seen[0]


def token_for(environment: dict[str, str], host: str = "localhost") -> bytes:
    return base64.b64decode(header_for(environment, host)[len(PREFIX):])


def header_of(token: bytes) -> dict[str, str]:
    return {"Authorization": PREFIX + base64.b64encode(token).decode()}
