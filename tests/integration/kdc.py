#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A private MIT KDC for the tests: two realms that trust each other, its own krb5.conf, loopback and a port of its own.

As a program it serves until it is ended: kdc.py DIRECTORY [PRINCIPAL...]; see main().
"""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Httpd, die_with_parent, free_port, have_module, serving_account, wait_for

REALM = "TEST.REALM"
OTHER_REALM = "OTHER.REALM"
# Administrators' directories are not on everybody's PATH, and SUSE has its own.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/mit/sbin:/usr/lib/mit/bin"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist")


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise RuntimeError(f"no {name} here")
    return found


def missing() -> list[str]:
    """What the tests of Kerberos need and this machine has not."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if not have_module("auth_gssapi"):
        lacking.append("mod_auth_gssapi")
    return lacking


class Kdc:
    """Serves REALM and OTHER_REALM; a user of either gets tickets for the services of the other."""

    def __init__(self, directory: Path | None = None, port: int = 0) -> None:
        # Others than root read krb5.conf and keytabs here.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="kms-kdc-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.port = port or free_port()
        self.process: subprocess.Popen | None = None
        self.config = self.write_config("krb5.conf")
        self.logins: dict[str, dict[str, str]] = {}
        self._number = 0

    def write_config(self, name: str, realm: str = REALM, service_realm: str = REALM, more: str = "") -> Path:
        """A krb5.conf. realm: the default one. service_realm: where clients look for the services of this host."""
        path = self.directory / name
        realms = "".join(f"  {r} = {{\n    kdc = 127.0.0.1:{self.port}\n  }}\n" for r in (REALM, OTHER_REALM))
        path.write_text(
            f"[libdefaults]\n  default_realm = {realm}\n  dns_lookup_kdc = false\n  dns_lookup_realm = false\n"
            "  dns_canonicalize_hostname = false\n  rdns = false\n  ticket_lifetime = 1h\n  renew_lifetime = 1d\n"
            f"  forwardable = true\n  udp_preference_limit = 1\n{more}"
            f"[realms]\n{realms}"
            f"[domain_realm]\n  localhost = {service_realm}\n  .example.test = {service_realm}\n")
        path.chmod(0o644)
        return path

    def environment(self, config: Path | None = None) -> dict[str, str]:
        """For who asks this KDC."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KRB5")}
        return {**clean, "PATH": PATH, "KRB5_CONFIG": str(config or self.config),
                "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf")}

    # -- life

    def start(self) -> Kdc:
        realms = "".join(
            f"  {r} = {{\n    database_name = {self.directory}/{r}\n    key_stash_file = {self.directory}/stash.{r}\n"
            "    supported_enctypes = aes256-cts:normal aes128-cts:normal\n    max_life = 1d\n"
            "    max_renewable_life = 7d\n  }\n" for r in (REALM, OTHER_REALM))
        (self.directory / "kdc.conf").write_text(
            f"[kdcdefaults]\n  kdc_listen = 127.0.0.1:{self.port}\n  kdc_tcp_listen = 127.0.0.1:{self.port}\n"
            f"[realms]\n{realms}[logging]\n  kdc = FILE:{self.directory}/kdc.log\n"
            f"  default = FILE:{self.directory}/kdc.log\n")
        for realm in (REALM, OTHER_REALM):
            if not (self.directory / realm).exists():
                self.run("kdb5_util", "-r", realm, "create", "-s", "-P", "master")
                # The keys of the trust are the same on both sides.
                self.admin(realm, *(f"addprinc -pw trust krbtgt/{a}@{b}"
                                    for a, b in ((REALM, OTHER_REALM), (OTHER_REALM, REALM))))
        with open(self.directory / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [program("krb5kdc"), "-n", "-r", REALM, "-r", OTHER_REALM, "-P", str(self.directory / "pid")],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=self.environment(),
                preexec_fn=die_with_parent)
        wait_for("the KDC to listen", self.listens, 20)
        return self

    def listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"krb5kdc ended: {(self.directory / 'stderr').read_text()}\n{self.log()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def log(self) -> str:
        path = self.directory / "kdc.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Kdc:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- principals

    def run(self, name: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run([program(name), *arguments], input=text, capture_output=True, text=True, timeout=60,
                              env=self.environment(), check=False)
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def admin(self, realm: str, *commands: str) -> None:
        done = subprocess.run([program("kadmin.local"), "-r", realm], input="\n".join(commands) + "\n",
                              capture_output=True, text=True, timeout=60, env=self.environment(), check=False)
        # kadmin.local goes on after a mistake and ends with 0.
        told = [line for line in done.stderr.splitlines() if "while " in line or line.startswith("kadmin.local: ")]
        assert done.returncode == 0 and not told, done.stderr

    @staticmethod
    def full(principal: str) -> str:
        return principal if "@" in principal else f"{principal}@{REALM}"

    def add(self, *principals: str, options: str = "") -> None:
        """Principals with random keys; of REALM where none is named. One that is there already stays as it is."""
        for realm in (REALM, OTHER_REALM):
            wanted = [p for p in map(self.full, principals) if p.endswith("@" + realm)]
            there = set(self.run("kadmin.local", "-r", realm, "-q", "listprincs").splitlines()) if wanted else set()
            fresh = [p for p in wanted if p not in there]
            if fresh:
                self.admin(realm, *(f"addprinc -randkey {options} {p}" for p in fresh))

    def keytab(self, name: str, *principals: str, options: str = "") -> Path:
        """A keytab with these principals, which are added. For the user of httpd's children, and nobody else."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        self.add(*principals, options=options)
        for realm in (REALM, OTHER_REALM):
            wanted = [p for p in map(self.full, principals) if p.endswith("@" + realm)]
            if wanted:
                self.admin(realm, f"ktadd -norandkey -k {path} {' '.join(wanted)}")
        path.chmod(0o400)
        account = serving_account()
        if account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def login(self, principal: str, *options: str, config: Path | None = None) -> dict[str, str]:
        """Tickets in a cache of their own; returns the environment that uses them. One login without options serves
        the whole session."""
        plain = not options and config is None
        if plain and principal in self.logins:
            return self.logins[principal]
        self._number += 1
        environment = {**self.environment(config), "KRB5CCNAME": f"FILE:{self.directory}/cc.{self._number}"}
        keytab = self.keytab(f"user.{re.sub(r'[/@]', '_', principal)}.keytab", principal)
        done = subprocess.run([program("kinit"), *options, "-k", "-t", str(keytab), self.full(principal)],
                              capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        if plain:
            self.logins[principal] = environment
        return environment


def kerberize(httpd: Httpd, kdc: Kdc, keytab: Path, more: dict[str, str] | None = None, acceptor: str = "") -> None:
    """Makes a server of tests one of Kerberos. more: further properties of kms-site.xml."""
    httpd.more_modules.append("auth_gssapi")
    httpd.usual.add("KMS0534")  # no TLS here
    # The cache of authenticators that were seen, where two servers of tests do not share it.
    seen = httpd.run / "seen"
    seen.mkdir()
    httpd.area.give(seen)
    httpd.environment.update({"KRB5_CONFIG": str(kdc.config), "KRB5RCACHENAME": f"file2:{seen}/rcache"})
    httpd.location = ("  KMSEngine On\n  AuthType GSSAPI\n" f"  GssapiCredStore keytab:{keytab}\n"
                      "  GssapiAllowedMech krb5\n" + (f"  GssapiAcceptorName {acceptor}\n" if acceptor else "")
                      + "  Require valid-user\n")
    httpd.area.write_site({"hadoop.kms.authentication.type": "kerberos",
                           "hadoop.kms.authentication.kerberos.keytab": str(keytab),
                           "hadoop.kms.authentication.kerberos.principal": "*", **(more or {})})


def main() -> None:
    """kdc.py DIRECTORY [PRINCIPAL...]: makes DIRECTORY/krb5.conf and a keytab NAME.keytab for each principal (its first
    component, the HTTP ones share http.keytab), says "KDC ready" and serves."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    kdc = Kdc(directory).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        web = [p for p in sys.argv[2:] if p.startswith("HTTP/")]
        if web:
            kdc.keytab("http.keytab", *web)
        for principal in sys.argv[2:]:
            if principal not in web:
                kdc.keytab(re.split("[/@]", principal)[0] + ".keytab", principal)
        print("KDC ready", flush=True)
        while kdc.process is not None and kdc.process.poll() is None:
            time.sleep(0.2)
        sys.exit("krb5kdc ended")
    finally:
        kdc.stop()


if __name__ == "__main__":
    main()
