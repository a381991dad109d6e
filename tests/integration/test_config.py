# SPDX-License-Identifier: Apache-2.0
"""Mistakes are found by configtest, which names file, line and property; and nothing starts half-configured."""
from __future__ import annotations

import os

import pytest
from client import Client
from harness import ITERATIONS, SANITIZER_RUNTIME, Httpd, hadoop_xml, is_root


def site_with(httpd: Httpd, name: str, value: str) -> int:
    """Adds a property to kms-site.xml and returns the line of its value."""
    properties = {**httpd.area.site_properties(), name: value}
    text = hadoop_xml(properties)
    httpd.area.write("kms-site.xml", text)
    return next(i for i, line in enumerate(text.splitlines(), 1) if f"<name>{name}</name>" in line)


def fails_to_start(httpd: Httpd) -> None:
    """What configtest refuses does not start either."""
    httpd.spawn()
    assert httpd.process is not None
    assert httpd.process.wait(20) != 0
    httpd.process = None


def refused(httpd: Httpd, *words: str, expect: tuple[str, ...] = ("KMS0001",)) -> str:
    status, text = httpd.configtest()
    assert status != 0, text
    for word in words:
        assert word in text, text
    assert "Syntax OK" not in text
    fails_to_start(httpd)
    httpd.allow(*expect)
    httpd.allow("AH00013", "AH00020", "AH10097", "AH00014", "AH00016", "AH00526")
    return text


@pytest.mark.smoke
def test_a_good_configuration(httpd: Httpd) -> None:
    status, text = httpd.configtest()
    assert status == 0 and "Syntax OK" in text, text
    assert "warn" not in text and "KMS0010" not in text, text
    assert not httpd.area.keystore.exists(), "configtest makes nothing"


@pytest.mark.smoke
@pytest.mark.parametrize("name, value", [
    ("hadoop.kms.authentication.type", "kerboros"),
    ("hadoop.kms.authentication.token.validity", "ten"),
    ("hadoop.kms.authentication.token.validity", "-7"),
    ("hadoop.kms.audit.aggregation.window.ms", "1s"),
    ("hadoop.security.key.default.bitlength", "128.5"),
    ("hadoop.kms.key.provider.uri", "jceks://file"),
    ("hadoop.kms.key.provider.uri", "nothing://known@/here"),
    ("hadoop.kms.authentication.signature.secret.file", "/no/such/file"),
    ("hadoop.kms.proxyuser.p.hosts", "10.0.0.0/99"),
    ("hadoop.kms.authentication.signer.secret.provider", "consul"),
], ids=lambda v: v or "empty")
def test_a_bad_value_in_kms_site(httpd: Httpd, name: str, value: str) -> None:
    if name.endswith("signature.secret.file"):
        httpd.directives.append("KMSProperty hadoop.kms.authentication.signer.secret.provider file")
    if name.endswith(".hosts"):
        httpd.directives.append("KMSProperty hadoop.kms.proxyuser.p.users *")
    line = site_with(httpd, name, value)
    refused(httpd, f"kms-site.xml:{line}", name)


def test_several_mistakes_are_told_at_once(httpd: Httpd) -> None:
    httpd.area.write_site({"hadoop.kms.authentication.token.validity": "ten",
                           "hadoop.security.key.default.bitlength": "many"})
    refused(httpd, "hadoop.kms.authentication.token.validity", "hadoop.security.key.default.bitlength")


@pytest.mark.parametrize("file, text, line", [
    ("kms-site.xml", '<?xml version="1.0"?>\n<configuration>\n<property>\n</configuration>\n', 4),
    ("kms-acls.xml", "<configuration>\n<property><name>a</name>\n", 3),
    ("core-site.xml", "<configuration>\n\n<<\n</configuration>", 3),
    ("kms-site.xml", '<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<configuration>\n<property><name>'
     "hadoop.kms.authentication.cookie.path</name><value>&e;</value></property></configuration>", None),
], ids=["kms-site", "kms-acls", "core-site", "entity"])
def test_xml_that_is_none(httpd: Httpd, file: str, text: str, line: int | None) -> None:
    httpd.area.write(file, text)
    refused(httpd, file if line is None else f"{file}:{line}")


def test_unknown_property(httpd: Httpd) -> None:
    line = site_with(httpd, "hadoop.kms.authentication.token.validty", "5")
    status, text = httpd.configtest()
    assert status == 0, text
    assert f"kms-site.xml:{line}" in text and "hadoop.kms.authentication.token.validty" in text
    assert "hadoop.kms.authentication.token.validity" in text, "the name that was meant"
    httpd.expect("KMS0010")
    httpd.start()


def test_mistakes_in_directives(httpd: Httpd) -> None:
    for directive, words in [
        ("KMSKeystoreIterations 5", ["KMSKeystoreIterations", "10000"]),
        ("KMSLockTimeout soon", ["KMSLockTimeout"]),
        ("KMSMaxRequestBody -1", ["KMSMaxRequestBody"]),
        ("KMSAuditAggregate Maybe", ["KMSAuditAggregate"]),
        ("KMSTokenValidity never", ["hadoop.kms.authentication.token.validity", "httpd.conf:"]),
        ("KMSProperty hadoop.kms.authentication.type", ["KMSProperty"]),
        ("KMSSignatureSecretFile /no/such/file", ["/no/such/file"]),
        ("KMSKeystorePasswordFile /no/such/file", ["/no/such/file"]),
        ("KMSKeyProviderURI file:///x", ["hadoop.kms.key.provider.uri", "httpd.conf:"]),
        ("KMSNothing On", ["KMSNothing"]),
    ]:
        httpd.directives = [f"KMSKeystoreIterations {ITERATIONS}", directive]
        status, text = httpd.configtest()
        assert status != 0, directive
        for word in words:
            assert word in text, (directive, text)
        assert str(httpd.config_file) in text or "httpd.conf" in text or "/no/such" in text, text


def test_missing_pieces(httpd: Httpd) -> None:
    httpd.conf_dir = httpd.area.path / "nowhere"
    refused(httpd, "KMSConfDir", "nowhere")
    httpd.conf_dir = None
    refused(httpd, "KMSConfDir")
    httpd.conf_dir = httpd.area.conf
    httpd.audit_log = None
    refused(httpd, "KMSAuditLog")
    httpd.audit_log = httpd.run / "no" / "such" / "folder" / "log"
    fails_to_start(httpd)
    httpd.allow("KMS0509", "KMS0001", "AH00014", "AH00016", "AH00020", "AH10097")


def test_without_its_acl_file(httpd: Httpd) -> None:
    (httpd.area.conf / "kms-acls.xml").unlink()
    refused(httpd, "kms-acls.xml")


def test_slashes_that_httpd_would_refuse(httpd: Httpd) -> None:
    httpd.slashes = ""
    status, text = httpd.configtest()
    assert status == 0 and "KMS0504" in text and "AllowEncodedSlashes NoDecode" in text
    httpd.expect("KMS0504")
    httpd.start()


@pytest.mark.smoke
def test_wrong_password(httpd: Httpd) -> None:
    httpd.start()
    made = Client(httpd.port).create("k").json()
    httpd.stop()
    before = httpd.area.keystore.read_bytes()
    httpd.area.write_password("not it")
    refused(httpd, "kms.keystore", "password")
    assert httpd.area.keystore.read_bytes() == before
    httpd.area.write_password("integration-password")
    httpd.start()
    assert Client(httpd.port).current("k").json() == made


@pytest.mark.parametrize("cut", [0, 1, 50, -1, -20])
def test_half_written_keystore(httpd: Httpd, cut: int) -> None:
    httpd.start()
    Client(httpd.port).create("k")
    httpd.stop()
    whole = httpd.area.keystore.read_bytes()
    httpd.area.keystore.write_bytes(whole[:cut] if cut else b"")
    refused(httpd, "kms.keystore")
    httpd.allow("KMS0112", "KMS0113")
    assert httpd.area.keystore.read_bytes() == (whole[:cut] if cut else b""), "left as it was for whoever repairs it"


def test_where_the_password_comes_from(httpd: Httpd) -> None:
    """The directive, the directive's file, the environment, the property's file: in this order."""
    area = httpd.area
    other = area.write("other-password", "from the directive's file\n")
    httpd.environment["HADOOP_KEYSTORE_PASSWORD"] = "from the environment"
    httpd.start()  # made with the environment's, as the Java KMS would
    made = Client(httpd.port).create("k").json()
    httpd.stop()
    httpd.environment.clear()
    refused(httpd, "password")
    area.write_password("from the environment")
    httpd.start()
    assert Client(httpd.port).current("k").json() == made
    httpd.stop()
    httpd.directives.append(f'KMSKeystorePasswordFile "{other}"')
    refused(httpd, "password")
    httpd.directives.pop()
    area.write_password("something else")
    httpd.directives.append('KMSKeystorePassword "from the environment"')
    httpd.expect("KMS0505")
    httpd.start()
    assert Client(httpd.port).current("k").json() == made


def test_the_environment_does_not_stay(httpd: Httpd) -> None:
    """Whoever may read /proc/PID/environ of a child must not find the password there."""
    httpd.environment["HADOOP_KEYSTORE_PASSWORD"] = "canary-in-the-environment"
    httpd.start()
    for pid in httpd.child_pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                content = f.read()
        except PermissionError:
            continue
        assert b"canary-in-the-environment" not in content
    made = Client(httpd.port).create("k").json()
    httpd.graceful()
    assert Client(httpd.port).current("k").json() == made


def test_memory_of_a_child_is_closed(httpd: Httpd) -> None:
    if SANITIZER_RUNTIME:
        pytest.skip("LeakSanitizer wants to look into the process")
    httpd.start()
    for pid in httpd.child_pids():
        # A process that is not dumpable belongs to root in /proc, whoever runs it.
        if is_root():
            assert os.stat(f"/proc/{pid}/environ").st_uid == 0
        else:
            with pytest.raises(PermissionError):
                open(f"/proc/{pid}/mem", "rb").close()


def test_an_engine_of_its_own_for_a_virtual_host(httpd: Httpd, registry) -> None:
    """Two configuration directories in one httpd know nothing of each other."""
    other = registry.area()
    port = registry.httpd(other, "only-for-its-port").port
    httpd.directives += [
        f"Listen 127.0.0.1:{port}",
        f"<VirtualHost 127.0.0.1:{port}>", "AllowEncodedSlashes NoDecode", "MergeSlashes Off",
        f'KMSConfDir "{other.conf}"', f'KMSAuditLog "{httpd.run}/other-audit.log"',
        f"KMSKeystoreIterations {ITERATIONS}", '<Location "/">', httpd.location, "</Location>", "</VirtualHost>"]
    httpd.start()
    here, there = Client(httpd.port), Client(port)
    here.create("here")
    there.create("there")
    assert (here.names().json(), there.names().json()) == (["here"], ["there"])
    cookie = here.names().cookie()
    assert there.call("GET", "keys/names", headers={"Cookie": cookie}, user=None).status == 401
    assert "key=there" in (httpd.run / "other-audit.log").read_text()
    assert "key=there" not in httpd.audit_log.read_text()


def test_only_where_the_engine_is_on(httpd: Httpd) -> None:
    httpd.location = "  KMSEngine Off\n  Require all granted\n"
    httpd.start()
    assert Client(httpd.port).names().status in (403, 404)


def test_the_door_is_shut_even_without_require(httpd: Httpd) -> None:
    httpd.location = "  KMSEngine On\n  AuthType KMS\n  Require all granted\n"
    httpd.start()
    assert Client(httpd.port, None).call("GET", "keys/names").status == 401
    assert Client(httpd.port).names().status == 200
