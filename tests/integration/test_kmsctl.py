# SPDX-License-Identifier: Apache-2.0
"""kmsctl as its manual page says it: every example is run as it stands, every command as JSON, every exit status."""
from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from client import Client
from harness import BUILD, OPEN_KEY_ACLS, PASSWORD, TOP, Httpd, free_port, hadoop_xml
from kmsctl import PROGRAM, Done, environment, run

PAGE = (TOP / "tools" / "kmsctl" / "kmsctl.1").read_text(encoding="utf-8")
COMMANDS = [c["command"] for c in json.loads(run("help", "--json").out)["commands"]]
# They need another store than a JCEKS file: test_trustee.py, test_trustee_backup.py, test_hsm.py,
# test_hsm_adopt.py, test_trustee_seal.py.
OF_A_DATABASE = {"store backup", "store init", "store restore", "store status", "store upgrade", "key undelete", "key purge",
                 "key state", "hsm adopt", "hsm doctor", "hsm forget", "hsm reconcile", "hsm status", "seal rewrap", "seal settings",
                 "seal setup", "seal trust", "seal validate"}


def examples() -> list[str]:
    """Those of the page in its order; what is done by one is there for the next."""
    found = re.findall(r"^\.Dl (kmsctl .+)$", PAGE, re.M)
    return [line.replace(r"\(dq", '"') for line in found]


def command_of(example: str) -> str:
    words = shlex.split(example)[1:]
    for command in sorted(COMMANDS, key=len, reverse=True):
        if words[:len(command.split())] == command.split():
            return command
    raise AssertionError(f"an example of no command: {example}")


class Site:
    """A server with some keys, and a folder with the files that the examples name."""

    def __init__(self, server: Httpd) -> None:
        self.server = server
        server.directives.append("KMSAuditChain On")
        server.usual.add("KMS0404")
        server.area.write_acls({**OPEN_KEY_ACLS, "hadoop.kms.blacklist.DELETE": "mallory"})
        server.start()
        c = Client(server.port, "alice")
        for name in ("payroll", "taxes"):
            assert c.create(name, description=f"for {name}").status == 201
        c.generate("payroll")
        self.folder = server.area.path / "operator"
        self.folder.mkdir()
        self.env = {"KMSCTL_URL": f"http://127.0.0.1:{server.port}/kms", "HADOOP_USER_NAME": "alice",
                    "HADOOP_CONF_DIR": str(server.area.conf)}
        token = c.call("GET", "/kms/v1/?op=GETDELEGATIONTOKEN&renewer=yarn").json()["Token"]["urlString"]
        self.write("job.token", token, 0o600)
        self.write("keystore.password", PASSWORD + "\n", 0o600)
        self.write("groups.txt", "alice=staff\nbob=etl,staff\n")
        self.write("new-kms-acls.xml", hadoop_xml({**OPEN_KEY_ACLS, "hadoop.kms.acl.GENERATE_EEK": "nobody-else"}))
        shutil.copy2(server.audit_log, self.folder / "kms-audit.log")
        shutil.copy2(server.area.keystore, self.folder / "old.keystore")
        os.chmod(self.folder / "old.keystore", 0o600)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, *words, exit_status: int | None = None, stdin: str = "", **env: str) -> Done:
        return run(*words, exit_status=exit_status, stdin=stdin, cwd=self.folder, **{**self.env, **env})


@pytest.fixture(scope="module")
def site(module_registry) -> Site:
    return Site(module_registry.httpd())


# What an example answers where it is not 0.
NEGATIVE = {
    "kmsctl acl replay new-kms-acls.xml kms-audit.log": "1 calls judged|now DENIED: alice GENERATE_EEK on 'payroll'",
    "kmsctl acl replay --groups-file groups.txt --metadata keys.json new-kms-acls.xml kms-audit.log": "now DENIED: alice",
}


def test_every_command_has_an_example() -> None:
    assert len(COMMANDS) >= 19
    assert {command_of(e) for e in examples()} == set(COMMANDS)
    assert set(NEGATIVE) <= set(examples())


def test_the_examples_of_the_manual_page(site: Site) -> None:
    """As they stand, one after the other; once for people and, on the same state, once as JSON."""
    server = site.server
    # acl replay names a file of key export-metadata, which comes later on the page.
    site.run("key", "export-metadata", "--output", "keys.json", exit_status=0)
    for example in examples():
        if command_of(example) in OF_A_DATABASE:
            continue
        words = shlex.split(example.replace("old.example.org:9600", f"127.0.0.1:{server.port}"))[1:]
        done = site.run(*words)
        assert done.status == (1 if example in NEGATIVE else 0), f"{example}\n{done}"
        assert not re.search(r"\x1b|\r", done.out + done.err), "a bar without a terminal"
        if example in NEGATIVE:
            assert re.search(NEGATIVE[example], done.out), done
        if "--json" in words:
            assert json.loads(done.out)["exit"] == done.status
    c = Client(server.port, "alice")
    assert c.names().json() == ["payroll", "taxes"]
    assert c.metadata("payroll").json()["versions"] == 2
    assert (site.folder / "new.keystore").exists()


# One call of each command with the members that its JSON must have.
AS_JSON: dict[str, tuple[str, set[str]]] = {
    "acl explain": ("--user alice --op DECRYPT_EEK --key payroll", {"file", "user", "operation", "key", "groups", "explanation"}),
    "acl check": ("", {"file", "findings"}),
    "acl replay": ("new-kms-acls.xml kms-audit.log", {"differences", "counts"}),
    "audit verify": ("kms-audit.log", {"good", "lines", "chained", "problems", "findings", "rows"}),
    "config check": ("", {"errors", "findings", "properties"}),
    "key list": ("--long", {"keys"}),
    "key show": ("taxes", {"key"}),
    "key create": ("json-key", {"version"}),
    "key roll": ("json-key", {"version"}),
    "key delete": ("json-key --yes", {"deleted"}),
    "key export-metadata": ("", {"format", "keys"}),
    "key import": ("--dry-run keys.json", {"keys"}),
    "keystore verify": ("", {"keystore", "keys", "versions", "entries", "findings"}),
    "keystore repair": ("", {"findings", "steps"}),
    "migrate": ("--from old.keystore --to json.keystore --from-password-file keystore.password", {"keys", "verified"}),
    "token show": ("@job.token", {"kind", "service", "owner", "renewer", "real_user", "issue_ms", "max_ms", "over",
                                  "sequence", "master_key_id"}),
    "bench": ("--key payroll --threads 1 --seconds 1", {"calls", "errors", "seconds", "rate", "latency_ms"}),
    "help": ("", {"commands"}),
    "complete": ("0 acl", set()),
}


def test_every_command_as_json(site: Site) -> None:
    assert set(AS_JSON) | OF_A_DATABASE == set(COMMANDS)
    site.run("key", "export-metadata", "--output", "keys.json", exit_status=0)
    for command, (words, members) in AS_JSON.items():
        done = site.run(*command.split(), "--json", *shlex.split(words))
        answer = json.loads(done.out)
        assert answer["exit"] == done.status == (1 if command == "acl replay" else 0), f"{command}: {done}"
        assert members <= set(answer), f"{command}: {sorted(answer)}"
        # Beside it there is nothing, and nothing secret.
        assert "error" not in answer and PASSWORD not in done.out + done.err
        assert "material" not in done.out.replace('"material"', "", 0) or command in ("help",), command


def test_errors_as_json(site: Site) -> None:
    for words, status in (("key show none", 1), ("key show", 2), ("key list --no-such-option", 2), ("nonsense", 2),
                          ("keystore verify none.keystore", 3), ("key create taxes", 5)):
        done = run(*shlex.split(words), "--json", cwd=site.folder, **site.env) if words != "nonsense" else \
            site.run("--json", "nonsense")
        answer = json.loads(done.out)
        assert answer["exit"] == done.status == status, (words, done)
        assert answer["error"], words


@pytest.mark.parametrize("status, words, says", [
    (0, "key list", "payroll"),
    (1, "key show no-such-key", "there is no key 'no-such-key'"),
    (1, "acl explain --user mallory --op DELETE --key payroll", "DENY mallory DELETE on 'payroll'"),
    (1, "acl replay new-kms-acls.xml kms-audit.log", "now DENIED"),
    (1, "audit verify plain.log", "the log was written without a chain"),
    (1, "config check --set hadoop.kms.authentication.type=nonsense", "hadoop.kms.authentication.type"),
    (1, "keystore verify --password-file wrong.password old.keystore", "old.keystore: "),
    (1, "token show AAAA", "this is no delegation token"),
    (2, "", "no command"),
    (2, "nonsense", "no such command: nonsense"),
    (2, "key nonsense", "no such command: key nonsense"),
    (2, "key list --nonsense", "nonsense"),
    (2, "key show", "too few arguments"),
    (2, "key show a b", "an argument too many for key show: b"),
    (2, "key delete payroll", "nothing is deleted without --yes"),
    (2, "acl explain --user a --op NONSENSE --key k", "no such operation: NONSENSE"),
    (2, "acl explain --user a --op CREATE", "--key is missing"),
    (2, "bench --key k --threads many", "--threads 'many' is no whole number"),
    (2, "key list --url nonsense", "--url nonsense"),
    (2, "migrate --from a --to a", "are the same"),
    (2, "audit verify --expect nonsense kms-audit.log", "--expect"),
    (2, "key import with-material.json", "--allow-material"),
    (3, "key list --url http://127.0.0.1:{closed}/kms", "http://127.0.0.1:{closed}/kms: "),
    (3, "audit verify none.log", "none.log cannot be read"),
    (3, "acl check none.xml", "none.xml"),
    (3, "acl replay none.xml kms-audit.log", "none.xml"),
    (3, "acl replay new-kms-acls.xml none.log", "none.log"),
    (3, "config check --conf none", "none: no such directory"),
    (3, "keystore verify none.keystore", "none.keystore: no such file"),
    (3, "key import none.json", "none.json"),
    (3, "key import broken.json", "broken.json: line 3: "),
    (3, "key create k --material-file none", "none: No such file"),
    (3, "key list --token-file none", "none: No such file"),
    (4, "key delete --yes payroll --user mallory", "the server answers 403: "),
    (4, "key list --token-file forged.token", "the server answers 403: "),
    (5, "key create taxes", "the server answers 500: "),
    (5, "key roll no-such-key", "the server answers 500: "),
    (5, "bench --key no-such-key --seconds 1", "the server answers "),
])
def test_exit_statuses(site: Site, status: int, words: str, says: str) -> None:
    site.write("plain.log", "2026-11-24 11:42:21,319 OK[op=GET_KEYS, user=alice] \n")
    site.write("wrong.password", "wrong\n", 0o600)
    site.write("forged.token", "AAAA", 0o600)
    site.write("broken.json", '{"format":\n\n nonsense')
    material = {"format": json.loads(site.run("key", "export-metadata", "--json").out)["format"],
                "keys": [{"name": "m", "material": "c2VjcmV0"}]}
    site.write("with-material.json", json.dumps(material), 0o600)
    closed = free_port()
    done = site.run(*shlex.split(words.replace("{closed}", str(closed))))
    assert done.status == status, done
    assert says.replace("{closed}", str(closed)) in done.out + done.err
    if status > 1:
        assert done.out == "" and done.err.startswith("kmsctl"), done


def test_the_page_has_these_exit_statuses() -> None:
    chapter = PAGE[PAGE.index(".Sh EXIT STATUS"):PAGE.index(".Sh SEE ALSO")]
    assert re.findall(r"^\.It (\d)$", chapter, re.M) == ["0", "1", "2", "3", "4", "5"]
    marks = next(m for m in test_exit_statuses.pytestmark if m.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == set(range(6))


def on_a_terminal(site: Site, *words: str) -> str:
    """What a command writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
                               env=environment(**site.env), cwd=site.folder)
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:
        pass  # EIO: the other side is closed
    os.close(ours)
    assert process.wait(60) == 0
    return text.decode()


@pytest.mark.parametrize("words, bar", [
    ("bench --key payroll --threads 1 --seconds 1", r"seconds \[#{40}\] 1/1"),
    ("keystore verify --password-file keystore.password old.keystore", r"entries \[#+\.*\] \d/\d"),
    ("migrate --from old.keystore --to bar.keystore --from-password-file keystore.password", r"keys \[#+\.*\] \d/\d"),
    ("key import --dry-run keys.json", r"keys \[#+\.*\] \d/\d"),
], ids=["bench", "keystore verify", "migrate", "key import"])
def test_bars_on_a_terminal_only(site: Site, words: str, bar: str) -> None:
    site.run("key", "export-metadata", "--output", "keys.json", exit_status=0)
    text = on_a_terminal(site, *shlex.split(words))
    assert re.search(bar, text), text
    assert text.endswith("\r\x1b[K"), "the bar is left on the screen"
    assert on_a_terminal(site, *shlex.split(words), "--quiet") == ""


def test_a_name_that_is_typed(site: Site) -> None:
    """On a terminal key delete asks; only the name itself is a yes."""
    c = Client(site.server.port, "alice")
    c.create("typed")
    for typed, status in (("yes", 2), ("typed", 0)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([PROGRAM, "key", "delete", "typed"], stdin=theirs, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(**site.env), text=True)
        os.write(ours, typed.encode() + b"\n")
        _, err = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == status and "Type the name of the key" in err
    assert "typed" not in c.names().json()


def test_help_for_who_is_in_a_hurry() -> None:
    text = run("--help", exit_status=0).out
    assert all(command in text for command in COMMANDS)
    assert len(text.splitlines()) < 60 and max(map(len, text.splitlines())) <= 115
    assert "Where to begin:" in text and "Exit status: 0 done" in text
    for command in COMMANDS:
        one = run(*command.split(), "--help", exit_status=0).out
        assert one.startswith(f"usage: kmsctl {command} ")
        assert one == run("help", *command.split(), exit_status=0).out


def test_no_key_material_leaves(site: Site) -> None:
    """What the server answers to create and roll has material, which is not for the screen."""
    material = "TE9PSyBBVCBNRSBJIEFN"
    path = site.write("material", material + "\n", 0o600)
    done = [site.run("key", "create", "secret", "--length", "120", "--material-file", path, *j) for j in ([], ["--json"])]
    done += [site.run("key", "roll", "secret", "--material-file", path, *j) for j in ([], ["--json"])]
    done += [site.run("key", "show", "secret"), site.run("key", "export-metadata", "secret")]
    assert all(material not in d.out + d.err for d in done)
    assert done[0].status == 0, done[0]
    site.run("key", "delete", "--yes", "secret", exit_status=0)


@pytest.mark.skipif(not (BUILD / "Makefile").exists(), reason="no build tree")
def test_what_make_install_installs(tmp_path: Path) -> None:
    done = subprocess.run(["make", "-C", BUILD, f"DESTDIR={tmp_path}", "install-man", "install-dist_bashcompletionDATA"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = {p.name: p for p in tmp_path.rglob("*") if p.is_file()}
    assert installed["kmsctl.1"].parts[-3:-1] == ("man", "man1")
    assert installed["kmsctl"].parts[-3:-1] == ("bash-completion", "completions")
    assert installed["kmsctl.1"].read_text() == PAGE
