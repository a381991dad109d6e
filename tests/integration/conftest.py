# SPDX-License-Identifier: Apache-2.0
"""Fixtures: areas and servers that are gone after the test, with a look into the error log of each."""
from __future__ import annotations

import os

import pytest
from client import Client
from harness import Area, Httpd, mod_kms
from hsm import Token
from kdc import Kdc, missing

# Needs servers that tests/interop/run-zookeeper has.
collect_ignore = [] if "KMS_TEST_ZOOKEEPER" in os.environ else ["test_zookeeper.py", "test_zookeeper_secure.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line("markers", "smoke: the small set that also runs on the sanitizer build")
    if not mod_kms().exists():
        pytest.exit(f"no module at {mod_kms()}: build first, or set KMS_BUILD_DIR or KMS_MODULE", returncode=2)


class Registry:
    """Every server of the tests that run now, so that each test ends with a look into all error logs."""

    def __init__(self) -> None:
        self.servers: list[Httpd] = []
        self.areas: list[Area] = []

    def area(self) -> Area:
        self.areas.append(Area())
        return self.areas[-1]

    def httpd(self, area: Area | None = None, name: str = "run") -> Httpd:
        self.servers.append(Httpd(area or self.area(), name))
        return self.servers[-1]

    def close(self) -> list[str]:
        problems = []
        for server in self.servers:
            try:
                server.stop()
            except AssertionError as e:
                problems.append(str(e))
            problems += server.check_log()
        for area in self.areas:
            area.remove()
        return problems


@pytest.fixture
def registry():
    it = Registry()
    yield it
    problems = it.close()
    assert not problems, "in the error log:\n" + "\n".join(problems)


@pytest.fixture
def area(registry: Registry) -> Area:
    return registry.area()


@pytest.fixture
def httpd(registry: Registry, area: Area) -> Httpd:
    """A server that the test configures and starts itself."""
    return registry.httpd(area)


@pytest.fixture
def token(registry: Registry, area: Area):
    """A PKCS#11 token, which is there for as long as the servers run that use it."""
    it = Token(area)
    yield it
    it.release()  # else httpd waits for it
    for server in registry.servers:
        server.stop()
    it.close()


@pytest.fixture(scope="module")
def module_registry():
    it = Registry()
    yield it
    problems = it.close()
    assert not problems, "in the error log:\n" + "\n".join(problems)


@pytest.fixture(scope="module")
def module_server(module_registry: Registry) -> Httpd:
    """One running server for all tests of a file; what it must know is written by the file's own prepare()."""
    return module_registry.httpd()


@pytest.fixture
def server(module_server: Httpd):
    """The file's server, started at the first use, with a look into its error log after each test."""
    if module_server.process is None:
        module_server.start()
    yield module_server
    problems = module_server.check_log()
    assert not problems, "in the error log:\n" + "\n".join(problems)


@pytest.fixture
def client(server: Httpd):
    it = Client(server.port)
    yield it
    it.close()


@pytest.fixture(scope="session")
def kdc():
    """The KDC of all tests of Kerberos."""
    if lacking := missing():
        pytest.skip("not here: " + ", ".join(lacking))
    with Kdc() as it:
        yield it
