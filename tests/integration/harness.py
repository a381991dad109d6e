# SPDX-License-Identifier: Apache-2.0
"""A private httpd with mod_kms for one test: its directories, its configuration, its life and its error log.

Started as root, the children run as the distribution's httpd user, as in a packaged installation; started by anybody
else, as that user.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import http.client
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

TOP = Path(__file__).resolve().parents[2]
DATA = TOP / "tests" / "data"
BUILD = Path(os.environ.get("KMS_BUILD_DIR", TOP / "build"))
PASSWORD = "integration-password"
# httpd itself is built without ASan, so that the runtime has to come before it.
SANITIZER_RUNTIME = os.environ.get("KMS_SANITIZED", "")
ITERATIONS = 10000  # the floor that mod_kms accepts; creates stay fast

# Ids that belong to an undisturbed life: what is served, a keystore made or opened, rules in force.
# AH03093: a thread met SIGTERM between its answer and the return of the connection to the listener.
ORDINARY_IDS = {"AH03093", "KMS0101", "KMS0102", "KMS0201", "KMS0202", "KMS0320", "KMS0507"}
# A child that dies of a signal is only a notice for httpd.
ALWAYS_BAD = re.compile(
    r"AH0005[012]|Segmentation fault|AddressSanitizer|LeakSanitizer|runtime error:|terminate called|"
    r"double free|corrupted size|stack smashing|Assertion")
LOG_ID = re.compile(r"\b(KMS\d{4}|AH\d{5})\b")
LOG_LEVEL = re.compile(r"\[(?:\w+):(emerg|alert|crit|error|warn|notice|info|debug|trace\d)\]")

OPERATIONS = ["CREATE", "DELETE", "ROLLOVER", "GET", "GET_KEYS", "GET_METADATA", "SET_KEY_MATERIAL", "GENERATE_EEK",
              "DECRYPT_EEK"]
OPEN_KEY_ACLS = {f"default.key.acl.{op}": "*" for op in ("MANAGEMENT", "GENERATE_EEK", "DECRYPT_EEK", "READ")}


def apxs(name: str) -> str:
    program = shutil.which("apxs") or shutil.which("apxs2")
    if program is None:
        return ""
    return subprocess.run([program, "-q", name], capture_output=True, text=True, check=False).stdout.strip()


@functools.lru_cache(maxsize=None)
def httpd_program() -> str:
    for candidate in (os.environ.get("HTTPD"), "/usr/sbin/httpd-event", f"{apxs('SBINDIR')}/{apxs('PROGNAME')}", "httpd", "apache2"):
        found = candidate and shutil.which(candidate)
        if found:
            return found
    raise RuntimeError("no httpd found")


@functools.lru_cache(maxsize=None)
def module_dir() -> Path:
    return Path(apxs("LIBEXECDIR"))


@functools.lru_cache(maxsize=None)
def static_modules() -> frozenset[str]:
    listed = subprocess.run([httpd_program(), "-l"], capture_output=True, text=True, check=True).stdout
    return frozenset(line.strip() for line in listed.splitlines() if line.endswith(".c"))


def have_module(name: str) -> bool:
    return is_static(name) or (module_dir() / f"mod_{name}.so").exists()


def is_static(name: str) -> bool:
    return bool({f"mod_{name}.c", f"{name.removeprefix('mpm_')}.c"} & static_modules())


def load_module(name: str) -> str:
    if is_static(name):
        return ""
    return f'LoadModule {name}_module "{module_dir() / f"mod_{name}.so"}"\n'


def mod_kms() -> Path:
    return Path(os.environ.get("KMS_MODULE", BUILD / "mod_kms" / ".libs" / "mod_kms.so"))


def is_root() -> bool:
    return os.geteuid() == 0


@functools.lru_cache(maxsize=None)
def serving_account() -> pwd.struct_passwd | None:
    """The user that the children change to, or None where this is not root."""
    if not is_root():
        return None
    for name in ("www-data", "apache", "wwwrun", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("no account for httpd's children")


def free_port() -> int:
    """Below the ports that the system gives to clients, where one could turn up in between."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


def die_with_parent() -> None:
    """In a child: end when the test run is killed, so that nothing is left serving."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def hadoop_xml(properties: dict[str, str]) -> str:
    rows = "".join(f"  <property><name>{escape(k)}</name><value>{escape(v)}</value></property>\n"
                   for k, v in properties.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<configuration>\n{rows}</configuration>\n'


def wait_for(what: str, condition, seconds: float = 10.0):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


class Area:
    """Directories of one test: conf (the Hadoop configuration), store (the keystore) and run (httpd's own)."""

    def __init__(self) -> None:
        # Not below pytest's own directory, which other users cannot pass.
        self.path = Path(tempfile.mkdtemp(prefix="kms-test-", dir="/tmp"))
        self.path.chmod(0o755)
        self.conf = self.path / "conf"
        self.store = self.path / "store"
        self.conf.mkdir()
        self.store.mkdir(mode=0o700)
        self.give(self.store)
        self.keystore = self.store / "kms.keystore"
        self.write_password(PASSWORD)
        self.write_site({})
        self.write_acls(OPEN_KEY_ACLS)
        self.write("core-site.xml", hadoop_xml({}))

    def give(self, path: Path) -> None:
        """Makes path the property of those who serve."""
        account = serving_account()
        if account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)

    def write(self, name: str, content: str | bytes) -> Path:
        """Replaces a file of the configuration in one step, as an administrator's tools do."""
        path = self.conf / name
        fresh = self.conf / f".{name}.new"
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        fresh.chmod(0o644)
        fresh.replace(path)
        return path

    def write_password(self, password: str) -> None:
        path = self.write("kms.keystore.password", password + "\n")
        path.chmod(0o640)
        account = serving_account()
        if account is not None:
            os.chown(path, 0, account.pw_gid)

    def site_properties(self) -> dict[str, str]:
        return {
            "hadoop.kms.key.provider.uri": f"jceks://file@{self.keystore}",
            "hadoop.security.keystore.java-keystore-provider.password-file": "kms.keystore.password",
            "hadoop.kms.authentication.type": "simple",
        }

    def write_site(self, more: dict[str, str]) -> None:
        self.write("kms-site.xml", hadoop_xml({**self.site_properties(), **more}))

    def write_acls(self, properties: dict[str, str]) -> None:
        self.write("kms-acls.xml", hadoop_xml(properties))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Httpd:
    """One httpd. Attributes that shape its configuration may be changed before start() or a restart."""

    address = "127.0.0.1"
    probe = ("OPTIONS", "/kms/v1/")  # any answer to it means that httpd is up

    def __init__(self, area: Area, name: str = "run") -> None:
        self.area = area
        self.run = area.path / name
        self.run.mkdir()
        self.port = free_port()
        self.mpm = "event"
        self.children = "StartServers 3\nServerLimit 4\nThreadsPerChild 10\nMaxRequestWorkers 40\n" \
            "MinSpareThreads 10\nMaxSpareThreads 40\n"
        self.conf_dir: Path | None = area.conf
        self.audit_log: Path | None = self.run / "kms-audit.log"
        self.directives: list[str] = [f"KMSKeystoreIterations {ITERATIONS}"]
        self.slashes = "AllowEncodedSlashes NoDecode\nMergeSlashes Off\n"
        self.limits = "LimitRequestLine 65536\nLimitRequestFieldSize 65536\n"
        self.location = "  KMSEngine On\n  AuthType KMS\n  Require valid-user\n"
        self.more_locations = ""  # after the one of the KMS, and so over it
        self.more_modules: list[str] = []
        self.access_log = True
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        self.announced: set[str] = set()
        self.allowed: set[str] = set()
        self.usual: set[str] = set()  # of this configuration, at any time
        self._checked = {"log": 0, "stderr": 0}

    # -- configuration

    @property
    def error_log(self) -> Path:
        return self.run / "error_log"

    @property
    def config_file(self) -> Path:
        return self.run / "httpd.conf"

    def write_config(self) -> Path:
        account = serving_account()
        modules = [f"mpm_{self.mpm}", "authn_core", "authz_core", "authz_user", "unixd", "log_config"]
        lines = [load_module(m) for m in [*modules, *self.more_modules]]
        lines.append(f'LoadModule kms_module "{mod_kms()}"\n')
        lines.append(
            f'ServerRoot "{self.run}"\nDefaultRuntimeDir "{self.run}"\nPidFile "{self.run}/httpd.pid"\n'
            f'Mutex "file:{self.run}" default\nErrorLog "{self.error_log}"\nLogLevel notice kms:info\n'
            f"ServerName 127.0.0.1:{self.port}\nListen 127.0.0.1:{self.port}\nListenBacklog 500\n"
            "ServerTokens Prod\nKeepAlive On\nKeepAliveTimeout 60\nMaxKeepAliveRequests 0\n")
        if self.access_log:
            lines.append(f'CustomLog "{self.run}/access_log" "%P %>s %m %U%q"\n')
        lines += [self.limits, self.slashes, self.children]
        if account is not None:
            lines.append(f'User "#{account.pw_uid}"\nGroup "#{account.pw_gid}"\n')
        if self.conf_dir is not None:
            lines.append(f'KMSConfDir "{self.conf_dir}"\n')
        if self.audit_log is not None:
            lines.append(f'KMSAuditLog "{self.audit_log}"\n')
        lines += [line + "\n" for line in self.directives]
        lines.append(f'<Location "/">\n{self.location}</Location>\n{self.more_locations}')
        self.config_file.write_text("".join(lines))
        return self.config_file

    def command(self, *more: str) -> list[str]:
        return [httpd_program(), "-f", str(self.config_file), *more]

    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HADOOP_")}
        if SANITIZER_RUNTIME:
            clean["LD_PRELOAD"] = SANITIZER_RUNTIME
        return {**clean, **self.environment}

    def configtest(self) -> tuple[int, str]:
        """Exit status and text of httpd -t. What goes to the error log on a real start goes to stderr here."""
        self.write_config()
        done = subprocess.run(self.command("-t"), capture_output=True, text=True, env=self.environ(), timeout=60,
                              check=False)
        return done.returncode, done.stdout + done.stderr

    # -- life

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        self.write_config()
        (self.run / "httpd.pid").unlink(missing_ok=True)
        with open(self.run / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(self.command("-DFOREGROUND"), stdin=subprocess.DEVNULL, stdout=stderr,
                                            stderr=stderr, env=self.environ(), start_new_session=True,
                                            preexec_fn=die_with_parent)

    def start(self) -> Httpd:
        self.spawn()
        wait_for("httpd to answer", self.answers, 30)
        return self

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"httpd ended with {self.process.returncode}:\n{self.stderr()}\n{self.log_text()}")
        if not (self.run / "httpd.pid").exists():
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(self.address, self.port, timeout=5)
            connection.request(*self.probe)
            connection.getresponse().read()
            connection.close()
            return True
        return False

    def graceful(self, wait: bool = True) -> None:
        """What apachectl graceful runs: it checks the configuration, then sends SIGUSR1."""
        before = self.generations()
        subprocess.run(self.command("-k", "graceful"), env=self.environ(), capture_output=True, timeout=60, check=True)
        if wait:
            wait_for("the new generation", lambda: self.generations() > before, 30)

    def generations(self) -> int:
        return len(re.findall("resuming normal operations", self.log_text()))

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            # On SIGTERM httpd closes the sockets of threads that are still at work, and these may trip over it. The
            # busier the machine, the longer a thread works on after its answer.
            time.sleep(min(1.0, 0.05 * max(1.0, os.getloadavg()[0])))
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("httpd did not stop within 20 s of SIGTERM") from None
        self.process = None

    def kill(self) -> None:
        """The parent and every child at once, as a power cut would."""
        assert self.process is not None
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(20)
        wait_for("the port to be free", self.port_is_free, 20)
        self.process = None

    def port_is_free(self) -> bool:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((self.address, self.port))
            except OSError:
                return False
            return True

    def child_pids(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name of the program, in brackets, may hold anything; state and parent follow it.
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.pid:
                        found.append(int(entry.name))
        return found

    # -- logs

    def stderr(self) -> str:
        path = self.run / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_text(self) -> str:
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def audit_lines(self) -> list[str]:
        assert self.audit_log is not None
        return self.audit_log.read_text(encoding="utf-8").splitlines()

    def access_lines(self) -> list[str]:
        path = self.run / "access_log"
        return path.read_text().splitlines() if path.exists() else []

    def expect(self, *ids: str) -> None:
        """These ids must turn up in the error log before the test is over."""
        self.announced.update(ids)

    def allow(self, *ids: str) -> None:
        """These ids may turn up."""
        self.allowed.update(ids)

    def check_log(self) -> list[str]:
        """What the log has, since the last call, that nobody announced; and what was announced and never came."""
        fresh: list[str] = []
        for name, text in (("log", self.log_text()), ("stderr", self.stderr())):
            lines = text.splitlines()
            fresh += lines[self._checked[name]:]
            self._checked[name] = len(lines)
        known = ORDINARY_IDS | self.usual | self.announced | self.allowed
        bad, seen = [], set()
        for line in fresh:
            ids = set(LOG_ID.findall(line))
            seen |= ids
            level = LOG_LEVEL.search(line)
            severe = level is None or level[1] in ("emerg", "alert", "crit", "error")
            if ids & known:
                continue
            if ALWAYS_BAD.search(line) or any(i.startswith("KMS") for i in ids) or (severe and ids):
                bad.append(line)
        bad += [f"announced, but not in the log: {i}" for i in sorted(self.announced - seen)]
        self.announced.clear()
        self.allowed.clear()
        return bad
