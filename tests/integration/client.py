# SPDX-License-Identifier: Apache-2.0
"""HTTP clients for the tests: a plain one on http.client, and raw bytes for what no library would send."""
from __future__ import annotations

import base64
import dataclasses
import http.client
import io
import json
import socket
import urllib.parse
from typing import Any

JSON = {"Content-Type": "application/json"}
SELF = object()  # the user of the Client


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    def exception(self) -> str:
        return self.json()["RemoteException"]["javaClassName"]

    def message(self) -> str:
        return self.json()["RemoteException"]["message"]

    def cookie(self) -> str | None:
        """The hadoop.auth cookie as a client sends it back: NAME=VALUE with the quotes."""
        text = self.header("Set-Cookie")
        return text.split(";")[0] if text else None


class Client:
    """Calls of one user over one connection, which is kept. Paths are below /kms/v1/ unless they start with a slash."""

    def __init__(self, port: int, user: str | None = "u", fresh: bool = False) -> None:
        self.port = port
        self.user = user
        self.fresh = fresh  # a connection for each request
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
             user: Any = SELF) -> Answer:
        user = self.user if user is SELF else user
        if not path.startswith("/"):
            path = "/kms/v1/" + path
        if user is not None:
            path += ("&" if "?" in path else "?") + "user.name=" + urllib.parse.quote(user)
        data = body
        sent = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            data = json.dumps(body)
        if body is not None and "Content-Type" not in sent:
            sent.update(JSON)
        if isinstance(data, str):
            data = data.encode()
        if data is None and method == "POST":
            sent.setdefault("Content-Length", "0")
        if self.fresh:
            self.close()
        answer = self.exchange(method, path, data, sent)
        if self.fresh:
            self.close()
        return answer

    def exchange(self, *request: Any) -> Answer:
        """A server may close a kept connection while it is idle. A request that meets this never got there, and is
        sent anew, once, on a fresh connection, as every client does; a fresh one that is closed is a failure."""
        kept = self.connection.sock is not None
        try:
            self.connection.request(*request)
            got = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not kept:
                raise
            return self.exchange(*request)
        return Answer(got.status, got.reason, got.getheaders(), got.read())

    def close(self) -> None:
        self.connection.close()

    # -- operations; each returns the Answer

    def create(self, name: str, **members: Any) -> Answer:
        return self.call("POST", "keys", {"name": name, **members})

    def roll(self, name: str, **members: Any) -> Answer:
        return self.call("POST", "key/" + quote(name), members)

    def delete(self, name: str) -> Answer:
        return self.call("DELETE", "key/" + quote(name))

    def metadata(self, name: str) -> Answer:
        return self.call("GET", f"key/{quote(name)}/_metadata")

    def current(self, name: str) -> Answer:
        return self.call("GET", f"key/{quote(name)}/_currentversion")

    def version(self, version: str) -> Answer:
        return self.call("GET", f"keyversion/{quote(version)}")

    def versions(self, name: str) -> Answer:
        return self.call("GET", f"key/{quote(name)}/_versions")

    def names(self) -> Answer:
        return self.call("GET", "keys/names")

    def generate(self, name: str, count: int = 1) -> Answer:
        return self.call("GET", f"key/{quote(name)}/_eek?eek_op=generate&num_keys={count}")

    def decrypt(self, eek: dict[str, Any]) -> Answer:
        return self.call("POST", f"keyversion/{quote(eek['versionName'])}/_eek?eek_op=decrypt", decrypt_body(eek))

    def reencrypt(self, eek: dict[str, Any]) -> Answer:
        return self.call("POST", f"keyversion/{quote(eek['versionName'])}/_eek?eek_op=reencrypt", decrypt_body(eek))

    def reencrypt_batch(self, name: str, eeks: list[dict[str, Any]]) -> Answer:
        return self.call("POST", f"key/{quote(name)}/_reencryptbatch", eeks)

    def invalidate(self, name: str) -> Answer:
        return self.call("POST", f"key/{quote(name)}/_invalidatecache")


def quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def decrypt_body(eek: dict[str, Any]) -> dict[str, Any]:
    return {"name": eek["versionName"].rpartition("@")[0], "iv": eek["iv"],
            "material": eek["encryptedKeyVersion"]["material"]}


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def raw(port: int, data: bytes, timeout: float = 20, half_close: bool = True) -> bytes:
    """Sends bytes as they are, says there are no more, and returns all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(data)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        received = bytearray()
        try:
            while chunk := s.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return bytes(received)


def parse_answers(data: bytes) -> list[Answer]:
    """The answers of a pipelined connection."""
    answers = []
    sink = _Bytes(data)
    while sink.left():
        response = http.client.HTTPResponse(sink)  # type: ignore[arg-type]
        response.begin()
        answers.append(Answer(response.status, response.reason, response.getheaders(), response.read()))
    return answers


class _Bytes:
    """What HTTPResponse wants of a socket, over bytes that are here already."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]

    def left(self) -> bool:
        return bool(self.file.peek(1))

    def makefile(self, *_: Any) -> Any:
        return _Kept(self.file)


class _Kept:
    """A file that stays open when one answer is over."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        pass
