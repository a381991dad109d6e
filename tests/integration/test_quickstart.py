# SPDX-License-Identifier: Apache-2.0
"""tools/quickstart: the show, a given directory served, and nothing left when it is told to end."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from client import Client
from harness import (BUILD, OPEN_KEY_ACLS, PASSWORD, TOP, free_port, hadoop_xml, have_module, is_root, mod_kms,
                     wait_for)
from tls import Authority, TlsClient, openssl, trusting

QUICKSTART = TOP / "tools" / "quickstart"


class Run:
    """One quickstart. Its own temporary directory shows what it leaves behind."""

    def __init__(self, tmp: Path, *arguments: str, path: str = "", become=None, **options) -> None:
        self.tmp = tmp / "tmp"
        self.tmp.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(self.tmp), "KMS_MODULE": str(mod_kms()), "KMS_BUILD_DIR": str(BUILD)}
        if path:
            environment["PATH"] = path + ":" + environment["PATH"]
        self.out = tmp / "out"
        self.err = tmp / "err"

        def prepare() -> None:
            # Tests that a shell runs in the background ignore it, and so would all that they start.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if become:
                become()

        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen([str(QUICKSTART), "--no-install", *arguments], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, env=environment, preexec_fn=prepare, **options)

    def ready(self, seconds: float = 60) -> str:
        def url():
            assert self.process.poll() is None, self.err.read_text()
            found = re.search(r"^KMS ready (https?://\S+)$", self.out.read_text(), re.M)
            return found and found[1]
        return wait_for("quickstart to be ready", url, seconds)

    def httpd_pids(self) -> list[int]:
        """By the run directory in their command line, so that nobody else's httpd counts."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.tmp).encode() in command and b"DFOREGROUND" in command:
                    found.append(int(entry.name))
        return found

    def end(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(30)

    def check_nothing_left(self) -> None:
        wait_for("every httpd to be gone", lambda: not self.httpd_pids(), 10)
        assert list(self.tmp.iterdir()) == []


def user_namespaces() -> bool:
    probe = subprocess.run(["unshare", "--user", "--map-user=1", "true"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.fixture
def place(tmp_path: Path, registry) -> Path:
    """A directory that whoever serves can reach."""
    if is_root() and not user_namespaces():
        path = registry.area().path / "place"
        path.mkdir()
        return path
    return tmp_path


@pytest.fixture
def quickstart():
    """Starts one; a test that fails leaves none running."""
    started: list[Run] = []

    def start(*arguments, **options) -> Run:
        started.append(Run(*arguments, **options))
        return started[-1]
    yield start
    for run in started:
        if run.process.poll() is None:
            run.end()


@pytest.fixture
def conf(tmp_path: Path, registry) -> Path:
    """As a test of somebody else has it: below pytest's own directory, which nobody else may enter."""
    if is_root() and not user_namespaces():
        area = registry.area()
        path = make_conf(area.path / "conf-of-httpd", free_port())
        for p in [path, *path.iterdir()]:
            area.give(p)
        return path
    tmp_path.chmod(0o700)
    return make_conf(tmp_path / "conf", free_port())


def make_conf(path: Path, port: int) -> Path:
    path.mkdir(mode=0o700)
    (path / "kms-site.xml").write_text(hadoop_xml({
        "hadoop.kms.key.provider.uri": f"jceks://file@{path}/kms.keystore",
        "hadoop.security.keystore.java-keystore-provider.password-file": "kms.keystore.password",
        "hadoop.kms.http.port": str(port)}))
    (path / "kms-acls.xml").write_text(hadoop_xml(OPEN_KEY_ACLS))
    (path / "core-site.xml").write_text(hadoop_xml({}))
    (path / "kms.keystore.password").write_text(PASSWORD)
    (path / "kms.keystore.password").chmod(0o600)
    return path


def port_of(url: str) -> int:
    return int(re.search(r":(\d+)/", url)[1])


def use_tls(conf: Path, store: Path, password: str, more: dict[str, str], mutual: bool = False) -> None:
    """What an administrator of the Java KMS sets for TLS."""
    site = (conf / "kms-site.xml").read_text()
    (conf / "kms-site.xml").write_text(site.replace("</configuration>", """
        <property><name>hadoop.kms.ssl.enabled</name><value>true</value></property></configuration>"""))
    (conf / "core-site.xml").write_text(hadoop_xml({"hadoop.ssl.require.client.cert": str(mutual).lower()}))
    (conf / "ssl-server.xml").write_text(hadoop_xml({
        "ssl.server.keystore.location": str(store), "ssl.server.keystore.password": password, **more}))


def make_store(authority: Authority, kind: str) -> tuple[Path, dict[str, str]]:
    """A keystore of the password 'store pass', with a key of its own password where its kind has these."""
    pem = authority.server()
    store = authority.directory / f"keystore.{kind}"
    p12 = store if kind == "p12" else authority.directory / "between.p12"
    openssl("pkcs12", "-export", "-in", pem, "-inkey", pem.with_suffix(".key"), "-certfile", authority.pem, "-name",
            "jetty", "-passout", "pass:store pass", "-out", p12)
    if kind == "p12":
        return store, {}
    keytool("-importkeystore", "-srckeystore", p12, "-srcstoretype", "PKCS12", "-srcstorepass", "store pass",
            "-srcalias", "jetty", "-destkeystore", store, "-deststoretype", "JKS", "-deststorepass", "store pass", "-destkeypass",
            "key pass")
    return store, {"ssl.server.keystore.keypassword": "key pass"}


def keytool(*arguments: object) -> None:
    if shutil.which("keytool") is None:
        pytest.skip("no keytool")
    done = subprocess.run(["keytool", "-noprompt", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_help() -> None:
    done = subprocess.run([QUICKSTART, "--help"], capture_output=True, text=True, check=True)
    assert "--conf DIR" in done.stdout and done.stderr == ""
    assert subprocess.run([QUICKSTART, "--nonsense"], capture_output=True, check=False).returncode == 2


def test_the_show(quickstart, place: Path) -> None:
    port = free_port()
    run = quickstart(place, "--port", str(port), "--exit", cwd="/")
    assert run.process.wait(120) == 0, run.err.read_text()
    text = run.out.read_text()
    assert f"KMS ready http://127.0.0.1:{port}/kms\n" in text
    assert "first-key@0" in text and "the same data key" in text
    assert f"kms://http@127.0.0.1:{port}/kms" in text
    run.check_nothing_left()


def test_the_show_stays_until_it_is_told(quickstart, place: Path) -> None:
    run = quickstart(place, "--port", str(free_port()))
    url = run.ready()
    assert Client(port_of(url)).names().json() == ["first-key"]
    assert run.end(signal.SIGINT) == 0
    run.check_nothing_left()


def test_a_given_directory(quickstart, place: Path, conf: Path) -> None:
    before = sorted(conf.iterdir())
    owners = {p: (p.stat().st_uid, p.stat().st_mode) for p in [conf, *before]}
    port = free_port()
    run = quickstart(place, "--conf", conf.name, "--port", str(port), cwd=conf.parent)
    assert run.ready() == f"http://127.0.0.1:{port}/kms"
    assert run.out.read_text() == f"KMS ready http://127.0.0.1:{port}/kms\n"
    made = Client(port).create("k").json()
    assert {p.name for p in set(conf.iterdir()) - set(before)} <= {
        "kms.keystore", ".kms.keystore.lock", "kms.keystore.tokens", ".kms.keystore.tokens.lock"}
    assert {p: (p.stat().st_uid, p.stat().st_mode) for p in owners} == owners
    assert (conf / "kms.keystore").stat().st_uid == conf.stat().st_uid
    assert run.end() == 0
    run.check_nothing_left()
    again = quickstart(place, "--conf", str(conf))
    assert Client(port_of(again.ready())).current("k").json() == made
    assert again.end() == 0


def test_the_port_of_kms_site(quickstart, place: Path, conf: Path) -> None:
    port = re.search(r"http.port</name><value>(\d+)", (conf / "kms-site.xml").read_text())[1]
    run = quickstart(place, "--conf", str(conf))
    assert run.ready() == f"http://127.0.0.1:{port}/kms"
    assert run.end() == 0


def test_logs_where_they_are_wanted(quickstart, place: Path, conf: Path) -> None:
    logs = place / "logs"
    run = quickstart(place, "--conf", str(conf), "--log-dir", str(logs), "--directive", "KMSAuditAggregate On")
    Client(port_of(run.ready())).names()
    assert run.end() == 0
    run.check_nothing_left()
    assert "op=GET_KEYS" in (logs / "kms-audit.log").read_text()
    assert "KMS0507" in (logs / "error_log").read_text()


def test_a_mistake_is_told(quickstart, place: Path, conf: Path) -> None:
    (conf / "kms-site.xml").write_text("<configuration>\n<property>\n")
    run = quickstart(place, "--conf", str(conf))
    assert run.process.wait(60) == 1
    assert "kms-site.xml:3" in run.err.read_text()
    assert "KMS ready" not in run.out.read_text()
    run = quickstart(place, "--conf", str(place / "nowhere"))
    assert run.process.wait(60) == 1
    assert "nowhere" in run.err.read_text()


def test_a_port_that_is_taken(quickstart, place: Path, conf: Path) -> None:
    first = quickstart(place, "--conf", str(conf))
    port = port_of(first.ready())
    (place / "second").mkdir()
    second = quickstart(place / "second", "--conf", str(conf), "--port", str(port))
    assert second.process.wait(60) == 1
    assert "Address already in use" in second.err.read_text()
    assert "KMS ready" not in second.out.read_text()
    assert first.end() == 0


@pytest.mark.slow
def test_ended_at_any_moment(quickstart, place: Path, conf: Path) -> None:
    for moment in (0.05, 0.2, 0.35, 0.5, 0.7, 1.0):
        run = quickstart(place, "--conf", str(conf))
        time.sleep(moment)
        assert run.end() in (0, -signal.SIGTERM), run.err.read_text()  # before its trap is set, bash just dies
        run.check_nothing_left()


def test_no_httpd_outlives_it(quickstart, place: Path, conf: Path) -> None:
    """Even a signal that it cannot see takes the server along; only the private directory is left then."""
    run = quickstart(place, "--conf", str(conf))
    run.ready()
    assert run.httpd_pids()
    run.end(signal.SIGKILL)
    wait_for("every httpd to be gone", lambda: not run.httpd_pids(), 15)


@pytest.mark.skipif(not is_root(), reason="whoever is not root serves as himself")
def test_root_where_there_are_no_user_namespaces(quickstart, place: Path) -> None:
    """It says what to do and leaves the files alone."""
    conf = make_conf(place / "closed", free_port())
    fake = place / "bin" / "unshare"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    run = quickstart(place, "--conf", str(conf), path=str(fake.parent))
    assert run.process.wait(30) == 1
    assert "chown -R " in run.err.read_text() and str(conf) in run.err.read_text()
    assert conf.stat().st_uid == 0
    run.check_nothing_left()


@pytest.mark.skipif(not is_root(), reason="root alone can hand a directory to somebody else")
def test_a_directory_of_somebody_else(quickstart, place: Path, registry) -> None:
    area = registry.area()  # a place that others can reach
    conf = make_conf(area.path / "theirs", free_port())
    for path in [conf, *conf.iterdir()]:
        os.chown(path, 65534, 65534)
    run = quickstart(place, "--conf", str(conf))
    assert Client(port_of(run.ready())).create("k").status == 201
    assert (conf / "kms.keystore").stat().st_uid == 65534
    assert run.end() == 0


@pytest.mark.skipif(not is_root(), reason="root alone can hand a directory to somebody else")
def test_a_keystore_of_somebody_else(quickstart, place: Path, registry) -> None:
    """As packages have it: the configuration is root's, the keystore that of the service."""
    area = registry.area()
    conf = make_conf(area.path / "etc", free_port())
    conf.chmod(0o755)
    store = area.path / "var"
    store.mkdir(mode=0o700)
    os.chown(store, 65534, 65534)
    os.chown(conf / "kms.keystore.password", 0, 65534)
    (conf / "kms.keystore.password").chmod(0o640)
    site = (conf / "kms-site.xml").read_text().replace(f"{conf}/kms.keystore<", f"{store}/kms.keystore<")
    (conf / "kms-site.xml").write_text(site)
    run = quickstart(place, "--conf", str(conf))
    assert Client(port_of(run.ready())).create("k").status == 201
    assert (store / "kms.keystore").stat().st_uid == 65534
    assert run.end() == 0


@pytest.mark.skipif(not is_root(), reason="needs to become somebody else")
def test_as_somebody_else(quickstart, place: Path, registry) -> None:
    """Not root: it serves as whoever runs it, and needs to write nothing but its own directory and the keystore."""
    area = registry.area()
    conf = make_conf(area.path / "own", free_port())
    tmp = area.path / "runs"
    tmp.mkdir()
    for path in [tmp, conf, *conf.iterdir()]:
        os.chown(path, 65534, 65534)
    home = area.path / "runs-of-nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    reachable = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-r",
                                str(mod_kms())], check=False).returncode == 0
    if not reachable:
        pytest.skip("the build tree is closed to others")
    (home / "tmp").mkdir()
    os.chown(home / "tmp", 65534, 65534)
    run = quickstart(home, "--conf", str(conf), become=become_nobody)
    assert Client(port_of(run.ready())).create("k").status == 201
    assert run.end() == 0
    run.check_nothing_left()


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


# -- TLS of a Java KMS

needs_tls = pytest.mark.skipif(not (have_module("ssl") and shutil.which("openssl")), reason="no mod_ssl or openssl")


@needs_tls
@pytest.mark.parametrize("kind", ["p12", "jks"])
def test_tls(quickstart, place: Path, conf: Path, tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path / "ca")
    store, more = make_store(authority, kind)
    use_tls(conf, store, "store pass", more)
    run = quickstart(place, "--conf", str(conf))
    url = run.ready()
    assert url.startswith("https://127.0.0.1:")
    answer = TlsClient(port_of(url), trusting(authority)).create("k")
    assert answer.status == 201 and "; Secure" in answer.header("Set-Cookie")
    assert run.end() == 0
    run.check_nothing_left()


@needs_tls
def test_mutual_tls(quickstart, place: Path, conf: Path, tmp_path: Path) -> None:
    authority, clients = Authority(tmp_path / "ca"), Authority(tmp_path / "clients")
    store, more = make_store(authority, "jks")
    truststore = tmp_path / "trust.jks"
    keytool("-importcert", "-alias", "clients", "-file", clients.pem, "-keystore", truststore, "-storetype", "JKS",
            "-storepass", "trust pass")
    use_tls(conf, store, "store pass", mutual=True, more={
        **more, "ssl.server.truststore.location": str(truststore), "ssl.server.truststore.password": "trust pass"})
    run = quickstart(place, "--conf", str(conf), "--keep")
    port = port_of(run.ready())
    assert TlsClient(port, trusting(authority, clients.client("c"))).create("k").status == 201
    with pytest.raises(OSError):
        TlsClient(port, trusting(authority)).names()
    assert run.end() == 0
    assert not list(run.tmp.glob("*/tls"))  # what is kept has no key in it
    shutil.rmtree(run.tmp)


@needs_tls
@pytest.mark.parametrize("kind", ["p12", "jks", "p12 without TLS", "nothing", "not a keystore"])
def test_tls_that_cannot_be(quickstart, place: Path, conf: Path, tmp_path: Path, kind: str) -> None:
    """It says why, and does not fall back to plain HTTP by itself."""
    authority = Authority(tmp_path / "ca")
    store, more = make_store(authority, kind.split()[0] if "p12" in kind else "jks")
    if kind == "not a keystore":
        store.write_text("no")
    use_tls(conf, store, "store pass" if kind == "p12 without TLS" else "another pass", more)
    if kind == "nothing":
        (conf / "ssl-server.xml").unlink()
    if kind == "p12 without TLS":
        run = quickstart(place, "--conf", str(conf), "--no-tls")
        assert run.ready().startswith("http://")
        assert "serves plain HTTP" in run.err.read_text()
        assert run.end() == 0
        return
    run = quickstart(place, "--conf", str(conf))
    assert run.process.wait(60) == 1
    said = run.err.read_text()
    assert {"p12": "wrong password?", "jks": "password was incorrect", "nothing": "there is no",
            "not a keystore": "neither JKS nor PKCS#12"}[kind] in said
    assert "another pass" not in said and "KMS ready" not in run.out.read_text()
    run.check_nothing_left()
