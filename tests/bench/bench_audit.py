# SPDX-License-Identifier: Apache-2.0
"""What the durability of the audit log costs: decrypts on the same httpd and keystore, with none, write and fsync in
turns."""
from __future__ import annotations

import subprocess
from pathlib import Path

from harness import Area, Httpd

DURABILITIES = ("none", "write", "fsync")


def start_servers(area: Area, children: str, chain: bool) -> dict[str, Httpd]:
    servers = {}
    for durability in DURABILITIES:
        server = servers[durability] = Httpd(area, durability)
        server.access_log = False
        server.children = children
        server.directives += [f"KMSAuditDurability {durability}", f"KMSTokenFile {server.run}/tokens"]
        if chain and durability != "none":
            server.directives.append("KMSAuditChain On")
        server.start()
    return servers


def file_system(path: Path) -> str:
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


def print_table(results: dict[tuple[str, int], object], connections: tuple[int, ...], where: str) -> None:
    print(f"\naudit log on {where}\n")
    print("| connections | KMSAuditDurability | decrypts /s | p50 ms | p99 ms | of none |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n in connections:
        none = results["none", n]
        for durability in DURABILITIES:
            r = results[durability, n]
            print(f"| {n} | {durability} | {r.per_second:,.1f} | {r.p50_ms:.2f} | {r.p99_ms:.2f} | "
                  f"{r.per_second / none.per_second:.2f} |")


def measure(args, area: Area, bench) -> None:
    """bench: the module with wrk(), Workload, make_keys() and Result."""
    servers = start_servers(area, bench.CHILDREN, args.chain)
    try:
        first = servers[DURABILITIES[0]]
        work = bench.Workload(area.path, first.port, bench.make_keys(first.port, args.keys), 1)
        files = {d: work.files(d, server.port)["decrypts"] for d, server in servers.items()}
        connections = (1, args.connections)
        rounds: dict[tuple[str, int], list] = {(d, n): [] for n in connections for d in DURABILITIES}
        for durability, server in servers.items():
            bench.say(f"audit {durability}: warming up")
            bench.wrk(server.port, files[durability], max(1, args.warm_up // 6), args.connections)
        for i in range(args.rounds):
            for durability, n in rounds:
                bench.say(f"round {i + 1}: audit {durability}, {n} connections")
                rounds[durability, n].append(bench.wrk(servers[durability].port, files[durability], args.seconds, n))
        results = {key: bench.Result.median(list_of) for key, list_of in rounds.items()}
        print_table(results, connections, file_system(servers["write"].run) + (", chained" if args.chain else ""))
    finally:
        for server in servers.values():
            server.stop()
