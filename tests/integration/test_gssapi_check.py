# SPDX-License-Identifier: Apache-2.0
"""What configtest says about mod_auth_gssapi: each mistake with its file and line, and a good set-up passes in silence."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from harness import Httpd, have_module, load_module, serving_account
from kdc import Kdc, kerberize
from spnego import ask
from tls import Authority

SAYS = re.compile(r"\b(KMS05[23]\d): (\S+?httpd\.conf:\d+)?")
ENGINE = "  KMSEngine On\n  AuthType GSSAPI\n  Require valid-user\n"


@pytest.fixture(scope="module")
def keytab(kdc: Kdc) -> Path:
    return kdc.keytab("checked.keytab", "HTTP/localhost")


@pytest.fixture
def secured(httpd: Httpd, kdc: Kdc, keytab: Path) -> Httpd:
    kerberize(httpd, kdc, keytab)
    return httpd


def good(keytab: Path | str) -> str:
    return f"  GssapiCredStore keytab:{keytab}\n  GssapiAllowedMech krb5\n"


def place(httpd: Httpd, directive: str, number: int = 0) -> str:
    """FILE:LINE of a line of the configuration that begins with these words."""
    lines = httpd.config_file.read_text().splitlines()
    found = [i for i, line in enumerate(lines, 1) if line.strip().startswith(directive)]
    return f"{httpd.config_file}:{found[number]}"


def said(httpd: Httpd, plain: bool = True) -> tuple[int, set[tuple[str, str]], str]:
    """Exit status of configtest; ids with the place each names; the text. plain: leave out that there is no TLS."""
    status, text = httpd.configtest()
    found = {(m[1], m[2]) for m in SAYS.finditer(text)}
    assert ("Syntax OK" in text) == (status == 0), text
    if plain:
        found = {f for f in found if f[0] != "KMS0534"}
    return status, found, text


def does_not_start(httpd: Httpd, *ids: str) -> None:
    httpd.spawn()
    assert httpd.process is not None and httpd.process.wait(20) != 0
    httpd.process = None
    httpd.allow("AH00013", "AH00014", "AH00016", "AH00020", "AH10097", *ids)


def test_a_good_set_up(secured: Httpd) -> None:
    status, found, text = said(secured, plain=False)
    assert status == 0, text
    assert found == {("KMS0534", place(secured, "GssapiCredStore"))}, "there is no TLS"


@pytest.mark.smoke
@pytest.mark.parametrize("lines, told, first", [
    ("  AuthType KMS\n", "KMS0520", "AuthType"),
    ("", "KMS0520", "<Location"),
    ("  AuthType None\n", "KMS0520", "AuthType"),
    ('  AuthType "gssapi"\n', None, ""),
], ids=["another", "none", "None", "quoted"])
def test_the_type_of_the_location(secured: Httpd, keytab: Path, lines: str, told: str | None, first: str) -> None:
    secured.location = "  KMSEngine On\n" + lines + good(keytab) + "  Require valid-user\n"
    status, found, text = said(secured)
    if told is None:
        assert (status, found) == (0, set()), text
        return
    assert status != 0 and found == {(told, place(secured, first))}, text
    assert "AuthType GSSAPI" in text
    does_not_start(secured, told)


def test_type_simple_with_gssapi(secured: Httpd) -> None:
    """With it everybody would get in under any name, whatever the location looks like."""
    secured.area.write_site({"hadoop.kms.authentication.type": "simple"})
    status, found, text = said(secured)
    assert status != 0 and found == {("KMS0522", place(secured, "AuthType"))}, text
    does_not_start(secured, "KMS0522")
    secured.directives.append("KMSAuthenticationType kerberos")
    assert said(secured)[:2] == (0, set())


@pytest.mark.smoke
def test_the_module_is_not_loaded(secured: Httpd) -> None:
    secured.more_modules.remove("auth_gssapi")
    for lines, first in ((secured.location, "GssapiCredStore"), (ENGINE, "AuthType")):
        secured.location = lines
        status, found, text = said(secured)
        assert status != 0 and found == {("KMS0521", place(secured, first))}, text
        for word in ("LoadModule auth_gssapi_module", "libapache2-mod-auth-gssapi", "dnf install mod_auth_gssapi",
                     "apache2-mod_auth_gssapi"):
            assert word in text
        assert "Invalid command" not in text
    does_not_start(secured, "KMS0521")


def test_without_a_kms_it_is_not_our_business(secured: Httpd) -> None:
    secured.more_modules.remove("auth_gssapi")
    secured.location = "  AuthType GSSAPI\n  GssapiAllowedMech krb5\n  Require valid-user\n"
    status, found, text = said(secured)
    assert status != 0 and found == set() and "Invalid command 'GssapiAllowedMech'" in text


def test_the_order_of_loading(secured: Httpd) -> None:
    """LoadModule may come last; but an <IfModule> above it is passed over, and the text says so."""
    secured.more_modules.remove("auth_gssapi")
    late = load_module("auth_gssapi")
    secured.more_locations = late
    status, found, text = said(secured)
    assert (status, found) == (0, set()), text
    secured.location = f"  KMSEngine On\n<IfModule auth_gssapi_module>\n{ENGINE}</IfModule>\n"
    status, found, text = said(secured)
    assert status != 0 and found == {("KMS0520", place(secured, "<Location"))}, text
    assert "<IfModule>" in text and "LoadModule" in text


def test_module_before_and_behind_mod_kms(secured: Httpd, kdc: Kdc) -> None:
    """Whichever was loaded first, mod_kms asks first."""
    secured.more_modules.remove("auth_gssapi")
    secured.more_locations = load_module("auth_gssapi")
    secured.start()
    answer = ask(kdc.login("alice"), secured.port)
    assert answer.status == 200 and answer.cookie()


@pytest.mark.parametrize("line, told, fatal", [
    ("GssapiLocalName On", "KMS0530", True),
    ("gssapilocalname on", "KMS0530", True),
    ("GssapiConnectionBound On", "KMS0531", True),
    ("GssapiNegotiateOnce On", "KMS0532", False),
    ("GssapiUseSessions On", "KMS0533", False),
    ("GssapiBasicAuth On", "KMS0533", False),
    ("GssapiSSLonly Off", "KMS0534", False),
    ("GssapiSSLonly On", "KMS0535", False),
    ("GssapiLocalName Off", None, False),
    ("GssapiNegotiateOnce Off", None, False),
])
def test_risky_directives(secured: Httpd, line: str, told: str | None, fatal: bool) -> None:
    secured.location += f"  {line}\n"
    status, found, text = said(secured, plain=told != "KMS0534")
    assert found == ({(told, place(secured, line))} if told else set()), text
    assert (status != 0) == fatal, text
    if told == "KMS0535":
        assert "KMS0534" not in text


def test_mechanism_and_keytab_that_are_not_stated(secured: Httpd, keytab: Path) -> None:
    secured.location = ENGINE + f"  GssapiCredStore keytab:{keytab}\n"
    assert said(secured)[:2] == (0, {("KMS0524", place(secured, "GssapiCredStore"))})
    for mechanisms in ("krb5 ntlmssp", "iakerb"):
        secured.location = ENGINE + good(keytab).replace("krb5", mechanisms)
        assert said(secured)[:2] == (0, {("KMS0524", place(secured, "GssapiAllowedMech"))})
    secured.location = ENGINE + "  GssapiAllowedMech krb5\n"
    assert said(secured)[:2] == (0, {("KMS0523", place(secured, "GssapiAllowedMech"))})
    secured.location = ENGINE + good(keytab).replace("keytab:", "client_keytab:")
    assert said(secured)[:2] == (0, {("KMS0523", place(secured, "GssapiCredStore"))})
    secured.location = ENGINE
    assert said(secured)[:2] == (0, {("KMS0523", place(secured, "AuthType"))})


@pytest.mark.smoke
def test_keytabs(secured: Httpd, kdc: Kdc, keytab: Path) -> None:
    area = secured.area
    missing, text_file = area.path / "no.keytab", area.write("text.keytab", "not a keytab\n")
    users = kdc.keytab("no-http.keytab", "alice")
    for file, told, words in [
        (missing, "KMS0526", "is not there"), (text_file, "KMS0528", "text.keytab: "),
        (users, "KMS0529", "HTTP/HOST"), (f"FILE:{missing}", "KMS0526", str(missing))]:
        secured.location = ENGINE + good(file)
        status, found, text = said(secured)
        assert status != 0 and words in text, text
        assert (told, place(secured, "GssapiCredStore")) in found, text
    does_not_start(secured, "KMS0526")
    secured.location = ENGINE + good(f"FILE:{keytab}")
    assert said(secured)[:2] == (0, set())
    for mode, owner, told, fatal in ((0o644, 0, "KMS0527", False), (0o600, 0, "KMS0526", True)):
        copy = area.write("mode.keytab", keytab.read_bytes())
        copy.chmod(mode)
        if serving_account() is None:
            if fatal:
                continue
        else:
            os.chown(copy, owner, owner)
        secured.location = ENGINE + good(copy)
        status, found, text = said(secured)
        assert (status != 0, found) == (fatal, {(told, place(secured, "GssapiCredStore"))}), text


def test_a_folder_that_the_children_cannot_pass(secured: Httpd, keytab: Path) -> None:
    if serving_account() is None:
        pytest.skip("who is not root serves as himself")
    folder = secured.area.path / "roots"
    folder.mkdir(mode=0o700)
    copy = folder / "kms.keytab"
    copy.write_bytes(keytab.read_bytes())
    secured.area.give(copy)
    secured.location = ENGINE + good(copy)
    status, found, text = said(secured)
    assert status != 0 and found == {("KMS0526", place(secured, "GssapiCredStore"))}, text


@pytest.mark.parametrize("lines, told", [
    ("", "<Location"), ("Require all granted", "Require"), ("Require ip 127.0.0.1", "Require"),
    ("Require user alice", None), ("<RequireAny>\nRequire ip 127.0.0.1\nRequire valid-user\n</RequireAny>", None),
    ("Require all granted\nAuthMerging And", None)])
def test_nobody_is_asked(secured: Httpd, keytab: Path, lines: str, told: str | None) -> None:
    secured.more_modules.append("authz_host")
    secured.location = f"  KMSEngine On\n  AuthType GSSAPI\n{good(keytab)}{lines}\n"
    status, found, text = said(secured)
    assert status == 0 and found == ({("KMS0537", place(secured, told))} if told else set()), text


def test_a_request_that_nobody_was_asked_about(secured: Httpd, kdc: Kdc) -> None:
    """What configtest warned of."""
    secured.location = secured.location.replace("valid-user", "all granted")
    secured.usual.add("KMS0537")
    secured.start()
    secured.expect("KMS0303")
    assert ask(kdc.login("alice"), secured.port).status == 500


# -- sections, which mod_auth_gssapi does not merge


def test_a_nested_location_that_loses_the_keytab(secured: Httpd, kdc: Kdc) -> None:
    secured.more_locations = '<Location "/kms/v1/keys">\n  GssapiPublishErrors On\n</Location>\n'
    status, found, text = said(secured)
    where = place(secured, "GssapiPublishErrors")
    assert status != 0 and ("KMS0525", where) in found, text
    assert "drops GssapiAllowedMech, GssapiCredStore of" in text
    assert found == {("KMS0525", where), ("KMS0523", where), ("KMS0524", where)}
    does_not_start(secured, "KMS0525", "KMS0523", "KMS0524")


def test_nested_locations_that_are_good(secured: Httpd, keytab: Path, kdc: Kdc) -> None:
    secured.more_locations = (
        f'<Location "/kms/v1/keys">\n{good(keytab)}  GssapiPublishErrors On\n</Location>\n'
        '<Location "/kms/v1/key">\n  Require user nobody\n</Location>\n'
        '<Location "/server-status">\n  KMSEngine Off\n  AuthType KMS\n</Location>\n'
        '<Directory "/var/www">\n  AuthType Basic\n  GssapiLocalName On\n</Directory>\n')
    status, found, text = said(secured)
    assert (status, found) == (0, set()), text
    secured.start()
    assert ask(kdc.login("alice"), secured.port).status == 200


@pytest.mark.parametrize("section", [
    '<Location "/kms/v1/">', '<Location ~ "^/kms/(v1|v2)">', '<LocationMatch "/keys/names$">', '<LocationMatch "^/other">',
    '<Location "/kms*">'])
def test_other_ways_to_name_a_place(secured: Httpd, section: str) -> None:
    """The outer section holds for all paths, so for all of these."""
    name = section.split()[0].strip("<")
    secured.more_locations = f"{section}\n  AuthType Basic\n</{name}>\n"
    status, found, text = said(secured)
    assert status != 0 and found == {("KMS0520", place(secured, "AuthType Basic"))}, text


def test_beside_the_kms_anything_goes(secured: Httpd, keytab: Path) -> None:
    secured.location = "  Require all granted\n"
    secured.more_locations = (
        f'<Location "/kms">\n{ENGINE}{good(keytab)}</Location>\n'
        '<Location "/kmsother">\n  AuthType Basic\n  GssapiLocalName On\n</Location>\n'
        '<LocationMatch "^/other">\n  GssapiNegotiateOnce On\n</LocationMatch>\n'
        '<Location "/ws">\n  AuthType GSSAPI\n  GssapiConnectionBound On\n</Location>\n')
    status, found, text = said(secured)
    assert (status, found) == (0, set()), text


def test_virtual_hosts(secured: Httpd, keytab: Path, registry) -> None:
    """Each by its own type; what two of them share is said once."""
    other = registry.area()
    port = registry.httpd(other, "only-for-its-port").port
    host = [f"Listen 127.0.0.1:{port}", f"<VirtualHost 127.0.0.1:{port}>", "AllowEncodedSlashes NoDecode"]
    own = [f'KMSConfDir "{other.conf}"', f'KMSAuditLog "{secured.run}/other-audit.log"']
    plain = ['<Location "/">', "KMSEngine On", "AuthType KMS", "</Location>", "</VirtualHost>"]
    before = list(secured.directives)
    secured.directives = [*before, *host, *own, *plain]
    assert said(secured)[:2] == (0, set()), "a KMS of type simple beside one with Kerberos"
    secured.directives = [*before, *host, *plain]
    status, found, text = said(secured)
    assert status != 0 and found == {("KMS0520", place(secured, "AuthType KMS"))}, text
    secured.directives = [*before, *host, "</VirtualHost>"]
    secured.location += "  GssapiNegotiateOnce On\n"
    status, found, text = said(secured)
    assert status == 0 and text.count("KMS0532") == 1, text


def test_conditions_are_not_checked(secured: Httpd) -> None:
    secured.location += '  <If "true">\n    GssapiLocalName On\n  </If>\n'
    status, found, text = said(secured)
    assert status == 0 and found == {("KMS0536", place(secured, "GssapiLocalName"))}, text


@pytest.mark.skipif(not have_module("ssl"), reason="no mod_ssl")
def test_with_tls_nothing_is_said(secured: Httpd) -> None:
    secured.more_modules += ["socache_shmcb", "ssl"]
    certificate = Authority(secured.area.path / "ca").server()
    secured.directives += ["SSLEngine On", f'SSLCertificateFile "{certificate}"',
                           f'SSLCertificateKeyFile "{certificate.with_suffix(".key")}"']
    for line, told in (("", set()), ("GssapiSSLonly On", set()), ("GssapiSSLonly Off", {"KMS0534"})):
        before = secured.location
        secured.location += f"  {line}\n"
        status, found, text = said(secured, plain=False)
        assert status == 0 and {f[0] for f in found} == told, text
        secured.location = before


@pytest.mark.smoke
def test_a_graceful_restart_checks_as_well(secured: Httpd) -> None:
    """apachectl graceful refuses what configtest refuses, and the server goes on as it was."""
    secured.start()
    secured.location += "  GssapiLocalName On\n"
    secured.write_config()
    done = subprocess.run(secured.command("-k", "graceful"), env=secured.environ(), capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode != 0 and "KMS0530" in done.stdout + done.stderr
    assert secured.answers()
