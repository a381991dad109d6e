# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL with TLS and passwords, and areas whose keys are in it."""
from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path

import kmsctl
from harness import TOP, Area, die_with_parent, free_port, wait_for
from tls import openssl

SCRIPT = TOP / "tests" / "postgres"
ROLE = "kms_node"
USUAL = {"KMS0371", "KMS0375"}  # who makes the first cookie secrets and the first master key


def missing() -> bool:
    return subprocess.run([SCRIPT, "check"], capture_output=True, check=False).returncode != 0


def certificate(key: Path, out: Path) -> None:
    """A key, and a certificate of 127.0.0.1 signed by itself."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=postgres",
            "-addext", "subjectAltName=IP:127.0.0.1", "-days", 2, "-keyout", key, "-out", out)


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Postgres:
    """Sessions of kms, for the tests, are trusted; nodes are kms_node, with TLS and a password."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kms-pg-", dir="/tmp"))
        self.path.chmod(0o755)
        self.port = free_port()
        self.data = self.path / "data"
        self.password = secrets.token_hex(12)
        self.process: subprocess.Popen | None = None
        self.databases = 0
        subprocess.run([SCRIPT, "init", self.data], check=True, timeout=120)
        self.make_certificate()
        (self.data / "pg_hba.conf").write_text(f"host all kms 127.0.0.1/32 trust\nhost replication kms 127.0.0.1/32 trust\n"
                                               f"hostssl all {ROLE} 127.0.0.1/32 scram-sha-256\n")

    def make_certificate(self) -> None:
        key = self.data / "server.key"
        certificate(key, self.certificate)
        owner = self.data.stat()
        for file in (key, self.certificate):
            os.chown(file, owner.st_uid, owner.st_gid)
        key.chmod(0o600)
        self.certificate.chmod(0o644)

    @property
    def certificate(self) -> Path:
        return self.path / "server.crt"

    def standby(self) -> Postgres:
        """A server that follows this one; from then on a commit waits until it has it on its disk."""
        it = Postgres.__new__(Postgres)
        it.path = Path(tempfile.mkdtemp(prefix="kms-pg-", dir="/tmp"))
        it.path.chmod(0o755)
        it.port, it.data, it.password, it.process, it.databases = free_port(), it.path / "data", self.password, None, 0
        it.data.mkdir(0o700)
        owner = self.data.stat()
        os.chown(it.data, owner.st_uid, owner.st_gid)
        self.copy_to(it.data)
        it.certificate.write_bytes(self.certificate.read_bytes())
        it.start()
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        wait_for("the standby", lambda: self.sql("SELECT sync_state FROM pg_stat_replication") == "sync" and
                 self.sql("SHOW synchronous_standby_names") == "*", 60)
        return it

    def copy_to(self, data: Path) -> None:
        """A base backup that starts as a standby. The server may be older than our pg_basebackup, whose -R would give it options
        that it does not know; or newer, which pg_basebackup refuses."""
        tool = subprocess.run([SCRIPT, "as", "pg_basebackup", "--version"], capture_output=True, text=True, check=True).stdout
        here = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "kms"]
        if int(tool.split()[2].split(".")[0]) >= int(self.sql("SHOW server_version_num")) // 10000:
            subprocess.run([SCRIPT, "as", "pg_basebackup", *here, "-D", data, "-X", "stream", "-c", "fast", "--no-sync"], check=True,
                           timeout=120, capture_output=True)
        else:
            # What is in the folder and goes away meanwhile is no error; the label says where the WAL is to be played from.
            steps = (f"SELECT pg_backup_start('standby', true) \\g /dev/null\n\\! cp -a {self.data}/. {data}/ 2>/dev/null\n"
                     f"\\! rm -f {data}/postmaster.*\nSELECT labelfile FROM pg_backup_stop(false) \\g {data}/backup_label\n")
            subprocess.run([SCRIPT, "as", "psql", *here, "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"], input=steps, text=True,
                           check=True, timeout=120, capture_output=True)
        (data / "standby.signal").touch()
        with open(data / "postgresql.auto.conf", "a", encoding="ascii") as out:
            out.write(f"primary_conninfo = 'host=127.0.0.1 port={self.port} user=kms'\n")

    def crash(self) -> None:
        """Every process of it at once, so that none of them gets a word out."""
        assert self.process is not None
        mine = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(p) == self.process.pid]
        for pid in [self.process.pid, *mine]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def __enter__(self) -> Postgres:
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop(signal.SIGINT)
        subprocess.run(["rm", "-rf", self.path], check=False)

    def start(self, *options: str) -> None:
        with open(self.path / "log", "ab") as log:
            self.process = subprocess.Popen(
                [SCRIPT, "run", self.data, str(self.port), "-c", "ssl=on", "-c", f"ssl_cert_file={self.certificate}", "-c",
                 f"ssl_key_file={self.data / 'server.key'}", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        wait_for("PostgreSQL", self.answers, 60)

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError("PostgreSQL ended:\n" + (self.path / "log").read_text())
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.sql("SELECT 1") == "1"
        return False

    def stop(self, how: int) -> None:
        """SIGINT ends it in order, SIGKILL is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def sql(self, statement: str, database: str = "postgres") -> str:
        return subprocess.run([SCRIPT, "as", "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "kms", "-d", database,
                               "-XAtqc", statement], capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def database(self) -> str:
        """A new one, of the nodes' role."""
        self.databases += 1
        name = f"kms{self.databases}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        return name

    def uri(self, database: str, *others: Postgres) -> str:
        hosts = ",".join(f"127.0.0.1:{it.port}" for it in (self, *others))
        return f"trustee://{ROLE}@{hosts}/{database}"

    def properties(self, area: Area, database: str, *others: Postgres) -> dict[str, str]:
        """What kms-site.xml has to say of the database, whose secrets are in files of the area from then on."""
        for name, content in (("db.password", self.password.encode() + b"\n"), ("seal.key", b"S" * 32)):
            area.write(name, content).chmod(0o600)
        area.write("db-ca.pem", self.certificate.read_bytes())
        return {"hadoop.kms.key.provider.uri": self.uri(database, *others),
                "hadoop.kms.trustee.password-file": "db.password",
                "hadoop.kms.trustee.seal.key-file": "seal.key",
                "hadoop.kms.trustee.ssl.root-cert": "db-ca.pem",
                "hadoop.kms.trustee.require-synchronous-standby": "false"}

    def configure(self, area: Area, database: str, more: dict[str, str] | None = None, *others: Postgres,
                  site: dict[str, str] | None = None) -> None:
        """Makes database the place of the area's keys; more are properties hadoop.kms.trustee.*, site any others."""
        area.write_site({**self.properties(area, database, *others),
                         **{"hadoop.kms.trustee." + name: value for name, value in (more or {}).items()}, **(site or {})})

    def initialize(self, area: Area) -> None:
        kmsctl.run("store", "init", "--conf", area.conf, exit_status=0)
