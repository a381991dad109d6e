#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures mod_kms against the same httpd answering a constant body, and against the Java KMS; started by tools/bench.

All three take the same requests from wrk on this machine, one after the other, in one run: only the ratios mean
something elsewhere.
"""
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
# pylint: disable=wrong-import-position,import-error
import bench_audit  # noqa: E402
import bench_hsm  # noqa: E402
import bench_trustee  # noqa: E402
from client import Client, decrypt_body, quote  # noqa: E402
from harness import PASSWORD, TOP, Area, Httpd, die_with_parent, free_port, have_module, load_module  # noqa: E402

JAVA_KMS = TOP / "tests" / "interop" / "java-kms"
HEADERS = """  Header always set Cache-Control no-cache
  Header always set Expires "Thu, 01 Jan 1970 00:00:00 GMT"
  Header always set Pragma no-cache
  Header always set X-Content-Type-Options nosniff
  Header always set X-XSS-Protection "1; mode=block"
"""
# Debian's mpm_event.conf, but with 64 threads a child instead of 25: a child that has more busy connections than threads
# closes kept ones, as any httpd would, and wrk counts that as failures.
CHILDREN = """StartServers 2
ServerLimit 6
MinSpareThreads 25
MaxSpareThreads 192
ThreadsPerChild 64
MaxRequestWorkers 384
"""


@dataclasses.dataclass
class Result:
    per_second: float
    p50_ms: float
    p99_ms: float

    @staticmethod
    def median(results: list[Result]) -> Result:
        return Result(*(statistics.median(getattr(r, f) for r in results) for f in ("per_second", "p50_ms", "p99_ms")))


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def wrk(port: int, requests: Path, seconds: int, connections: int) -> Result:
    done = subprocess.run(
        ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s",
         "-s", str(HERE / "requests.lua"), f"http://127.0.0.1:{port}", "--", str(requests)],
        capture_output=True, text=True, timeout=seconds + 120, check=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    values = {k: int(v) for k, v in (pair.split("=") for pair in found[1].split())}
    failures = {kind: values[kind] for kind in ("connect", "read", "write", "status", "timeout") if values[kind]}
    if failures or not values["requests"]:
        raise SystemExit(f"bench: {failures} of {values['requests']} requests failed ({requests.name})")
    return Result(values["requests"] * 1e6 / values["micros"], values["p50"] / 1000, values["p99"] / 1000)


def write_requests(path: Path, cookie: str, lines: list[tuple[str, str, object]]) -> Path:
    with open(path, "w", encoding="utf-8") as f:
        f.write(cookie + "\n")
        for method, target, body in lines:
            f.write(f"{method}\t{target}\t{'-' if body is None else json.dumps(body)}\n")
    return path


def cookie_of(port: int) -> str:
    """By OPTIONS with user.name, as the Java client gets it."""
    cookie = Client(port).call("OPTIONS", "keys/names").cookie()
    assert cookie
    return cookie


def make_keys(port: int, count: int) -> list[str]:
    names = [f"bench-{i}" for i in range(count)]

    def make(part: list[str]) -> None:
        client = Client(port)
        for name in part:
            answer = client.create(name, length=128)
            assert answer.status == 201, answer.body
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, [names[i::4] for i in range(4)]))
    return names


class Workload:
    """The same requests for each server, but that each has signed its own cookie."""

    def __init__(self, area: Path, port: int, names: list[str], batch: int) -> None:
        self.area = area
        client = Client(port)
        self.decrypts, self.generates = [], []
        for name in names:
            eek = client.generate(name).json()[0]
            self.decrypts.append(("POST", f"/kms/v1/keyversion/{quote(eek['versionName'])}/_eek?eek_op=decrypt",
                                  decrypt_body(eek)))
            self.generates.append(("GET", f"/kms/v1/key/{quote(name)}/_eek?num_keys=1&eek_op=generate", None))
        # EEKs of an old version, so that each one is wrapped anew.
        eeks = client.generate(names[0], batch).json()
        assert client.roll(names[0]).status == 200
        self.batch = [("POST", f"/kms/v1/key/{quote(names[0])}/_reencryptbatch", eeks)]
        self.answer = client.call(*self.decrypts[0][:2], self.decrypts[0][2]).body

    def files(self, name: str, port: int) -> dict[str, Path]:
        cookie = cookie_of(port)
        return {kind: write_requests(self.area / f"{name}-{kind}", cookie, getattr(self, kind))
                for kind in ("decrypts", "generates", "batch")}


def memory_mb(pids: list[int]) -> float:
    """Proportional set sizes, so that what children share counts once; the plain sizes where those are not shown."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
        except PermissionError:
            total += int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])
    return total / 1024


def measure(args: argparse.Namespace, name: str, port: int, files: dict[str, Path], pids) -> dict:
    """Each kind of request; the memory before and after the big ones. Warm-up is for the compiler of the JVM, and for
    every process to unseal each key once, which costs milliseconds a key. pids() are those of the server."""
    results: dict[str, list[Result]] = {kind: [] for kind in files}
    measured: dict = {}
    small = [kind for kind in files if kind != "batch"]
    for kinds, connections, memory in ((small, args.connections, "memory"), (["batch"], 2, "memory_after")):
        say(f"{name}: warming up for {args.warm_up} s, then {', '.join(kinds)}")
        for kind in kinds:
            wrk(port, files[kind], max(1, args.warm_up // len(kinds)), connections)
        for _ in range(args.rounds):
            for kind in kinds:
                results[kind].append(wrk(port, files[kind], args.seconds, connections))
        measured[memory] = memory_mb(pids())
    measured.update({kind: Result.median(list_of) for kind, list_of in results.items()})
    return measured


def first_answer(spawn, port: int, name: str) -> float:
    """Seconds from the start of the process to the first answer about a key."""
    begin = time.monotonic()
    spawn()
    while time.monotonic() < begin + 120:
        with contextlib.suppress(OSError):
            if Client(port, fresh=True).metadata(name).json().get("name") == name:
                return time.monotonic() - begin
        time.sleep(0.005)
    raise SystemExit("bench: no answer within two minutes")


def prepare_httpd(area: Area) -> Httpd:
    server = Httpd(area)
    server.access_log = False
    server.children = CHILDREN
    htdocs = area.path / "htdocs" / "constant"
    htdocs.mkdir(parents=True)
    headers = HEADERS if have_module("headers") else ""
    if headers:
        server.directives.append(load_module("headers"))
    server.directives += [f'DocumentRoot "{htdocs.parent}"', "FileETag None"]
    server.more_locations = "<Location \"/constant\">\n  KMSEngine Off\n  AuthType None\n  Require all granted\n" \
        f"  ForceType application/json\n{headers}</Location>\n"
    return server


def measure_httpd(args: argparse.Namespace, area: Area, server: Httpd) -> tuple[dict, list[str], Workload]:
    say(f"making {args.keys} keys")
    server.start()
    names = make_keys(server.port, args.keys)
    work = Workload(area.path, server.port, names, args.batch)
    server.stop()
    starts = []
    for _ in range(3):
        starts.append(first_answer(server.spawn, server.port, names[-1]))
        server.stop()
    server.start()
    (area.path / "htdocs" / "constant" / "answer.json").write_bytes(work.answer)
    constant = write_requests(area.path / "constant", "-", [("GET", "/constant/answer.json", None)])
    files = {"constant": constant, **work.files("httpd", server.port)}
    measured = measure(args, "httpd", server.port, files, lambda: [server.pid, *server.child_pids()])
    measured["start"] = statistics.median(starts)
    return measured, names, work


class JavaKms:
    """The real one, on a copy of the keystore."""

    def __init__(self, area: Area) -> None:
        self.conf = area.path / "java"
        shutil.copytree(area.conf, self.conf)
        shutil.copy2(area.keystore, self.conf / "kms.keystore")
        site = (self.conf / "kms-site.xml").read_text().replace(str(area.keystore), str(self.conf / "kms.keystore"))
        (self.conf / "kms-site.xml").write_text(site)
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.log = area.path / "java.log"

    def spawn(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(JAVA_KMS), "--conf", str(self.conf), "--port", str(self.port)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_parent, start_new_session=True,
                env={**os.environ, "HADOOP_KEYSTORE_PASSWORD": PASSWORD})

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


def measure_java(args: argparse.Namespace, area: Area, names: list[str], work: Workload) -> dict:
    say("the Java KMS: its class path")
    subprocess.run([str(JAVA_KMS.parent / "classpath")], stdout=subprocess.DEVNULL, check=True)
    java = JavaKms(area)
    try:
        start = first_answer(java.spawn, java.port, names[-1])
        assert java.process is not None
        pid = java.process.pid
        measured = measure(args, "the Java KMS", java.port, work.files("java", java.port), lambda: [pid])
        measured["start"] = start
        return measured
    finally:
        java.stop()


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


def print_tables(args: argparse.Namespace, ours: dict, java: dict | None) -> None:
    names = {"constant": "constant JSON, same httpd", "decrypts": "decrypt", "generates": "generate (1 EEK)",
             "batch": f"re-encrypt batch of {args.batch}"}
    print(f"\n{os.cpu_count()} cores, {args.connections} connections kept (2 for the batch), {args.seconds} s each, "
          f"median of {args.rounds}, {args.keys} keys, audit on\n")
    row("what", "mod_kms /s", "p50 ms", "p99 ms", "Java /s", "p50 ms", "p99 ms")
    row(*["---"] * 7)
    for kind, name in names.items():
        cells = [name]
        for side in (ours, java or {}):
            r = side.get(kind)
            cells += [f"{r.per_second:,.1f}", f"{r.p50_ms:.2f}", f"{r.p99_ms:.2f}"] if r else ["", "", ""]
        row(*cells)
    for key, unit, form in (("memory", "memory, MB", "{:.1f}"), ("memory_after", "after the batches, MB", "{:.1f}"),
                            ("start", "start to first answer, s", "{:.3f}")):
        row(unit, form.format(ours[key]), "", "", form.format(java[key]) if java else "", "", "")
    print()
    row("ratio", "measured", "to reach", "reached")
    row("---", "---", "---", "---")
    for name, value, limit, at_least in ratios(ours, java):
        good = value >= limit if at_least else value <= limit
        row(name, f"{value:.2f}", ("at least " if at_least else "at most ") + f"{limit:g}", "yes" if good else "NO")


def ratios(ours: dict, java: dict | None):
    """Name, value, limit, and whether the limit is a floor."""
    for kind, name in (("decrypts", "decrypt"), ("generates", "generate")):
        yield f"{name} / constant", ours[kind].per_second / ours["constant"].per_second, 0.85, True
    yield "start to first answer, s", ours["start"], 0.5, False
    if java is None:
        return
    for kind, name in (("decrypts", "decrypt"), ("generates", "generate")):
        yield f"{name} / Java", ours[kind].per_second / java[kind].per_second, 2.5, True
        yield f"{name} p99 / Java", ours[kind].p99_ms / java[kind].p99_ms, 0.25, False
    yield "re-encrypt batch / Java", ours["batch"].per_second / java["batch"].per_second, 5, True
    yield "memory / Java", ours["memory"] / java["memory"], 0.15, False
    yield "memory after the batches / Java", ours["memory_after"] / java["memory_after"], 0.15, False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each kind (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--keys", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=10000, help="EEKs of a re-encryption (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=24, help="seconds of each server (default: %(default)s)")
    parser.add_argument("--audit", action="store_true",
                        help="measure decrypts with KMSAuditDurability none, write and fsync beside each other, nothing else")
    parser.add_argument("--chain", action="store_true", help="with --audit: write and fsync with KMSAuditChain On")
    parser.add_argument("--trustee", action="store_true",
                        help="measure keys in PostgreSQL beside keys in a JCEKS file, nothing else")
    parser.add_argument("--hsm", action="store_true",
                        help="measure keys in a PKCS#11 token beside direct calls of the token, nothing else")
    parser.add_argument("--no-java", action="store_true", help="without the Java KMS")
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    parser.add_argument("--check", action="store_true", help="exit status 1 where a ratio is not reached")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.trustee:
        reached = bench_trustee.measure(args, sys.modules[__name__])
        return 1 if args.check and not reached else 0
    if args.hsm:
        reached = bench_hsm.measure(args, sys.modules[__name__])
        return 1 if args.check and not reached else 0
    area = Area()
    if args.audit:
        try:
            bench_audit.measure(args, area, sys.modules[__name__])
        finally:
            area.remove()
        return 0
    server = prepare_httpd(area)
    java = None
    try:
        ours, names, work = measure_httpd(args, area, server)
        server.stop()
        if not args.no_java:
            java = measure_java(args, area, names, work)
    finally:
        server.stop()
        area.remove()
    print_tables(args, ours, java)
    missed = any((value < limit) if floor else (value > limit) for _, value, limit, floor in ratios(ours, java))
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
