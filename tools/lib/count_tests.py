#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts test results and prints "PASSED FAILED SKIPPED", and on stderr the name of each test that failed; of a program of
make check that failed, also the end of what it printed.

usage: count_tests.py automake DIR     the .trs and .log files of make check below DIR
       count_tests.py junit FILE...    JUnit XML, as pytest and Surefire write it (a directory: its TEST-*.xml)
"""
from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

CMOCKA_OK = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_BAD = re.compile(r"^\[  FAILED  \] (\d+) test", re.M)
CMOCKA_NAME = re.compile(r"^\[  FAILED  \] (?!\d+ test)(\S+)", re.M)
PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed", re.M)
END_LINES = 30


def automake(folder: Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for trs in sorted(folder.rglob("*.trs")):
        result = re.search(r":global-test-result: (\w+)", trs.read_text())
        outcome = result[1] if result else "ERROR"
        log = trs.with_suffix(".log")
        text = log.read_text(errors="replace") if log.exists() else ""
        good, bad = count_in_log(text)
        if outcome == "SKIP":
            skipped += 1
            continue
        if outcome not in ("PASS", "XFAIL"):
            names = CMOCKA_NAME.findall(text)
            name = trs.with_suffix("").relative_to(folder)
            print(f"{name}: {' '.join(names) or outcome}", *text.splitlines()[-END_LINES:], sep=f"\n{name}: ", file=sys.stderr)
            bad = max(bad, 1)  # one that crashed has no closing line
        elif good + bad == 0:
            good = 1  # a program that is one test
        passed += good
        failed += bad
    return passed, failed, skipped


def count_in_log(text: str) -> tuple[int, int]:
    """A program may run several groups of cmocka, or close with the plain line."""
    good = sum(map(int, CMOCKA_OK.findall(text)))
    bad = sum(map(int, CMOCKA_BAD.findall(text)))
    if good + bad == 0 and (plain := PLAIN.findall(text)):
        good, bad = int(plain[-1][0]), int(plain[-1][1])
    return good, bad


def junit(paths: list[Path]) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    files = [f for p in paths for f in (sorted(p.rglob("TEST-*.xml")) if p.is_dir() else [p])]
    for file in files:
        for suite in tree.parse(file).iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            failed += bad
            skipped += left_out
            passed += int(suite.get("tests", 0)) - bad - left_out
            for case in suite.iter("testcase"):
                if case.find("failure") is not None or case.find("error") is not None:
                    print(f"{case.get('classname')}::{case.get('name')}", file=sys.stderr)
    return passed, failed, skipped


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[1] not in ("automake", "junit"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "automake":
        counts = automake(Path(sys.argv[2]))
    else:
        counts = junit([Path(p) for p in sys.argv[2:] if Path(p).exists()])
    print(*counts)
    return 0


sys.exit(main())
