# SPDX-License-Identifier: Apache-2.0
"""Tokens for the tests, as tests/tokens/token makes them: which, says KMS_TEST_TOKEN. Any behind p11-kit's server, and with a
library that has faults."""
from __future__ import annotations

import collections
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from client import Client
from harness import TOP, Area, Httpd, die_with_parent, serving_account, wait_for

TOOL = TOP / "tests" / "tokens" / "token"
PIN = "int-1234"
COMPILER = shutil.which("cc") or shutil.which("gcc")
CHOSEN = os.environ.get("KMS_TEST_TOKEN")
KIND = CHOSEN or "softhsm"


def tool(*words: object) -> str:
    return subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True, check=True).stdout


def pkg_config(*words: str) -> str:
    return subprocess.run(["pkg-config", *words, "p11-kit-1"], capture_output=True, text=True, check=False).stdout.strip()


def client_library() -> str:
    return pkg_config("--variable=p11_module_path") + "/p11-kit-client.so"


def missing() -> str:
    """What is not here of all that these tests need; empty: nothing. Where somebody asked for a token it must be there."""
    lacks = [tool("missing", kind).strip() for kind in {KIND, "remote"}] + ([] if COMPILER else ["cc"])
    text = ", ".join(filter(None, lacks))
    if text and CHOSEN:
        raise RuntimeError(f"missing for KMS_TEST_TOKEN={CHOSEN}: {text}")
    return text


class Token:
    """A token, owned by those who serve. httpd is configured for it by use()."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self.folder = area.path / "hsm"
        self.faults = self.folder / "faults"
        self.faults.mkdir(parents=True)
        self.made = self.folder / "made"
        self.library = self.served = self.label = ""
        self.environment = {"KMS_TEST_HSM_FAULTS": str(self.faults)}
        self.pin_file = self.folder / "pin"
        self.metadata = area.store / "kms.hsm"
        self.server: subprocess.Popen | None = None
        self.set_pin(PIN)
        self.make_token()

    def make_token(self) -> None:
        self.made.mkdir()
        server = ""
        for line in tool("new", KIND, self.made, PIN).splitlines():
            word, value = line.split(" ", 1)
            if word == "library":
                self.library = value
            elif word == "label":
                self.label = value
            elif word == "server":
                server = value
            else:
                self.environment.update([value.split("=", 1)])
        self.served = server or self.library
        self.environment["KMS_TEST_HSM_LIBRARY"] = self.library
        self.give()
        if server:
            self.with_server()

    def give(self) -> None:
        for path in [self.folder, *self.folder.rglob("*")]:
            self.area.give(path)

    def forget(self) -> None:
        """An empty token of the same name in the place of this one."""
        self.kill_server()
        shutil.rmtree(self.made)
        self.make_token()

    def change_pin(self, old: str, new: str) -> None:
        """At the token, by somebody else, while others are logged in."""
        tool("pin", KIND, self.made, old, new)
        self.give()

    @property
    def address(self) -> str:
        return f"pkcs11:token={self.label}"

    def set_pin(self, pin: str) -> None:
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)

    def use(self, httpd: Httpd, site: dict[str, str] | None = None, **more: object) -> None:
        """more are properties hadoop.kms.hsm.*, site any others."""
        httpd.environment = dict(self.environment)
        httpd.usual |= {"KMS0140", "KMS0158", "KMS0166"}
        properties = {
            "hadoop.kms.key.provider.uri": f"hsm://generic@{self.metadata}",
            "hadoop.kms.hsm.token": self.address,
            "hadoop.kms.hsm.library": self.library,
            "hadoop.kms.hsm.pin-file": str(self.pin_file),
        }
        properties.update({f"hadoop.kms.hsm.{name.replace('_', '.')}": str(value) for name, value in more.items()})
        self.area.write_site({**properties, **(site or {})})

    # -- faults

    def with_faults(self) -> None:
        library = self.folder / "hsm_fault.so"
        flags = pkg_config("--cflags").split()
        subprocess.run([COMPILER, "-shared", "-fPIC", *flags, "-o", library, TOP / "tests" / "unit" / "hsm_fault.c", "-ldl"],
                       check=True)
        self.library = str(library)

    def hold(self) -> None:
        (self.faults / "hold").touch()

    def release(self) -> None:
        (self.faults / "hold").unlink(missing_ok=True)

    # -- the network

    @property
    def socket(self) -> Path:
        return self.made / "socket"

    def with_server(self) -> None:
        """Behind p11-kit's server from now on; where it is there already this changes nothing."""
        if self.server is not None:
            return
        self.library = client_library()
        self.environment["KMS_TEST_HSM_LIBRARY"] = self.library
        self.environment["P11_KIT_SERVER_ADDRESS"] = f"unix:path={self.socket}"
        self.start_server()

    def start_server(self) -> None:
        account = serving_account()

        def become() -> None:
            os.setpgid(0, 0)
            if account is not None:
                os.initgroups(account.pw_name, account.pw_gid)
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            die_with_parent()

        self.server = subprocess.Popen(["p11-kit", "server", "-f", "--provider", self.served, "-n", str(self.socket), "pkcs11:"],
                                       env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=become)
        wait_for("p11-kit server to listen", self.listens)

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(OSError):
            s.connect(str(self.socket))
            return True
        return False

    def kill_server(self) -> None:
        if self.server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait(20)
        self.server = None
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.release()
        self.kill_server()


class Decrypts:
    """Clients that decrypt one EEK all the time, each call on a connection of its own."""

    def __init__(self, httpd: Httpd, eek: dict, clients: int = 8) -> None:
        self.httpd, self.eek = httpd, eek
        self.dek = Client(httpd.port, fresh=True).decrypt(eek).json()["material"]
        self.seen: collections.Counter = collections.Counter()
        self.last_refused = 0.0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.decrypt) for _ in range(clients)]

    def __enter__(self) -> Decrypts:
        for thread in self.threads:
            thread.start()
        self.serve()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def decrypt(self) -> None:
        client = Client(self.httpd.port, fresh=True)
        while not self.stopping.is_set():
            try:
                answer = client.decrypt(self.eek)
            except (OSError, http.client.HTTPException) as e:
                self.seen[f"no answer: {type(e).__name__}"] += 1
                continue
            if answer.status == 200:
                self.seen["good" if answer.json()["material"] == self.dek else "wrong"] += 1
                continue
            told = answer.status == 503 and answer.header("Retry-After") is not None
            self.seen["refused" if told else f"unexpected {answer.status}"] += 1
            self.last_refused = time.monotonic()
            time.sleep(0.01)

    def serve(self, calls: int = 100) -> None:
        before = self.seen["good"]
        wait_for("decrypts", lambda: self.seen["good"] > before + calls, 60)

    def healthy_after(self, moment: float) -> float:
        """Seconds from then (time.monotonic()) until the last refusal: once there was none for two seconds and many calls."""
        before = self.seen["good"]
        wait_for("no more refusals", lambda: time.monotonic() - max(self.last_refused, moment) > 2
                 and self.seen["good"] > before + 200, 90)
        return max(0.0, self.last_refused - moment)

    def figures(self, what: str, seconds: float) -> str:
        calls = sum(self.seen.values())
        return f"{KIND}: {what}: {calls} calls, {calls - self.seen['good']} refused, healthy after {seconds:.1f} s"
