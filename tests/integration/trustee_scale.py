# SPDX-License-Identifier: Apache-2.0
"""A key store in PostgreSQL with many keys, and one httpd on it: how long each operation takes, what a child weighs, and
which plans the database makes."""
from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import kmsctl
from client import Answer, Client
from harness import BUILD, Area, Httpd
from postgres import ROLE, Postgres
from tls import openssl

LOADER = BUILD / "tests" / "bench" / "load_trustee"
# The plan of every statement of the nodes goes to the server's log.
PLANS = [f"ALTER ROLE {ROLE} SET session_preload_libraries = 'auto_explain'",
         f"ALTER ROLE {ROLE} SET auto_explain.log_min_duration = 0"]


class Scale:
    def __init__(self, postgres: Postgres, area: Area, count: int) -> None:
        self.postgres, self.area, self.count = postgres, area, count
        self.figures: dict[str, str] = {}
        self.database = postgres.database()
        postgres.configure(area, self.database, {"timeout.ms": "30000"})
        postgres.initialize(area)
        self.measured("load", lambda: subprocess.run(
            [LOADER, f"trustee://kms@127.0.0.1:{postgres.port}/{self.database}", area.conf / "seal.key", str(count)], check=True,
            timeout=3600))
        postgres.sql("ANALYZE", self.database)
        size = postgres.sql(f"SELECT pg_size_pretty(pg_database_size('{self.database}'))")
        self.figures["database"] = size
        self.deleted = count // 1000
        self.keys = count - self.deleted

    def measured(self, what: str, work: Callable[[], object]) -> None:
        begin = time.monotonic()
        work()
        self.figures[what] = f"{time.monotonic() - begin:.1f} s"

    def timed(self, what: str, times: int, call: Callable[[int], Answer], status: int = 200) -> Answer:
        """Median and the longest of some calls."""
        took: list[float] = []
        for i in range(times):
            begin = time.monotonic()
            answer = call(i)
            took.append(1000 * (time.monotonic() - begin))
            assert answer.status == status, (what, answer.status, answer.body[:200])
        self.figures[what] = f"median {statistics.median(took):.1f} ms, longest {max(took):.1f} ms"
        return answer

    def measure(self, httpd: Httpd, times: int) -> None:
        self.measured("start of httpd", httpd.start)
        self.largest_child(httpd, "a child at the start")
        self.operations(httpd, times)
        self.largest_child(httpd, "a child after them")
        client = Client(httpd.port)
        names = self.timed("names, first", 1, lambda _: client.names()).json()
        assert len(names) == self.keys and names == sorted(names)
        self.timed("names, again", 3, lambda _: client.names())
        self.largest_child(httpd, "a child after names")
        self.operations(httpd, times, " after names", "b")
        self.measured("kmsctl store status", lambda: kmsctl.run("store", "status", "--conf", self.area.conf, exit_status=0))

    def operations(self, httpd: Httpd, times: int, after: str = "", new: str = "a") -> None:
        """Every operation on keys that no child has in memory, spread over the whole store."""
        client = Client(httpd.port)
        step = max(10, self.count // times // 10 * 10)
        names = [f"load-{(i * step + ord(new) % 7) % self.count:07}" for i in range(times)]
        eeks: list[Answer] = []

        def generate(i: int) -> Answer:
            eeks.append(client.generate(names[i]))
            return eeks[-1]

        self.timed("metadata" + after, times, lambda i: client.metadata(names[i]))
        self.timed("generate" + after, times, generate)
        self.timed("decrypt" + after, times, lambda i: client.decrypt(eeks[i].json()[0]))
        self.timed("roll" + after, times, lambda i: client.roll(names[i]))
        self.timed("create" + after, times, lambda i: client.create(f"new-{new}-{i}"), 201)
        self.timed("delete" + after, times, lambda i: client.delete(f"new-{new}-{i}"))

    def largest_child(self, httpd: Httpd, what: str) -> int:
        sizes = [int(m.group(1)) for pid in httpd.child_pids()
                 if (m := re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M))]
        self.figures[what] = f"{max(sizes) / 1024:.0f} MiB"
        return max(sizes)

    def backup_and_restore(self) -> None:
        """Into another store, with what the program took at most."""
        folder = self.area.path
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=custodian",
                "-days", 2, "-keyout", folder / "custodian.key", "-out", folder / "custodian.pem")
        (folder / "custodian.key").chmod(0o600)
        file = folder / "keys.backup"
        self.command("backup", "store", "backup", "--to", folder / "custodian.pem", file)
        self.figures["backup file"] = f"{file.stat().st_size / 1e6:.0f} MB"
        self.postgres.configure(self.area, self.postgres.database())
        self.postgres.initialize(self.area)
        self.command("restore", "store", "restore", "--key", folder / "custodian.key", file)

    def rewrap(self) -> None:
        """All rows go over to another sealing key. Who serves is not told of it."""
        self.postgres.configure(self.area, self.database, {"seal.key-file": "next.key", "seal.previous.key-file": "seal.key"})
        for step in ("setup", "trust"):
            kmsctl.run("seal", step, "--conf", self.area.conf, exit_status=0)
        self.command("seal rewrap", "seal", "rewrap")
        self.command("seal validate", "seal", "validate")

    def command(self, what: str, *words: object) -> None:
        log = self.area.path / "time"
        begin = time.monotonic()
        done = subprocess.run(["python3", "-c", "import resource, subprocess, sys\n"
                               "status = subprocess.run(sys.argv[2:]).returncode\n"
                               "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
                               "sys.exit(status)", log, kmsctl.PROGRAM, *map(str, words), "--conf", self.area.conf],
                              capture_output=True, text=True, check=False, env=kmsctl.environment(), timeout=3600)
        assert done.returncode == 0, done.stdout + done.stderr
        self.figures[what] = f"{time.monotonic() - begin:.1f} s, at most {int(log.read_text()) / 1024:.0f} MiB"
