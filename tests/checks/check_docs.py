#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when code and documents disagree on directives, properties, operations of the REST API or message ids.

A check that finds nothing to check has failed too: an empty list means that the pattern no longer fits.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
problems = []


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def compare(what, ours, theirs, where_ours, where_theirs):
    if not ours or not theirs:
        problems.append(f"{what}: nothing found in {where_ours if not ours else where_theirs}")
    for name in sorted(ours - theirs):
        problems.append(f"{what} {name} is in {where_ours}, not in {where_theirs}")
    for name in sorted(theirs - ours):
        problems.append(f"{what} {name} is in {where_theirs}, not in {where_ours}")


def sources():
    for folder in ("libkms", "mod_kms"):
        yield from sorted((ROOT / folder).rglob("*.cpp"))
        yield from sorted((ROOT / folder).rglob("*.h"))


def code_tables():
    printed = subprocess.run([pathlib.Path("tools/reference/print_tables").resolve()], capture_output=True, check=True)
    return json.loads(printed.stdout)


def check_openapi(tables):
    """Each route of the code is an operation of docs/openapi.yaml, and the other way round."""
    operations, path = set(), None
    for line in read("docs/openapi.yaml").splitlines():
        if found := re.fullmatch(r"  (/\S*):", line):
            path = found[1]
        elif re.fullmatch(r"\S+:", line):
            path = None
        elif path and (found := re.fullmatch(r"    (get|put|post|delete|patch):", line)):
            operations.add(f"{found[1].upper()} {path}")
    # Told by the query and not by the path, in rest/token_operations.cpp.
    tokens = {"GET /kms/v1/", "PUT /kms/v1/"}
    pages = {f"GET {path}" for path in re.findall(r'"(/[a-z/]+)"', read("mod_kms/pages/pages.cpp"))}
    if not pages:
        problems.append("no path of a page found in mod_kms/pages/pages.cpp")
    compare("operation", {f"{row['method']} {row['path']}" for row in tables["routes"]} | tokens | pages, operations,
            "the tables of routes and pages", "docs/openapi.yaml")


def check_directives(tables):
    """conf.d/kms.conf has each directive; where it stands behind "#" that is its default."""
    defaults = {row["name"]: row["default"] for row in tables["directives"]}
    lines = re.findall(r"^\s*(#?)\s*(KMS[A-Z][A-Za-z]+) (\S.*)$", read("conf.d/kms.conf"), re.M)
    compare("directive", set(defaults), {name for _, name, _ in lines}, "mod_kms/directive_table.inc",
            "conf.d/kms.conf")
    for comment, name, value in lines:
        default = defaults.get(name, "(unknown)")
        # Words in parentheses say that there is no value; what has ${...} in it is an example's business.
        if comment and not default.startswith("(") and "${" not in default and value.strip('"') != default:
            problems.append(f"conf.d/kms.conf: {name} {value} behind '#', but its default is {default}")


def check_reference():
    """The pages that are made from the tables are what they would be made to now."""
    made = subprocess.run([sys.executable, ROOT / "tools/reference/make_reference.py"], capture_output=True, text=True,
                          check=False)
    if made.returncode != 0:
        problems.append((made.stdout + made.stderr).strip())


def check_messages():
    used = {}
    for path in sources():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "//" in line:
                line = line[:line.index("//")]
            for message in re.findall(r"\"(KMS\d{4})\b", line):
                used.setdefault(message, []).append(f"{path.relative_to(ROOT)}:{number}")
    for message, places in used.items():
        if len(places) > 1:
            problems.append(f"message {message} is used in two places: {', '.join(places)}")
    documented = re.findall(r"^\| (KMS\d{4}) \|", read("docs/messages.md"), re.M)
    for message in set(documented):
        if documented.count(message) > 1:
            problems.append(f"message {message} is documented twice")
    compare("message", set(used), set(documented), "the code", "docs/messages.md")


def check_metrics():
    """Each metric of the table has a row in docs/metrics.md with its type and its help, and no row has none."""
    table = set(re.findall(r'^KMS_METRIC\((\w+), (\w+), "(.*)"\)$', read("libkms/metrics/metric_table.inc"), re.M))
    page = set(re.findall(r"^\| `kms_(\w+)` \| (\w+) \| [\w, ]*\| (.*) \|$", read("docs/metrics.md"), re.M))
    compare("metric", table, page, "libkms/metrics/metric_table.inc", "docs/metrics.md")


def check_licence():
    suffixes = {".cpp", ".h", ".inc", ".py", ".sh", ".am", ".ac", ".m4", ".java", ".conf"}
    seen = 0
    for folder in ("libkms", "mod_kms", "tests", "tools", "conf.d", "m4"):
        for path in sorted((ROOT / folder).rglob("*")):
            generated = path.name.startswith(("lt", "libtool")) and path.suffix == ".m4"
            if path.suffix not in suffixes or generated or "target" in path.parts:
                continue
            seen += 1
            if "SPDX-License-Identifier: Apache-2.0" not in path.read_text(encoding="utf-8")[:400]:
                problems.append(f"{path.relative_to(ROOT)} has no SPDX line")
    if seen == 0:
        problems.append("no source file found")


def check_boundaries():
    httpd = re.compile(r'#\s*include\s*[<"](httpd|http_|ap_|apr_|apr\.|mod_|util_filter|unixd)')
    for path in sources():
        inside = path.relative_to(ROOT).as_posix()
        if inside.startswith("mod_kms/") and not inside.startswith("mod_kms/rest/"):
            continue
        if httpd.search(path.read_text(encoding="utf-8")):
            problems.append(f"{inside} includes an httpd header")
        if len(path.read_text(encoding="utf-8").splitlines()) > 600:
            problems.append(f"{inside} has more than 600 lines")


code = code_tables()
check_directives(code)
check_openapi(code)
check_reference()
check_messages()
check_metrics()
check_licence()
check_boundaries()
for problem in problems:
    print(problem)
print(f"documents and code: {len(problems)} problems")
sys.exit(1 if problems else 0)
