#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a key store in PostgreSQL that has very many keys: a private PostgreSQL, one httpd, every operation.

    make && tests/bench/bench_scale.py --keys 1000000

The database is in /tmp and needs about 1.2 GB for a million keys, the backup 0.7 GB.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
# pylint: disable=wrong-import-position,import-error
from harness import Area, Httpd  # noqa: E402
from postgres import Postgres  # noqa: E402
from trustee_scale import Scale  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=100, help="of each operation")
    options = parser.parse_args()
    area = Area()
    httpd = Httpd(area)
    httpd.directives.append(f'KMSTokenFile "{area.store}/tokens"')
    try:
        with Postgres() as postgres:
            scale = Scale(postgres, area, options.keys)
            try:
                scale.measure(httpd, options.calls)
                httpd.stop()
                scale.rewrap()
                scale.backup_and_restore()
            finally:
                httpd.stop()
                for what, figure in scale.figures.items():
                    print(f"{what:30} {figure}", flush=True)
    finally:
        area.remove()


if __name__ == "__main__":
    main()
