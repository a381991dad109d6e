# SPDX-License-Identifier: Apache-2.0
"""Clean roots: Debian 12 by debootstrap, with overlays that a test may spoil, each in namespaces of its own.

Port 9600 is bound in a network namespace, so nothing outside is touched and nothing outside is in the way.
"""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# What takes the place of process 1 in a root: it reaps what daemons leave.
INIT = """
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""
CALLS = """
import http.client, json, sys
calls = json.load(sys.stdin)
c = http.client.HTTPConnection("127.0.0.1", 9600, timeout=30)
out = []
for method, path, body in calls:
    c.request(method, path, body=json.dumps(body) if body is not None else None,
              headers={"Content-Type": "application/json"} if body is not None else {})
    r = c.getresponse()
    out.append([r.status, r.read().decode()])
json.dump(out, sys.stdout)
"""
LOAD = """
import http.client, json, os, sys
stop, counts = sys.argv[1], {}
for i in range(20000):
    try:
        c = http.client.HTTPConnection("127.0.0.1", 9600, timeout=30)
        c.request("GET", "/kms/v1/key/load/_metadata?user.name=alice", headers={"Connection": "close"})
        r = c.getresponse()
        r.read()
        result = str(r.status)
    except Exception as e:
        result = repr(e)
    counts[result] = counts.get(result, 0) + 1
    if os.path.exists(stop):
        break
print(json.dumps(counts))
"""


def run(*command: str | Path, check: bool = True, timeout: float = 900, **more) -> subprocess.CompletedProcess:
    """Output is text, stderr with it; a failure shows it."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=timeout, check=False,
                          **{"stdin": subprocess.DEVNULL, **more})
    if check and done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}: {' '.join(map(str, command))}\n{done.stdout[-4000:]}")
    return done


def wait_for(what: str, condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)
    return value


class Root:
    """A root file system to run commands in. Use as a context: it ends every process in it, and is gone then."""

    def __init__(self, base: Path, keep: bool = False) -> None:
        self.base = base
        self.keep = keep
        self.space = Path(tempfile.mkdtemp(prefix="kms-root-", dir=base.parent))
        self.path = self.space / "root"
        self.init: subprocess.Popen | None = None

    def __enter__(self) -> "Root":
        for name in ("root", "upper", "work"):
            (self.space / name).mkdir()
        if self.keep:
            run("mount", "--bind", self.base, self.path)
        else:
            run("mount", "-t", "overlay", "overlay", "-o",
                f"lowerdir={self.base},upperdir={self.space / 'upper'},workdir={self.space / 'work'}", self.path)
        self.start_init()
        return self

    def start_init(self) -> None:
        ready = self.space / "ready"
        script = (f'mount -t proc proc "{self.path}/proc" && mount --rbind /dev "{self.path}/dev" && '
                  f'ip link set lo up && touch "{ready}" && exec "{sys.executable}" -c "$0"')
        self.init = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c",
                                      script, INIT])
        wait_for("namespaces", ready.exists)

    def __exit__(self, *_) -> None:
        if self.init is not None:
            self.init.kill()
            self.init.wait()
        for _ in range(100):
            if run("umount", self.path, check=False).returncode == 0:
                break
            time.sleep(0.1)
        shutil.rmtree(self.space, ignore_errors=True)

    @property
    def inner_pid(self) -> str:
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return children[0]

    def enter(self, *command: str) -> list[str]:
        """A command of the host in the namespaces of the root."""
        return ["nsenter", "-t", self.inner_pid, "-m", "-n", "-p", "--", *command]

    def run(self, command: str, check: bool = True, **more) -> subprocess.CompletedProcess:
        """A shell command in the root, without a terminal and with nothing to read."""
        environment = {"PATH": PATH, "HOME": "/root", "LANG": "C", "TERM": "dumb"}
        return run(*self.enter("chroot", str(self.path), "/bin/sh", "-c", command), check=check, env=environment, **more)

    def listen(self, port: int) -> subprocess.Popen:
        """Another program on a port. In the root's network only, so that killing the process ends it."""
        return subprocess.Popen(["nsenter", "-t", self.inner_pid, "-n", "--", sys.executable, "-m", "http.server",
                                 str(port), "--bind", "127.0.0.1"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.space)

    def __truediv__(self, inside: str) -> Path:
        return self.path / inside.lstrip("/")

    def write(self, inside: str, text: str, mode: int = 0o644) -> Path:
        path = self / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def has(self, inside: str) -> bool:
        return os.path.lexists(self / inside)

    # -- the server in it

    def calls(self, *calls: tuple) -> list[tuple[int, str]]:
        done = run(*self.enter(sys.executable, "-c", CALLS), stdin=None, input=json.dumps(calls))
        return [tuple(x) for x in json.loads(done.stdout)]

    def status(self, path: str) -> int:
        return self.calls(("GET", path, None))[0][0]

    def answers(self) -> bool:
        with contextlib.suppress(AssertionError, ValueError):
            return self.status("/kms/v1/keys/names?user.name=alice") == 200
        return False

    def serve_key(self, name: str) -> None:
        """A create, a generate and a decrypt, by curl in the root: what an operator would try first."""
        url = "http://127.0.0.1:9600/kms/v1"
        post = "curl -sS -f -H Content-Type:application/json"
        self.run(f"{post} -d '{{\"name\":\"{name}\"}}' '{url}/keys?user.name=alice'")
        got = self.run(f"curl -sS -f '{url}/key/{name}/_eek?eek_op=generate&num_keys=1&user.name=alice'")
        self.decrypt(json.loads(got.stdout)[0])

    def generate(self, name: str) -> dict:
        got = self.run(f"curl -sS -f 'http://127.0.0.1:9600/kms/v1/key/{name}/_eek?eek_op=generate&num_keys=1"
                       "&user.name=alice'")
        return json.loads(got.stdout)[0]

    def decrypt(self, eek: dict) -> str:
        body = json.dumps({"name": eek["versionName"].split("@")[0], "iv": eek["iv"],
                           "material": eek["encryptedKeyVersion"]["material"]})
        got = self.run(f"curl -sS -f -H Content-Type:application/json -d '{body}' "
                       f"'http://127.0.0.1:9600/kms/v1/keyversion/{eek['versionName']}/_eek?eek_op=decrypt"
                       "&user.name=alice'")
        return json.loads(got.stdout)["material"]

    def loaded_module_is_current(self, pid: int) -> bool:
        """Every process of httpd has mapped the mod_kms.so that is installed, none a deleted one."""
        seen = self.run(f"cat /proc/{pid}/maps").stdout
        lines = [line for line in seen.splitlines() if "mod_kms.so" in line]
        return bool(lines) and not any("(deleted)" in line for line in lines)


class Load:
    """Calls without an end while something else happens; afterwards, what they were answered."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.stop = root.space / "stop-load"
        self.counts: dict[str, int] = {}

    def __enter__(self) -> "Load":
        self.process = subprocess.Popen(self.root.enter(sys.executable, "-c", LOAD, str(self.stop)),
                                        stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind, *_) -> None:
        self.stop.touch()
        said, _ = self.process.communicate(timeout=120)
        self.stop.unlink()
        if kind is None:
            self.counts = json.loads(said)
