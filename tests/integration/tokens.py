# SPDX-License-Identifier: Apache-2.0
"""Delegation tokens as a client handles them: asked for, used, renewed, cancelled, taken apart and put together anew."""
from __future__ import annotations

import base64
import dataclasses
import urllib.parse

from client import Answer, Client, unbase64

HEADER = "X-Hadoop-Delegation-Token"
INVALID = "org.apache.hadoop.security.token.SecretManager$InvalidToken: "
DENIED = "org.apache.hadoop.security.AccessControlException: "
AUTHENTICATION = "org.apache.hadoop.security.authentication.client.AuthenticationException"
NOT_FOUND = INVALID + "Token for real user: , can't be found in cache"
PROPERTY = "hadoop.kms.authentication.delegation-token."


def lifetimes(update: int = 86400, life: int = 604800, renew: int = 86400, scan: int = 3600) -> dict[str, str]:
    """Properties for these seconds."""
    return {PROPERTY + "update-interval.sec": str(update), PROPERTY + "max-lifetime.sec": str(life),
            PROPERTY + "renew-interval.sec": str(renew), PROPERTY + "removal-scan-interval.sec": str(scan)}


def write_vlong(value: int) -> bytes:
    if -112 <= value <= 127:
        return bytes([value & 0xff])
    magnitude = ~value if value < 0 else value
    length = (magnitude.bit_length() + 7) // 8
    return bytes([(-120 if value < 0 else -112) - length & 0xff]) + magnitude.to_bytes(length, "big")


def read_vlong(data: bytes, at: int) -> tuple[int, int]:
    first = int.from_bytes(data[at:at + 1], "big", signed=True)
    if first >= -112:
        return first, at + 1
    length = -112 - first if first >= -120 else -120 - first
    magnitude = int.from_bytes(data[at + 1:at + 1 + length], "big")
    return (~magnitude if first < -120 else magnitude), at + 1 + length


def write_bytes(value: bytes) -> bytes:
    return write_vlong(len(value)) + value


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_vlong(data, at)
    return data[at:at + length], at + length


@dataclasses.dataclass
class Token:
    """Fields in the order of the identifier, then what goes beside it."""

    owner: str
    renewer: str
    real_user: str
    issue_ms: int
    max_ms: int
    sequence: int
    master_key_id: int
    password: bytes
    kind: str
    service: str

    @staticmethod
    def parse(text: str) -> Token:
        raw = unbase64(text)
        identifier, at = read_bytes(raw, 0)
        password, at = read_bytes(raw, at)
        kind, at = read_bytes(raw, at)
        service, at = read_bytes(raw, at)
        assert at == len(raw) and identifier[0] == 0
        names, numbers = [], []
        at = 1
        for _ in range(3):
            name, at = read_bytes(identifier, at)
            names.append(name.decode())
        for _ in range(4):
            number, at = read_vlong(identifier, at)
            numbers.append(number)
        assert at == len(identifier)
        return Token(*names, *numbers, password, kind.decode(), service.decode())

    def identifier(self) -> bytes:
        names = b"".join(write_bytes(n.encode()) for n in (self.owner, self.renewer, self.real_user))
        numbers = (self.issue_ms, self.max_ms, self.sequence, self.master_key_id)
        return b"\0" + names + b"".join(map(write_vlong, numbers))

    def raw(self) -> bytes:
        return (write_bytes(self.identifier()) + write_bytes(self.password) + write_bytes(self.kind.encode())
                + write_bytes(self.service.encode()))

    def text(self) -> str:
        return encode(self.raw())

    def but(self, **changes) -> str:
        """The text of this token with other fields and the same password, unless that is changed, too."""
        return dataclasses.replace(self, **changes).text()

    def said(self) -> str:
        """As messages name it."""
        return (f"(kms-dt owner={self.owner}, renewer={self.renewer}, realUser={self.real_user}, "
                f"issueDate={self.issue_ms}, maxDate={self.max_ms}, sequenceNumber={self.sequence}, "
                f"masterKeyId={self.master_key_id})")


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def get(client: Client, user: str | None, query: str = "renewer=yarn", **more) -> Answer:
    return client.call("GET", "/kms/v1/?op=GETDELEGATIONTOKEN&" + query, user=user, **more)


def issue(client: Client, user: str = "alice", query: str = "renewer=yarn") -> str:
    answer = get(client, user, query)
    assert answer.status == 200, (answer.status, answer.reason, answer.body)
    return answer.json()["Token"]["urlString"]


def use(client: Client, token: str) -> Answer:
    return client.call("GET", "keys/names", headers={HEADER: token}, user=None)


def use_in_query(client: Client, token: str) -> Answer:
    return client.call("GET", "keys/names?delegation=" + urllib.parse.quote(token, safe=""), user=None)


def renew(client: Client, token: str, user: str | None = "yarn", **more) -> Answer:
    return client.call("PUT", "/kms/v1/?op=RENEWDELEGATIONTOKEN&token=" + urllib.parse.quote(token, safe=""), user=user,
                       **more)


def cancel(client: Client, token: str, user: str | None = None, more: str = "", **others) -> Answer:
    return client.call("PUT", f"/kms/v1/?op=CANCELDELEGATIONTOKEN&token={urllib.parse.quote(token, safe='')}{more}",
                       user=user, **others)


def check_refused(answer: Answer, message: str | None = None) -> None:
    """What every use of a bad token is answered; without message, any of Java's."""
    assert (answer.status, answer.reason) == (403, "Forbidden"), (answer.status, answer.reason)
    assert answer.exception() == AUTHENTICATION
    assert answer.header("WWW-Authenticate") is None and answer.header("Set-Cookie") is None
    if message is not None:
        assert answer.message() == message
