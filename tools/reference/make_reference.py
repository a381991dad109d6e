#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes docs/directives.md and docs/properties.md from the tables of the code, which print_tables prints.

Without --write it changes nothing and fails when a page is not what it would write: check_docs.py runs it so.
The facts are made: the list under each heading, and what stands between the lines "<!-- made: ... -->" and
"<!-- end -->". The prose is written by hand, in the page, and kept.
"""
import difflib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
PRINT_TABLES = pathlib.Path("tools/reference/print_tables").resolve()
CONTEXTS = {"server": "server config, virtual host",
            "directory": "directory (`<Location>`, `<Directory>`, `<Files>`)"}
# The version that brought them; a directive that comes later needs a column of its own in the table.
SINCE = "mod_kms 0.1.0 and later"
problems = []


def shown(value):
    """A value as code, words in parentheses as words."""
    return value[1:-1] if value.startswith("(") and value.endswith(")") else f"`{value}`"


def cell(value):
    return value.replace("|", "\\|")


def replace_made(page, name, lines):
    """Puts lines between the two comments that stand around the part called name."""
    pattern = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", re.S)
    if len(pattern.findall(page)) != 1:
        problems.append(f"no part '{name}' between '<!-- made: {name} -->' and '<!-- end -->'")
        return page
    return pattern.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], page)


# -- docs/directives.md

def facts(row):
    yield f"- Description: {row['description']}"
    yield f"- Syntax: `{row['name']} {row['syntax']}`"
    yield f"- Default: {shown(row['default'])}"
    yield f"- Context: {CONTEXTS[row['context']]}"
    if row["property"]:
        yield f"- Property: `{row['property']}`"
    yield "- Status: Extension"
    yield "- Module: mod_kms"
    yield f"- Compatibility: {SINCE}"


def prose_of(page):
    """What people wrote under each heading, by the directive's name; and what stands before the first."""
    head, *sections = re.split(r"^## (?=KMS)", page, flags=re.M)
    prose = {}
    for section in sections:
        name, _, rest = section.partition("\n")
        if name in prose:
            problems.append(f"docs/directives.md: {name} has two sections")
        rest = re.sub(r"\A\s*(?:- .*\n)*", "", rest + "\n")
        prose[name] = rest.strip()
    return head, prose


def directives_page(page, tables):
    rows = tables["directives"]
    if not rows:
        problems.append("the table of directives is empty")
    head, prose = prose_of(page)
    if strangers := prose.keys() - {row["name"] for row in rows}:
        problems.extend(f"docs/directives.md: {name} is not in mod_kms/directive_table.inc" for name in strangers)
        return page  # their prose would be lost
    index = ["| Directive | What it says |", "|---|---|"]
    index += [f"| [{row['name']}](#{row['name'].lower()}) | {cell(row['description'])} |" for row in rows]
    parts = [replace_made(head, "index", index).rstrip()]
    for row in rows:
        text = prose.get(row["name"], "")
        if len(text) < 20:
            problems.append(f"docs/directives.md: {row['name']} has no prose; "
                            "make reference, then write some under its heading")
        parts.append(f"## {row['name']}\n\n" + "\n".join(facts(row)) + (f"\n\n{text}" if text else ""))
    return "\n\n".join(parts) + "\n"


# -- docs/properties.md

def values(row):
    if row["kind"] == "integer" and "min" in row:
        return f"{row['min']} to {row['max']}"
    return {"boolean": "true, false", "integer": "number", "text": "text"}[row["kind"]]


def becomes(row, directives):
    """What becomes of the property here, and why."""
    text = row["treatment"] + (f": {row['note']}" if row["note"] else "")
    if row["name"] in directives:
        text += f"; [{directives[row['name']]}](directives.md#{directives[row['name']].lower()})"
    return text


def properties_page(page, tables):
    rows = tables["properties"]
    if not rows:
        problems.append("the table of properties is empty")
    directives = {row["property"]: row["name"] for row in tables["directives"] if row["property"]}
    lines = ["| Property | Values | Default | Here |", "|---|---|---|---|"]
    for row in rows:
        if row["treatment"] != "used" and not row["note"]:
            problems.append(f"known_properties.cpp: {row['name']} is not used, and no note says why")
        default = f"`{row['default']}`" if row["default"] else ""
        lines.append("| " + " | ".join([f"`{row['name']}`", values(row), default,
                                        cell(becomes(row, directives))]) + " |")
    return replace_made(page, "properties", lines)


def main():
    printed = subprocess.run([PRINT_TABLES], capture_output=True, text=True, check=True).stdout
    tables = json.loads(printed)
    known = {row["name"] for row in tables["properties"]}
    for row in tables["directives"]:
        if row["property"] and row["property"] not in known:
            problems.append(f"{row['name']}: {row['property']} is not in known_properties.cpp")
    for name, make in (("docs/directives.md", directives_page), ("docs/properties.md", properties_page)):
        path = ROOT / name
        page = path.read_text(encoding="utf-8")
        made = make(page, tables)
        if made == page:
            continue
        if "--write" in sys.argv:
            path.write_text(made, encoding="utf-8")
            print(f"{name} written")
        else:
            problems.append(f"{name} is not what the tables say; run make reference:")
            problems.extend(difflib.unified_diff(page.splitlines(), made.splitlines(), "committed", "made",
                                                 n=0, lineterm=""))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


sys.exit(main())
