#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a statement of the store in a database uses what CockroachDB or YugabyteDB do not have, or have in name only.

Looks into the string literals of the code; what the tests ask a PostgreSQL is theirs.
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
FOLDERS = ("libkms/keystore", "libkms/records")
# Adjacent literals are one; a macro or a line's end may stand between two.
LITERALS = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:[\s\\]*(?:KMS_[A-Z_]+[\s\\]*)?"(?:[^"\\\n]|\\.)*")*')
STATEMENT = re.compile(r"\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|SET|BEGIN|WITH|LOCK|LISTEN|NOTIFY|MERGE|COPY)\b")
FORBIDDEN = re.compile(r"\b(LISTEN|NOTIFY|pg_advisory\w*|SEQUENCE|nextval|\w*SERIAL|GENERATED|xmin|ctid|SKIP LOCKED|NOWAIT|LOCK TABLE|MERGE"
                       r"|COPY|TRIGGER|FUNCTION|EXTENSION|ON CONFLICT (?:\([^)]*\) )?WHERE|ON CONFLICT ON CONSTRAINT|pg_\w+(?=\())", re.I)
# Whoever asks for it goes on without.
ALLOWED = {"pg_postmaster_start_time"}


def main() -> int:
    statements, problems = 0, []
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in {".cpp", ".h"}):
        text = re.sub(r"^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.M)
        for match in LITERALS.finditer(text):
            sql = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', match[0]))
            if not STATEMENT.match(sql):
                continue
            statements += 1
            problems += [f"{path.relative_to(ROOT)}: {word} in: {sql[:100]}" for word in FORBIDDEN.findall(sql) if word not in ALLOWED]
    if statements < 40:
        problems.append(f"only {statements} statements found: this check does not see them any more")
    print("\n".join(problems) or f"{statements} statements, all of them for every engine")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
