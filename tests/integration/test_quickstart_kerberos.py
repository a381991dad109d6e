# SPDX-License-Identifier: Apache-2.0
"""tools/quickstart with the configuration directory of a Java KMS with Kerberos: tickets of a private KDC."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import is_root, serving_account
from kdc import Kdc
from spnego import ask
from test_quickstart import conf, place, port_of, quickstart, use_tls, make_store, needs_tls  # noqa: F401 - fixtures
from tls import Authority

PREFIX = "hadoop.kms.authentication."


def use_kerberos(conf: Path, keytab: Path | None, principal: str | None = "*") -> None:  # noqa: F811
    """What an administrator of the Java KMS sets."""
    told = {"type": "kerberos", "kerberos.keytab": keytab, "kerberos.principal": principal}
    rows = "".join(f"<property><name>{PREFIX}{k}</name><value>{v}</value></property>\n" for k, v in told.items() if v)
    site = (conf / "kms-site.xml").read_text()
    (conf / "kms-site.xml").write_text(site.replace("</configuration>", rows + "</configuration>"))


@pytest.fixture
def start(quickstart, place: Path, conf: Path, kdc: Kdc, monkeypatch):  # noqa: F811
    """Starts one, with the private KDC."""
    monkeypatch.setenv("KRB5_CONFIG", str(kdc.config))
    return lambda *arguments, **options: quickstart(place, "--conf", str(conf), *arguments, **options)


def keytab_of(kdc: Kdc, conf: Path, *principals: str) -> Path:  # noqa: F811
    """In the configuration directory, of its owner and for nobody else."""
    keytab = conf / "kms.keytab"
    shutil.copyfile(kdc.keytab("quickstart.keytab", *principals), keytab)
    keytab.chmod(0o400)
    owner = conf.stat()
    if is_root():
        os.chown(keytab, owner.st_uid, owner.st_gid)
    return keytab


def test_tickets_cookies_and_tokens(start, conf: Path, kdc: Kdc) -> None:  # noqa: F811
    use_kerberos(conf, keytab_of(kdc, conf, "HTTP/localhost", "HTTP/other.example.test"))
    run = start()
    port = port_of(run.ready())
    alice = kdc.login("alice")
    answer = ask(alice, port)
    assert answer.status == 200 and "p=alice@TEST.REALM&t=kerberos-dt" in answer.cookie()
    assert ask(alice, port, host="other.example.test").status == 200, "'*' is every name of the keytab"
    made = ask(alice, port, "/kms/v1/keys", "-X", "POST", "-H", "Content-Type: application/json", "--data",
               '{"name": "by-ticket"}')
    assert made.status == 201
    issued = ask(alice, port, "/kms/v1/?op=GETDELEGATIONTOKEN&renewer=alice")
    token = issued.json()["Token"]["urlString"]
    nobody = {**alice, "KRB5CCNAME": "FILE:/nonexistent"}
    assert ask(nobody, port).status == 401
    by_token = ask(nobody, port, "/kms/v1/keys/names", "-H", f"X-Hadoop-Delegation-Token: {token}")
    assert by_token.status == 200 and by_token.json() == ["by-ticket"]
    assert "KMS0534" in run.err.read_text(), "there is no TLS"
    assert run.end() == 0
    run.check_nothing_left()


def test_the_principal_of_kms_site(start, conf: Path, kdc: Kdc) -> None:  # noqa: F811
    """One name alone, and Java's default where none is given."""
    keytab = keytab_of(kdc, conf, "HTTP/localhost", "HTTP/other.example.test")
    site = (conf / "kms-site.xml").read_text()
    for principal, good, bad in (("HTTP/other.example.test@TEST.REALM", "other.example.test", "localhost"),
                                 (None, "localhost", "other.example.test")):
        (conf / "kms-site.xml").write_text(site)
        use_kerberos(conf, keytab, principal)
        run = start()
        port = port_of(run.ready())
        assert ask(kdc.login("alice"), port, host=good).status == 200
        assert ask(kdc.login("alice"), port, host=bad).status == 401
        assert run.end() == 0


@needs_tls
def test_with_tls(start, conf: Path, kdc: Kdc, tmp_path: Path) -> None:  # noqa: F811
    authority = Authority(tmp_path / "ca")
    store, more = make_store(authority, "p12")
    use_tls(conf, store, "store pass", more)
    use_kerberos(conf, keytab_of(kdc, conf, "HTTP/localhost"))
    run = start()
    url = run.ready()
    assert url.startswith("https://") and "KMS0534" not in run.err.read_text()
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--negotiate", "-u", ":", "--cacert", str(authority.pem),
         f"https://localhost:{port_of(url)}/kms/v1/keys/names"], capture_output=True, text=True,
        env=kdc.login("alice"), check=False)
    assert json.loads(done.stdout) == [], done.stdout + done.stderr
    assert run.end() == 0
    run.check_nothing_left()


@pytest.mark.skipif(not is_root(), reason="root alone can read the keytab of somebody else")
def test_a_keytab_of_somebody_else(start, conf: Path, kdc: Kdc) -> None:  # noqa: F811
    """Who serves gets a copy, which is gone at the end even with --keep."""
    keytab = keytab_of(kdc, conf, "HTTP/localhost")
    account = serving_account()
    os.chown(keytab, account.pw_uid + 1, account.pw_gid + 1)
    use_kerberos(conf, keytab)
    run = start("--keep")
    assert ask(kdc.login("alice"), port_of(run.ready())).status == 200
    assert "get a copy" in run.err.read_text()
    assert keytab.stat().st_uid == account.pw_uid + 1
    assert run.end() == 0
    assert not list(run.tmp.glob("*/kerberos"))
    shutil.rmtree(run.tmp)


@pytest.mark.parametrize("what", ["no keytab", "the default keytab", "not readable", "a variable", "no HTTP principal",
                                  "another service", "no module"])
def test_what_cannot_be(start, place: Path, conf: Path, kdc: Kdc, what: str, monkeypatch) -> None:  # noqa: F811
    keytab: Path | None = keytab_of(kdc, conf, "alice" if what == "no HTTP principal" else "HTTP/localhost")
    principal, path = "*", ""
    if what == "no keytab":
        keytab = conf / "gone.keytab"
    if what == "the default keytab":
        keytab = None
        monkeypatch.setenv("HOME", str(place / "home"))
    if what == "a variable":
        keytab = Path("${kms.keytab.dir}/x")
    if what == "another service":
        principal = "kms/localhost"
    if what == "not readable":
        if is_root():
            pytest.skip("root reads all")
        keytab.chmod(0)
    if what == "no module":
        # An apxs that leads to a directory of modules without this one.
        modules = place / "modules"
        modules.mkdir()
        real = subprocess.run(["sh", "-c", "$(command -v apxs || command -v apxs2) -q LIBEXECDIR"], capture_output=True,
                              text=True, check=True).stdout.strip()
        for module in Path(real).glob("*.so"):
            if "gssapi" not in module.name:
                (modules / module.name).symlink_to(module)
        fake = place / "bin"
        fake.mkdir()
        (fake / "apxs").write_text(f'#!/bin/sh\n[ "$2" = LIBEXECDIR ] && echo {modules} && exit\nPATH=${{PATH#*:}}\n'
                                   'exec $(command -v apxs || command -v apxs2) "$@"\n')
        (fake / "apxs").chmod(0o755)
        path = str(fake)
    use_kerberos(conf, keytab, principal)
    run = start(path=path)
    assert run.process.wait(60) == 1
    told = run.err.read_text()
    words = {"no keytab": "gone.keytab is not there", "the default keytab": "home/kms.keytab is not there",
             "not readable": "cannot be read", "a variable": "has a variable in it",
             "no HTTP principal": "KMS0529", "another service": "neither '*' nor HTTP/HOST",
             "no module": "libapache2-mod-auth-gssapi"}[what]
    assert words in told, told
    assert "KMS ready" not in run.out.read_text()
    run.check_nothing_left()
