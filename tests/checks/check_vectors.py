#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a section of the vectors in tests/data is run by no unit test, or not as a whole.

A test names each section that it runs, with the number of its entries (unit::section); the test itself fails when the file has another
number, and this check when no test names the section.
"""
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
FILES = ("auth-vectors.json", "configuration-vectors.json")
# No lists: where they came from, and a number that is Java's.
NOT_RUN = {"_how", "generated_master_key_length_bytes"}
LOADED = re.compile(r'(\w+) = unit::load_json\("([^"]+)"\)')
SECTION = re.compile(r'unit::section\((\w+), "(\w+)", (\d+)\)')


def sections_run():
    """(file, section) -> tests that run it; and the numbers they name."""
    found, counts = {}, []
    for path in sorted((ROOT / "tests/unit").glob("*.cpp")):
        text = path.read_text(encoding="utf-8")
        for match in SECTION.finditer(text):
            # The variable holds what was last loaded into it above.
            loaded = [m[2] for m in LOADED.finditer(text, 0, match.start()) if m[1] == match[1]]
            if not loaded:
                sys.exit(f"FAIL {path.name}: {match[0]} of a file that is not known")
            found.setdefault((loaded[-1], match[2]), []).append(path.name)
            counts.append((path.name, loaded[-1], match[2], int(match[3])))
    return found, counts


def main():
    problems = []
    run, counts = sections_run()
    sizes = {}
    for name in FILES:
        content = json.loads((ROOT / "tests/data" / name).read_text(encoding="utf-8"))
        for section, entries in content.items():
            if section in NOT_RUN:
                continue
            sizes[name, section] = len(entries)
            if (name, section) not in run:
                problems.append(f"{name}: no test runs {section}")
    for test, name, section, count in counts:
        if sizes.get((name, section)) != count:
            problems.append(f"{test}: {section} of {name} has {sizes.get((name, section))} entries, not {count}")
    if not sizes:
        problems.append("no vectors found")
    for problem in problems:
        print("FAIL", problem)
    print(f"{len(sizes)} sections, {sum(sizes.values())} vectors, {len(counts)} tests")
    sys.exit(1 if problems else 0)


main()
