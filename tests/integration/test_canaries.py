# SPDX-License-Identifier: Apache-2.0
"""No secret reaches a log, an answer to somebody else, the environment or what httpd says of its configuration.

Each secret is made for the test, so that it can be looked for: as text, in hex and in base64, wherever it begins.
"""
from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from client import Client, raw, unbase64
from dropin import DropIn
from harness import Area, Httpd, free_port, hadoop_xml, is_root, serving_account, wait_for
from tokens import Token, cancel, issue, read_bytes, read_vlong, renew, use as use_token, use_in_query


class Canaries:
    """Secrets by name. A find is a secret in any of its forms in any of the texts."""

    def __init__(self) -> None:
        self.planted: dict[str, bytes] = {}

    def plant(self, name: str, value: bytes | str) -> bytes:
        value = value.encode() if isinstance(value, str) else value
        assert len(value) >= 12, "too short to be looked for"
        self.planted[name] = value
        return value

    def word(self, name: str) -> str:
        return self.plant(name, f"canary-{secrets.token_hex(12)}").decode()

    def forms(self, value: bytes) -> set[bytes]:
        found = {value, value.hex().encode(), value.hex().upper().encode(), value.hex(" ").encode(),
                 value.hex(":").encode()}
        # A slash is left as it is by those who quote a whole path.
        found |= {urllib.parse.quote_from_bytes(value, safe).encode() for safe in ("", "/")}
        for skip in range(3):
            # In base64 of a longer text: what is left when the characters that depend on the neighbours are cut off.
            text = base64.b64encode(b"\0" * skip + value).rstrip(b"=")
            core = text[(0, 2, 3)[skip]:len(text) - 1]
            found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
        # Text in UTF-16, as Java's strings are.
        found.add(value.decode("latin-1").encode("utf-16-be"))
        return found

    def finds(self, texts: dict[str, bytes]) -> list[str]:
        return [f"{name} in {place}" for name, value in self.planted.items() for place, text in texts.items()
                if any(form in text for form in self.forms(value))]


def test_finds_are_found() -> None:
    c = Canaries()
    # Every byte value once: quoting and both alphabets of base64 treat some of them differently.
    value = c.plant("x", bytes(secrets.SystemRandom().sample(range(256), 256)))
    for text in (value, value.hex().encode(), base64.b64encode(value), base64.b64encode(b"a" + value + b"b"),
                 base64.urlsafe_b64encode(b"ab" + value), urllib.parse.quote_from_bytes(value).encode(),
                 urllib.parse.quote_from_bytes(value, safe="").encode()):
        assert c.finds({"here": b"some " + text + b" text", "there": b""}) == ["x in here"]


class Logged(DropIn):
    """The drop-in, with everything in the error log that may be there while others can read it."""

    modules = [*DropIn.modules, "info"]
    levels = "debug kms:trace8"

    def __init__(self, area: Area, name: str = "run") -> None:
        super().__init__(area, name)
        self.lines: list[str] = []
        self.usual = {"KMS0106", "KMS0601", "KMS0602"}  # of debug, and of what clients do wrong

    def choose(self, kms_conf: str) -> str:
        kms_conf = kms_conf.replace("#KMSKeystoreIterations 200000", "KMSKeystoreIterations 10000")
        head, end, tail = kms_conf.rpartition("    <Location")
        return head + "".join(line + "\n" for line in self.lines) + end + tail

    def frame(self) -> str:
        return f"LogLevel {self.levels}\n"

    def say(self, *options: str) -> bytes:
        done = subprocess.run(self.command(*options), capture_output=True, env=self.environ(), timeout=60, check=False)
        return done.stdout + done.stderr

    def texts(self) -> dict[str, bytes]:
        """All that this server has said, by where it did."""
        found = {f.name: f.read_bytes() for f in self.run.iterdir() if f.is_file() and f.name != "httpd.conf"}
        assert {"error_log", "kms-audit.log", "stderr"} <= set(found)
        for options in (["-V"], ["-t"], ["-S"], ["-t", "-DDUMP_CONFIG"], ["-t", "-DDUMP_MODULES"]):
            found["httpd " + " ".join(options)] = self.say(*options)
        for pid in [self.pid, *self.child_pids()]:
            for name in ("environ", "cmdline"):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has just ended
                    if is_root() or pid == self.pid:
                        found[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
        return found


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def logged(registry, area: Area, canaries: Canaries) -> Logged:
    """A server whose keystore password and cookie secret are canaries."""
    server = Logged(area)
    registry.servers.append(server)
    password = area.write("kms.keystore.password", canaries.word("keystore password") + "\n")
    secret = area.write("signature-secret", canaries.word("cookie secret"))
    for path in (password, secret):
        path.chmod(0o640)
        if (account := serving_account()) is not None:
            os.chown(path, 0, account.pw_gid)
    server.lines.append(f'KMSSignatureSecretFile "{secret}"')
    return server


def use(server: Httpd, canaries: Canaries) -> None:
    """Everything a client does, and much of what it should not."""
    client = Client(server.port)
    material = canaries.plant("key material", secrets.token_bytes(32))
    text = base64.urlsafe_b64encode(material).decode().rstrip("=")
    first = client.create("k", material=text, length=256)
    assert first.status == 201
    cookie = canaries.plant("cookie", re.search(r"&s=([^\"]+)", first.cookie())[1])
    rolled = client.roll("k", material=base64.urlsafe_b64encode(
        canaries.plant("rolled material", secrets.token_bytes(32))).decode())
    assert rolled.status == 200
    canaries.plant("generated material", unbase64(client.create("made").json()["material"]))
    eek = client.generate("k").json()[0]
    canaries.plant("DEK", unbase64(client.decrypt(eek).json()["material"]))
    assert client.reencrypt(eek).status == 200
    assert client.reencrypt_batch("k", [eek] * 3).status == 200
    assert text in client.versions("k").body.decode()
    use_badly(client, canaries, cookie.decode(), text)


def use_badly(client: Client, canaries: Canaries, signature: str, material: str) -> None:
    whole = f'hadoop.auth="u=u&p=u&t=simple-dt&e=9&s={signature}"'
    good = {"name": "bad", "material": material}
    for body in (json.dumps(good)[:-1], json.dumps({**good, "cipher": material}), json.dumps({**good, "length": "x"}),
                 json.dumps([good]), json.dumps({**good, "material": material + "!"}),
                 json.dumps({"name": material})[:-2], json.dumps({**good, "attributes": {"a": None}})):
        assert client.call("POST", "keys", body).status >= 400, body
    assert client.call("POST", "keys", json.dumps(good), {"Content-Type": "text/plain"}).status == 415
    assert client.call("PUT", "keys", json.dumps(good)).status == 405
    assert client.roll("nobody", material=material).status >= 400
    assert client.call("POST", "keyversion/k%400/_eek?eek_op=decrypt",
                       {"name": "k", "iv": material, "material": material}).status >= 400
    nobody = Client(client.port, user=None)
    bad = canaries.word("forged token")
    for headers in ({"Cookie": whole}, {"Cookie": whole[:-3]}, {"X-Hadoop-Delegation-Token": bad},
                    {"Authorization": "Negotiate " + base64.b64encode(bad.encode()).decode()},
                    {"Authorization": "Basic " + base64.b64encode(bad.encode()).decode()}):
        assert nobody.call("GET", "keys/names", headers=headers).status in (401, 403)
    for query in (f"delegation={bad}", f"op=RENEWDELEGATIONTOKEN&token={bad}", f"op=CANCELDELEGATIONTOKEN&token={bad}",
                  f"DELEGATION={bad}", f"op=GETDELEGATIONTOKEN&delegation={bad}&token={bad}"):
        for method in ("GET", "PUT", "POST", "OPTIONS"):
            nobody.call(method, f"/kms/v1/?{query}")
            nobody.call(method, f"/kms/v1/key/k?{query}")
            nobody.call(method, f"/nowhere?{query}")
    raw(client.port, f"GET /kms/v1/?delegation={bad} HTTP/9.9\r\n\r\n".encode())


def use_tokens(server: Httpd, canaries: Canaries) -> None:
    """A delegation token made, used, renewed and cancelled, in header and query; then what is no token any more, or never was."""
    client, nobody = Client(server.port), Client(server.port, user=None)
    token = issue(client, "u", "renewer=u")
    canaries.plant("token", token)
    password = canaries.plant("token password", Token.parse(token).password)
    assert use_token(nobody, token).status == 200 and use_in_query(nobody, token).status == 200
    assert nobody.call("GET", f"key/absent/_eek?eek_op=wrong&delegation={token}").status >= 400
    assert renew(client, token, "u").status == 200
    other = Token.parse(issue(client, "other", "renewer=u"))
    canaries.plant("other password", other.password)
    for text in (other.but(password=password), other.but(owner="admin"), other.text()[:-12], other.but(kind="x", sequence=9999)):
        assert use_token(nobody, text).status == use_in_query(nobody, text).status == 403
        assert renew(client, text, "u").status == 403 and cancel(nobody, text).status == 404
        assert cancel(client, text, headers={"Cookie": client.call("GET", "keys/names").cookie()}).status == 404
        assert renew(client, text, "mallory").status == 403 and renew(client, text, None).status == 403
    assert nobody.call("GET", f"keys/names?token={token}&Delegation={token}").status == 401
    assert cancel(nobody, token).status == 200 and use_in_query(nobody, token).status == 403
    canaries.plant("master key of tokens", master_key(server.area.store / "kms.keystore.tokens"))


def master_key(journal: Path) -> bytes:
    """Of the first record that adds one: its type (5), id, end of its life, and the key with its length before it."""
    data = journal.read_bytes()
    at = 64
    while data[at + 8] != 5:
        at += 8 + int.from_bytes(data[at + 4:at + 8], "big") + 16
        assert data[at:at + 4] == b"KTRC"
    _, at = read_vlong(data, at + 9)
    _, at = read_vlong(data, at)
    key, _ = read_bytes(data, at)
    assert len(key) == 32
    return key


@pytest.mark.smoke
def test_no_secret_is_said(logged: Logged, canaries: Canaries) -> None:
    logged.start()
    use(logged, canaries)
    use_tokens(logged, canaries)
    logged.graceful()
    assert {"keystore password", "cookie secret", "key material", "DEK", "cookie", "token", "token password",
            "master key of tokens"} <= set(canaries.planted)
    texts = logged.texts()
    assert len(texts["error_log"]) > 10000 and b"access" in b" ".join(name.encode() for name in texts)
    assert canaries.finds(texts) == []


def test_trouble_says_no_secret(logged: Logged, canaries: Canaries) -> None:
    """A keystore that breaks while it is served, and one that another password seals."""
    logged.start()
    use(logged, canaries)
    keystore = logged.area.keystore
    whole = keystore.read_bytes()
    keystore.write_bytes(whole[:len(whole) // 2])
    wait_for("the damage to be noticed", lambda: "KMS0107" in logged.log_text())
    Client(logged.port).create("refused", material=base64.b64encode(canaries.planted["key material"]).decode())
    logged.allow("KMS0107", "KMS0109")
    keystore.write_bytes(whole)
    assert canaries.finds(logged.texts()) == []
    logged.area.write("kms.keystore.password", canaries.word("wrong password") + "\n").chmod(0o644)
    code, said = logged.configtest()
    assert code != 0 and "password was incorrect" in said
    assert canaries.finds({"configtest": said.encode()}) == []


@pytest.mark.parametrize("where", ["environment", "directive"])
def test_passwords_from_elsewhere(registry, area: Area, canaries: Canaries, where: str) -> None:
    server = Logged(area)
    registry.servers.append(server)
    password = canaries.word("keystore password")
    site = area.site_properties()
    del site["hadoop.security.keystore.java-keystore-provider.password-file"]
    area.write("kms-site.xml", hadoop_xml(site))
    if where == "environment":
        server.environment = {"HADOOP_KEYSTORE_PASSWORD": password}
    else:
        server.lines.append(f"KMSKeystorePassword {password}")
        other = "hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.keystore.password"
        server.lines.append(f"KMSProperty {other} {canaries.word('password of something else')}")
        server.usual |= {"KMS0505"}
    server.start()
    assert Client(server.port).create("k").status == 201
    server.graceful()
    assert Client(server.port).current("k").status == 200
    texts = server.texts()
    if where == "environment":
        server.environment = {}
    assert canaries.finds(texts) == []


@pytest.mark.parametrize("ssl", [False, True], ids=["plain", "ssl"])
def test_credentials_of_zookeeper(registry, area: Area, canaries: Canaries, ssl: bool) -> None:
    """Cookie secrets and tokens in a ZooKeeper that is away, so that there is much to say; or one that cannot be used as asked."""
    server = Logged(area)
    registry.servers.append(server)
    signer = "hadoop.kms.authentication.signer.secret.provider"
    manager = "hadoop.kms.authentication.zk-dt-secret-manager"
    stores = {f"{prefix}.ssl.{store}.{what}": canaries.word(f"{prefix} {store}") if what == "password" else "/nowhere.pem"
              for prefix in (f"{signer}.zookeeper", manager) for store in ("keystore", "truststore")
              for what in ("password", "location")}
    area.write_site({
        **stores, signer: "zookeeper", f"{signer}.zookeeper.connection.string": f"127.0.0.1:{free_port()}",
        f"{signer}.zookeeper.auth.type": "none", f"{signer}.zookeeper.ssl.enabled": str(ssl).lower(),
        f"{manager}.enable": "true", f"{manager}.zkConnectionString": "127.0.0.1:1", f"{manager}.zkAuthType": "none",
        f"{manager}.ssl.enabled": str(ssl).lower(),
    })
    code, said = server.configtest()
    assert canaries.finds({"configtest": said.encode()}) == []
    if code != 0:
        # No client of ZooKeeper in this build, or one without TLS.
        assert "hadoop.kms.authentication." in said and len(canaries.planted) == 4
        return
    server.allow("KMS0333", "KMS0334", "KMS0336", "KMS0340", "KMS0508", "KMS0601", "KMS0335")
    server.start()
    client = Client(server.port)
    assert client.names().status == 503 and client.call("GET", "/kms/v1/?op=GETDELEGATIONTOKEN").status == 503
    assert use_token(client, Token("u", "u", "", 1, 2, 3, 4, b"p" * 20, "kms-dt", "").text()).status == 503
    assert "KMS0334" in server.log_text() and "KMS0335" in server.log_text()
    assert canaries.finds(server.texts()) == []


def test_children_leave_no_core_file(logged: Logged) -> None:
    """The kernel gives the files of a process that must not be dumped to root."""
    if not is_root():
        pytest.skip("root alone sees whose the files are")
    logged.start()
    for pid in logged.child_pids():
        assert "Uid:\t0" not in Path(f"/proc/{pid}/status").read_text()
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def test_what_holds_secrets_is_closed_to_others(logged: Logged) -> None:
    logged.start()
    client = Client(logged.port)
    assert client.create("k").status == 201
    assert client.call("GET", "/kms/v1/?op=GETDELEGATIONTOKEN&renewer=u").status == 200
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in logged.area.store.iterdir()}
    assert {"kms.keystore", "kms.keystore.tokens"} <= set(modes)
    assert all(mode == "0o600" for mode in modes.values()), modes
    assert (logged.audit_log.stat().st_mode & 0o007) == 0


@pytest.mark.parametrize("setting, secret", [
    ('CustomLog "RUN/access" "%h %u %t \\"%r\\" %>s"', "token"), ('CustomLog "RUN/access" "%m %U%q"', "token"),
    ("LogLevel http:trace4", "cookie"),
], ids=["%r", "%q", "LogLevel"])
def test_settings_that_do_say_secrets(logged: Logged, canaries: Canaries, setting: str, secret: str) -> None:
    """These are httpd's own, and docs/security.md warns of them; that they are found shows that the search works."""
    logged.lines.append(setting.replace("RUN", str(logged.run)))
    if "LogLevel" in setting:
        logged.expect("KMS0512")
    logged.start()
    use(logged, canaries)
    use_tokens(logged, canaries)
    found = canaries.finds(logged.texts())
    assert any(f.startswith(secret + " in ") for f in found), found
