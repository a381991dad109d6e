# SPDX-License-Identifier: Apache-2.0
"""A private CA made by the openssl command, the drop-in with its TLS lines switched on, and clients that speak TLS."""
from __future__ import annotations

import datetime
import http.client
import shutil
import ssl
import subprocess
from pathlib import Path

from client import Client
from dropin import DropIn, uncomment_sections
from harness import ITERATIONS, Area

SERVER_NAMES = "DNS:localhost,IP:127.0.0.1,IP:127.0.0.2"


def openssl(*arguments: object, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, errors="replace",
                          timeout=60, check=False, **options)
    assert not check or done.returncode == 0, f"openssl {arguments}: {done.stderr}"
    return done


class Authority:
    """A CA in a directory of its own. Each certificate is NAME.pem, its key NAME.key."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        self.directory = directory
        directory.mkdir()
        self.pem = directory / "ca.pem"
        self.key = directory / "ca.key"
        self.index = directory / "index.txt"  # read by openssl's responder and for its list of revoked ones
        self.index.touch()
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.pem, "-days", 400, "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def certificate(self, name: str, usage: str, subject: str, alternative: str = "", days: int = 200,
                    algorithm: str = "rsa:2048", more: str = "") -> Path:
        request, pem, key = (self.directory / f"{name}.{suffix}" for suffix in ("csr", "pem", "key"))
        parameters = ["-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "ec" else []
        openssl("req", "-newkey", algorithm, *parameters, "-nodes", "-keyout", key, "-out", request, "-subj",
                f"/CN={subject}")
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n" f"extendedKeyUsage={usage}\n"
            + (f"subjectAltName={alternative}\n" if alternative else "") + more)
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-sha256", "-extfile", extensions, "-out", pem)
        self.note(pem, "V")
        return pem

    def server(self, name: str = "server", names: str = SERVER_NAMES, **more) -> Path:
        return self.certificate(name, "serverAuth", "localhost", names, **more)

    def client(self, name: str, **more) -> Path:
        return self.certificate(name, "clientAuth", name, **more)

    def note(self, pem: Path, state: str) -> None:
        """One row of openssl's database of certificates: V valid, R revoked."""
        serial = openssl("x509", "-in", pem, "-noout", "-serial").stdout.strip().partition("=")[2]
        now = datetime.datetime.now(datetime.timezone.utc)
        end = (now + datetime.timedelta(days=100)).strftime("%y%m%d%H%M%SZ")
        revoked = now.strftime("%y%m%d%H%M%SZ") if state == "R" else ""
        rows = [row for row in self.index.read_text().splitlines() if f"\t{serial}\t" not in row]
        rows.append(f"{state}\t{end}\t{revoked}\t{serial}\tunknown\t/CN=x{serial}")
        self.index.write_text("\n".join(rows) + "\n")

    def revoked_list(self) -> Path:
        settings, out = self.directory / "ca.cnf", self.directory / "ca.crl"
        settings.write_text(f"[ca]\ndefault_ca=it\n[it]\ndatabase={self.index}\ndefault_md=sha256\n"
                            "default_crl_days=30\nunique_subject=no\n")
        openssl("ca", "-gencrl", "-config", settings, "-cert", self.pem, "-keyfile", self.key, "-out", out)
        return out


def trusting(authority: Authority | None, certificate: Path | None = None) -> ssl.SSLContext:
    """What a client is set up with: the CA it trusts and, for mutual TLS, its own certificate with the key beside it."""
    context = ssl.create_default_context(cafile=str(authority.pem) if authority else None)
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


class TlsClient(Client):
    def __init__(self, port: int, context: ssl.SSLContext, user: str | None = "u", fresh: bool = False,
                 host: str = "127.0.0.1") -> None:
        super().__init__(port, user, fresh)
        self.connection = http.client.HTTPSConnection(host, port, timeout=60, context=context)


class TlsDropIn(DropIn):
    """The shipped kms.conf with the '#' taken off its TLS lines and their files replaced by those of a private CA."""

    modules = [*DropIn.modules, "ssl", "socache_shmcb", "headers"]
    probe = ("GET", "/")  # in plain HTTP, to which mod_ssl has an answer, and for which nobody needs a certificate

    def __init__(self, area: Area, name: str = "run", authority: Authority | None = None) -> None:
        super().__init__(area, name)
        self.tls = self.run / "tls"
        self.tls.mkdir()
        self.authority = authority or Authority(self.run / "ca")
        self.parts = {"TLS: caches", "TLS"}
        self.server_lines = ["ServerName localhost"]  # further lines of the VirtualHost
        self.use_certificate(self.authority.server(f"server-of-{name}"))

    def use_certificate(self, pem: Path, key: Path | None = None) -> None:
        for source, name in ((pem, "server.pem"), (key or pem.with_suffix(".key"), "server.key")):
            fresh = self.tls / f".{name}"
            shutil.copyfile(source, fresh)
            fresh.chmod(0o400)
            fresh.replace(self.tls / name)

    def ask_for_certificates_of(self, authority: Authority) -> None:
        shutil.copyfile(authority.pem, self.tls / "clients-ca.pem")
        self.parts |= {"TLS: client certificates"}

    def shipped(self) -> dict[str, str]:
        return {**super().shipped(), "/etc/hadoop-kms/tls": str(self.tls)}

    def choose(self, kms_conf: str) -> str:
        assert "#SSLRequireSSL" in kms_conf and "#KMSKeystoreIterations 200000" in kms_conf
        kms_conf = kms_conf.replace("#SSLRequireSSL", "SSLRequireSSL")
        kms_conf = kms_conf.replace("#KMSKeystoreIterations 200000", f"KMSKeystoreIterations {ITERATIONS}")
        kms_conf = uncomment_sections(kms_conf, self.parts)
        head, end, tail = kms_conf.rpartition("</VirtualHost>")
        return head + "".join(line + "\n" for line in self.server_lines) + end + tail

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        return trusting(self.authority, certificate)

    def client(self, certificate: Path | None = None, **more) -> TlsClient:
        return TlsClient(self.port, self.context(certificate), **more)
