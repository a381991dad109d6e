# SPDX-License-Identifier: Apache-2.0
"""Keys in PostgreSQL beside keys in a JCEKS file, in turns on the same httpd: both serve EEKs from memory. And how many keys
a second can be made, which waits for the database or the disk."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from client import Client
from harness import Area, Httpd
from postgres import Postgres

BACKENDS = ("jceks", "trustee")
KINDS = {"decrypts": "decrypt", "generates": "generate (1 EEK)"}
TO_REACH = 0.95
MAKERS = 8  # connections that make keys


def start_server(area: Area, children: str) -> Httpd:
    server = Httpd(area)
    server.access_log = False
    server.children = children
    server.directives.append(f"KMSTokenFile {server.run}/tokens")
    return server.start()


def keys_per_second(port: int, seconds: int) -> float:
    def make(number: int) -> int:
        client, made = Client(port), 0
        while time.monotonic() < end:
            answer = client.create(f"made-{number}-{made}", length=128)
            assert answer.status == 201, answer.body
            made += 1
        return made
    begin = time.monotonic()
    end = begin + seconds
    with ThreadPoolExecutor(MAKERS) as pool:
        made = sum(pool.map(make, range(MAKERS)))
    return made / (time.monotonic() - begin)


def print_tables(results: dict[tuple[str, str, int], object], made: dict[str, float], where: str) -> bool:
    print(f"\nPostgreSQL: {where}\n")
    print("| connections | what | backend | /s | p50 ms | p99 ms | of jceks | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    reached = True
    for kind, name in KINDS.items():
        for n in sorted({n for _, _, n in results}):
            jceks = results["jceks", kind, n].per_second
            for backend in BACKENDS:
                r = results[backend, kind, n]
                good = r.per_second >= TO_REACH * jceks
                reached = reached and good
                print(f"| {n} | {name} | {backend} | {r.per_second:,.1f} | {r.p50_ms:.2f} | {r.p99_ms:.2f} | "
                      f"{r.per_second / jceks:.2f} | {'' if good else f'below {TO_REACH}'} |")
    print(f"\nkeys made a second, {MAKERS} connections: " + ", ".join(f"{made[b]:,.0f} {b}" for b in BACKENDS))
    return reached


def measure(args, bench) -> bool:
    """bench: the module with wrk(), Workload, make_keys() and Result. False: below what is to be reached."""
    areas = {backend: Area() for backend in BACKENDS}
    servers: dict[str, Httpd] = {}
    try:
        with Postgres() as postgres:
            postgres.configure(areas["trustee"], postgres.database())
            postgres.initialize(areas["trustee"])
            servers = {backend: start_server(area, bench.CHILDREN) for backend, area in areas.items()}
            files = {}
            for backend, server in servers.items():
                bench.say(f"{backend}: making {args.keys} keys, warming up for {args.warm_up} s")
                work = bench.Workload(areas[backend].path, server.port, bench.make_keys(server.port, args.keys), 1)
                files[backend] = work.files(backend, server.port)
                for kind in KINDS:
                    bench.wrk(server.port, files[backend][kind], max(1, args.warm_up // 2), args.connections)
            rounds: dict[tuple[str, str, int], list] = {
                (backend, kind, n): [] for n in (1, args.connections) for kind in KINDS for backend in BACKENDS}
            for i in range(args.rounds):
                for backend, kind, n in rounds:
                    bench.say(f"round {i + 1}: {backend}, {kind}, {n} connections")
                    rounds[backend, kind, n].append(bench.wrk(servers[backend].port, files[backend][kind], args.seconds, n))
            made = {backend: keys_per_second(server.port, args.seconds) for backend, server in servers.items()}
            where = postgres.sql("SELECT version()") + ", fsync " + postgres.sql("SHOW fsync") + ", no standby"
            return print_tables({key: bench.Result.median(list_of) for key, list_of in rounds.items()}, made, where)
    finally:
        for server in servers.values():
            server.stop()
        for area in areas.values():
            area.remove()
