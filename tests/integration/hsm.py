# SPDX-License-Identifier: Apache-2.0
"""Tokens for the tests: SoftHSM in a folder of the test, the same behind p11-kit's server, and a library with faults."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from harness import TOP, Area, Httpd, die_with_parent, serving_account, wait_for

LIBRARIES = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so"]
PIN = "integration-1234"
COMPILER = shutil.which("cc") or shutil.which("gcc")


def softhsm() -> str:
    return next((path for path in LIBRARIES if os.path.exists(path)), "")


def pkg_config(*words: str) -> str:
    return subprocess.run(["pkg-config", *words, "p11-kit-1"], capture_output=True, text=True, check=False).stdout.strip()


def client_library() -> str:
    return pkg_config("--variable=p11_module_path") + "/p11-kit-client.so"


def missing() -> str:
    """What is not here of all that these tests need; empty: nothing."""
    needs = {"softhsm": softhsm(), "softhsm2-util": shutil.which("softhsm2-util"), "p11-kit": shutil.which("p11-kit"),
             "p11-kit-client.so": os.path.exists(client_library()), "cc": COMPILER}
    return ", ".join(name for name, there in needs.items() if not there)


class Token:
    """A token labelled kms, owned by those who serve. httpd is configured for it by use()."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self.folder = area.path / "hsm"
        (self.folder / "tokens").mkdir(parents=True)
        self.faults = self.folder / "faults"
        self.faults.mkdir()
        conf = self.folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(conf), "KMS_TEST_HSM_LIBRARY": softhsm(),
                            "KMS_TEST_HSM_FAULTS": str(self.faults)}
        self.make_token()
        self.pin_file = self.folder / "pin"
        self.set_pin(PIN)
        for path in [self.folder, *self.folder.rglob("*")]:
            area.give(path)
        self.metadata = area.store / "kms.hsm"
        self.library = softhsm()
        self.server: subprocess.Popen | None = None

    def make_token(self) -> None:
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "kms", "--pin", PIN, "--so-pin", "567890"],
                       env={**os.environ, **self.environment}, check=True, capture_output=True)

    def forget(self) -> None:
        """An empty token of the same name in the place of this one."""
        shutil.rmtree(self.folder / "tokens")
        (self.folder / "tokens").mkdir()
        self.make_token()
        for path in [self.folder, *self.folder.rglob("*")]:
            self.area.give(path)

    def set_pin(self, pin: str) -> None:
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)

    def use(self, httpd: Httpd, site: dict[str, str] | None = None, **more: object) -> None:
        """more are properties hadoop.kms.hsm.*, site any others."""
        httpd.environment = dict(self.environment)
        httpd.usual |= {"KMS0140", "KMS0158"}
        properties = {
            "hadoop.kms.key.provider.uri": f"hsm://generic@{self.metadata}",
            "hadoop.kms.hsm.token": "pkcs11:token=kms",
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
        return self.folder / "socket"

    def with_server(self) -> None:
        self.library = client_library()
        self.environment["P11_KIT_SERVER_ADDRESS"] = f"unix:path={self.socket}"
        self.start_server()

    def start_server(self) -> None:
        account = serving_account()

        def become() -> None:
            os.setpgid(0, 0)
            if account is not None:
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            die_with_parent()

        self.server = subprocess.Popen(["p11-kit", "server", "-f", "--provider", softhsm(), "-n", str(self.socket), "pkcs11:"],
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
