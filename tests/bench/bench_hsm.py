# SPDX-License-Identifier: Apache-2.0
"""Keys in a token beside the calls of the token that they need, made by a program that does nothing else: on the token as it
is, and on one whose calls take longer, as those of an HSM in the network do."""
from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from client import Client, quote
from harness import BUILD, Area, Httpd
from hsm import Token

DIRECT = BUILD / "tests" / "bench" / "direct_hsm"
BATCH_BYTES = 4096  # of one call: hadoop.kms.hsm.batch.bytes
TO_REACH = 0.8  # of what the token can do, for batches
SLOW_US = (0, 1000, 10000)


@dataclasses.dataclass
class Case:
    name: str
    requests: str
    connections: int
    size: int  # bytes of a call
    calls: int  # of one request
    batch: bool = False


def cases(batch: int) -> list[Case]:
    whole = 2 * 16 * batch  # the keystreams of both versions
    return [Case("generate, num_keys=1", "generates", 32, 16, 1),
            Case("generate, num_keys=100", "hundreds", 8, 1600, 1, True),
            Case("decrypt", "decrypts", 32, 16, 1),
            Case(f"re-encrypt batch of {batch:,}", "batch", 2, BATCH_BYTES, -(-whole // BATCH_BYTES), True)]


def direct(token: Token, case: Case, seconds: int) -> float:
    done = subprocess.run([DIRECT, token.library, "kms", token.pin_file, str(case.connections), str(seconds), str(case.size),
                           str(case.calls)], env={**os.environ, **token.environment}, check=True, capture_output=True, text=True,
                          timeout=seconds + 120)
    return float(done.stdout)


def begin_anew(server: Httpd) -> None:
    server.stop()
    server.start()


def request_files(bench, area: Area, server: Httpd, args) -> dict[str, Path]:
    # SoftHSM: a child may not see the object that another one has just made, until it begins anew.
    names = bench.make_keys(server.port, args.keys)
    begin_anew(server)
    work = bench.Workload(area.path, server.port, names, args.batch)
    begin_anew(server)
    work.hundreds = [("GET", f"/kms/v1/key/{quote(f'bench-{i}')}/_eek?num_keys=100&eek_op=generate", None) for i in range(args.keys)]
    files = work.files("hsm", server.port)
    files["hundreds"] = bench.write_requests(area.path / "hsm-hundreds", bench.cookie_of(server.port), work.hundreds)
    return files


def measure_token(bench, args, delay_us: int) -> Iterator[tuple[Case, float, float]]:
    area = Area()
    token = Token(area)
    server = Httpd(area)
    try:
        if delay_us:
            token.with_faults()
            (token.faults / "delay").write_text(str(delay_us))
            area.give(token.faults / "delay")
        token.use(server, sessions=32)
        server.access_log = False
        server.children = bench.CHILDREN
        server.start()
        bench.say(f"{args.keys} keys; {delay_us} us more a call")
        files = request_files(bench, area, server, args)
        for case in cases(args.batch):
            bench.wrk(server.port, files[case.requests], max(1, args.warm_up // 4), case.connections)
            ours, token_alone = [], []
            for _ in range(args.rounds):
                ours.append(bench.wrk(server.port, files[case.requests], args.seconds, case.connections))
                token_alone.append(direct(token, case, args.seconds))
            yield case, bench.Result.median(ours).per_second, sorted(token_alone)[len(token_alone) // 2]
        assert Client(server.port).names().status == 200
    finally:
        server.stop()
        token.close()
        area.remove()


def measure(args, bench) -> bool:
    """bench: the module with wrk(), Workload, make_keys() and Result. False: below what is to be reached."""
    reached = True
    print("\n| a call takes longer by | what | connections, threads | mod_kms /s | calls of one | token alone /s | ratio | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    begin = time.monotonic()
    for delay_us in SLOW_US:
        for case, ours, token_alone in measure_token(bench, args, delay_us):
            ratio = ours / token_alone
            good = not case.batch or ratio >= TO_REACH
            reached = reached and good
            print(f"| {delay_us / 1000:g} ms | {case.name} | {case.connections} | {ours:,.1f} | {case.calls} of {case.size} bytes | "
                  f"{token_alone:,.1f} | {ratio:.2f} | {'' if good else f'below {TO_REACH}'} |", flush=True)
    bench.say(f"took {time.monotonic() - begin:.0f} s")
    return reached
