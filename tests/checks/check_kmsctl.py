#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when kmsctl, its manual page and its completion disagree: commands, options, findings, both ways."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
KMSCTL = pathlib.Path("tools/kmsctl/kmsctl").resolve()
PAGE = (ROOT / "tools/kmsctl/kmsctl.1").read_text(encoding="utf-8")
problems = []


def compare(what, ours, theirs, where_ours, where_theirs):
    for name in sorted(ours - theirs):
        problems.append(f"{what} {name} is in {where_ours}, not in {where_theirs}")
    for name in sorted(theirs - ours):
        problems.append(f"{what} {name} is in {where_theirs}, not in {where_ours}")


def run(*words):
    return subprocess.run([KMSCTL, *words], capture_output=True, text=True, check=True).stdout


def signatures(options):
    """--name VALUE, as usage and manual page have it."""
    return {f"--{o['name']}" + (f" {o['value']}" if o["value"] else "") for o in options}


def options_of(text):
    return {f"--{name}" + (f" {value}" if value else "")
            for name, value in re.findall(r"^\.It Fl -([a-z-]+)(?: Ar (\S+))?$", text, re.M)}


def sections(text, macro):
    """Headings of a level, each with the text below it."""
    parts = re.split(rf"^\.{macro} (.+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def check_page(table):
    chapters = sections(PAGE, "Sh")
    commands = sections(chapters["COMMANDS"], "Ss")
    ours = {f"{c['command']} {c['arguments']}".strip(): c for c in table["commands"]}
    compare("command", set(ours), set(commands), "kmsctl", "the manual page")
    for name, text in commands.items():
        if name not in ours:
            continue
        command = ours[name]
        compare(f"{name}: option", signatures(command["options"]), options_of(text), "kmsctl", "the manual page")
        for kind, chapter in (("conf", "CONFIGURATION OPTIONS"), ("rest", "CONNECTION OPTIONS")):
            if command[kind] != (f".Sx {chapter}" in text):
                problems.append(f"{name}: the manual page and kmsctl disagree on the {chapter}")
        if not re.search(rf"^\.Dl kmsctl {re.escape(command['command'])}\b", text, re.M):
            problems.append(f"{name}: the manual page has no example")
    for kind, chapter in (("global", "GLOBAL OPTIONS"), ("conf", "CONFIGURATION OPTIONS"), ("rest", "CONNECTION OPTIONS")):
        compare("option", signatures(table[f"{kind}_options"]), options_of(chapters[chapter]), "kmsctl", chapter)
    for kind, chapter in (("acl", "FINDINGS OF ACL CHECK"), ("keystore", "FINDINGS OF KEYSTORE VERIFY")):
        codes = set(re.findall(r"^\.It Li (\S+)$", chapters[chapter], re.M))
        compare("finding", set(table[f"{kind}_findings"]), codes, "kmsctl", chapter)
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", commands["acl explain"]))
    for operation in table["acl_operations"]:
        if operation not in named:
            problems.append(f"operation {operation} is not in the manual page's acl explain")


def complete(*words):
    """What bash offers for the last of the words."""
    script = ROOT / "tools/kmsctl/bash/kmsctl"
    code = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kmsctl; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", code, "bash", script, KMSCTL, *words], capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if line}


def check_completion(table):
    groups = {c["command"].split()[0] for c in table["commands"]}
    compare("command", groups, complete(""), "kmsctl", "the completion")
    for group in groups:
        names = {c["command"].split()[1] for c in table["commands"] if c["command"].startswith(group + " ")}
        if names:
            compare(f"{group}:", names, complete(group, ""), "kmsctl", "the completion")
    for command in table["commands"]:
        options = command["options"] + table["global_options"]
        for kind in ("conf", "rest"):
            options = options + (table[f"{kind}_options"] if command[kind] else [])
        compare(f"{command['command']}: option", {f"--{o['name']}" for o in options},
                complete(*command["command"].split(), "--"), "kmsctl", "the completion")
    compare("operation", set(table["acl_operations"]), complete("acl", "explain", "--op", ""), "kmsctl", "the completion")
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "one.xml").touch()
        compare("file", {f"{folder}/one.xml"}, complete("acl", "check", f"{folder}/o"), "the folder", "the completion")


def check_layout():
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", ROOT / "tools/kmsctl/kmsctl.1"],
                              capture_output=True, text=True, check=False)
        problems.extend(done.stdout.splitlines())
    for path in sorted((ROOT / "tools/kmsctl").rglob("*.*")):
        if path.suffix in (".cpp", ".h") and len(path.read_text(encoding="utf-8").splitlines()) > 600:
            problems.append(f"{path.relative_to(ROOT)} has more than 600 lines")


commands = json.loads(run("help", "--json"))
check_page(commands)
check_completion(commands)
check_layout()
for problem in problems:
    print(problem)
print(f"kmsctl, manual page and completion: {len(commands['commands'])} commands, {len(problems)} problems")
sys.exit(1 if problems else 0)
