# SPDX-License-Identifier: Apache-2.0
"""Keys in a token beside the calls of the token that they need, made by a program that does nothing else: on the token as it
is, and on one whose calls take longer, as those of an HSM in the network do."""
from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from client import Client, quote
from harness import BUILD, Area, Httpd
from hsm import Token

DIRECT = BUILD / "tests" / "bench" / "direct_hsm"
BATCH_BYTES = 4096  # of one call: hadoop.kms.hsm.batch.bytes
TO_REACH = 0.8  # for batches, of what the token alone does with a call for each EEK
SLOW_US = (0, 1000, 10000)


@dataclasses.dataclass
class Case:
    name: str
    requests: str
    connections: int
    blocks: int  # of 16 bytes that the token encrypts for one request: one for an EEK made or opened, two for one re-encrypted

    @property
    def batch(self) -> bool:
        return self.blocks > 1

    @property
    def calls(self) -> int:
        return -(-16 * self.blocks // BATCH_BYTES)

    @property
    def size(self) -> int:
        return min(16 * self.blocks, BATCH_BYTES)


@dataclasses.dataclass
class Measured:
    """Requests a second: of mod_kms, and of what the token alone would do with the same calls or with a call for each block."""
    ours: float
    same_calls: float
    call_for_each: float


def cases(batch: int) -> list[Case]:
    return [Case("generate, num_keys=1", "generates", 32, 1),
            Case("generate, num_keys=100", "hundreds", 8, 100),
            Case("decrypt", "decrypts", 32, 1),
            Case(f"re-encrypt batch of {batch:,}", "batch", 2, 2 * batch)]


def direct(token: Token, case: Case, seconds: int, size: int, calls: int) -> float:
    done = subprocess.run([DIRECT, token.library, "kms", token.pin_file, str(case.connections), str(seconds), str(size),
                           str(calls)], env={**os.environ, **token.environment}, check=True, capture_output=True, text=True,
                          timeout=seconds + 120)
    return float(done.stdout)


def request_files(bench, area: Area, server: Httpd, args) -> dict[str, Path]:
    names = bench.make_keys(server.port, args.keys)
    work = bench.Workload(area.path, server.port, names, args.batch)
    work.hundreds = [("GET", f"/kms/v1/key/{quote(f'bench-{i}')}/_eek?num_keys=100&eek_op=generate", None) for i in range(args.keys)]
    files = work.files("hsm", server.port)
    files["hundreds"] = bench.write_requests(area.path / "hsm-hundreds", bench.cookie_of(server.port), work.hundreds)
    return files


def one_round(bench, args, token: Token, server: Httpd, requests: Path, case: Case):
    ours = bench.wrk(server.port, requests, args.seconds, case.connections)
    same_calls = direct(token, case, args.seconds, case.size, case.calls)
    if not case.batch:
        return ours, same_calls, same_calls
    # In calls and not in whole requests: a request of 20,000 calls may take longer than the measurement.
    return ours, same_calls, direct(token, case, args.seconds, 16, 1) / case.blocks


def measure_token(bench, args, delay_us: int) -> Iterator[tuple[Case, Measured]]:
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
            rounds = [one_round(bench, args, token, server, files[case.requests], case) for _ in range(args.rounds)]
            ours = bench.Result.median([ours for ours, _, _ in rounds]).per_second
            yield case, Measured(ours, *(statistics.median(column) for column in list(zip(*rounds))[1:]))
        assert Client(server.port).names().status == 200
    finally:
        server.stop()
        token.close()
        area.remove()


def number(per_second: float) -> str:
    return f"{per_second:,.1f}" if per_second >= 10 else f"{per_second:.2g}"


def measure(args, bench) -> bool:
    """bench: the module with wrk(), Workload, make_keys() and Result. False: below what is to be reached."""
    reached = True
    print("\n| a call takes longer by | what | connections, threads | mod_kms /s | token alone, the same calls: of one | /s | "
          "ratio to the same calls | token alone, a call for each EEK: of one | /s | ratio to a call for each EEK | |")
    print("| --- " * 11 + "|")
    begin = time.monotonic()
    for delay_us in SLOW_US:
        for case, rates in measure_token(bench, args, delay_us):
            ratio = rates.ours / rates.call_for_each
            good = not case.batch or ratio >= TO_REACH
            reached = reached and good
            print(f"| {delay_us / 1000:g} ms | {case.name} | {case.connections} | {rates.ours:,.1f} | "
                  f"{case.calls:,} of {case.size} bytes | {rates.same_calls:,.1f} | {rates.ours / rates.same_calls:.2f} | "
                  f"{case.blocks:,} of 16 bytes | {number(rates.call_for_each)} | {ratio:.2f} | "
                  f"{'' if good else f'below {TO_REACH}'} |", flush=True)
    bench.say(f"took {time.monotonic() - begin:.0f} s")
    return reached
