# SPDX-License-Identifier: Apache-2.0
"""What the tests of the packages share: the packages, made once, and the roots to install them in.

KMS_PACKAGES_BASES names a folder with roots that an earlier run kept there ("debian", "rpm"); without it they are made.
"""
from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import bases
import builds
import pytest
import stubs
from rootfs import Root, run

OLDER, NEWER = "0.0.9", "0.1.99"
MARK = "\n# changed in the newer version\n"


def pytest_sessionstart(session) -> None:
    if os.geteuid() != 0:
        pytest.exit("the packages are tested as root: they are installed in roots of their own", 2)


@pytest.fixture(scope="session")
def work():
    # Not below /tmp where that is memory: roots are large.
    builds.BUILD.mkdir(exist_ok=True)
    where = Path(tempfile.mkdtemp(prefix="packages-", dir=builds.BUILD))
    where.chmod(0o755)
    yield where
    shutil.rmtree(where, ignore_errors=True)


class Bases:
    """Roots are made while the packages are."""

    def __init__(self, work: Path) -> None:
        pool = ThreadPoolExecutor(1)
        kept = os.environ.get("KMS_PACKAGES_BASES")
        where = Path(kept) if kept else work / "bases"
        where.mkdir(exist_ok=True)
        self.debian: Future = pool.submit(bases.ensure_debian, where)
        self.rpm: Future = pool.submit(bases.ensure_rpm, where)


@pytest.fixture(scope="session")
def roots(work: Path) -> Bases:
    return Bases(work)


class Packages:
    """this, older and newer: name to file, for deb, rhel and suse."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.source = builds.source_tree(work)
        self.sets: dict[tuple[str, str], list[Path]] = {}
        self.installed = {f: builds.installed_tree(work, f) for f in ("debian", "rhel", "suse")}

    def debs(self, which: str = "this") -> list[Path]:
        if ("deb", which) not in self.sets:
            if which == "this":
                made = builds.debs(self.work, self.source, self.installed["debian"])
            else:
                new = f"1:{OLDER if which == 'older' else NEWER}-1"
                out = self.work / f"deb-{which}"
                out.mkdir()
                edits = {} if which == "older" else {"/usr/share/libapache2-mod-kms/kms.conf": MARK,
                                                     "/etc/apache2/mods-available/kms.load": MARK}
                made = [builds.other_deb(p, out, f"1:{builds.version()}-1", new, edits) for p in self.debs()]
            self.sets["deb", which] = made
        return self.sets["deb", which]

    def rpms(self, flavour: str, which: str = "this") -> list[Path]:
        if (flavour, which) not in self.sets:
            new = {"this": "", "older": OLDER, "newer": NEWER}[which]
            self.sets[flavour, which] = builds.rpms(self.work, self.source, self.installed[flavour], flavour, new,
                                                    MARK if which == "newer" else "")
        return [p for p in self.sets[flavour, which] if not p.name.endswith(".src.rpm")]


@pytest.fixture(scope="session")
def packages(work: Path, roots: Bases) -> Packages:
    return Packages(work)


def deb_repository(where: Path, packages: list[Path]) -> None:
    where.mkdir(parents=True, exist_ok=True)
    for old in where.iterdir():
        old.unlink()
    for package in packages:
        shutil.copy(package, where)
    run("sh", "-c", "apt-ftparchive packages . >Packages && apt-ftparchive release . >../Release.kms && "
        "mv ../Release.kms Release", cwd=where)


@pytest.fixture
def debian(roots: Bases):
    with Root(roots.debian.result()) as root:
        for sources in (root / "etc/apt/sources.list.d").iterdir():
            sources.unlink()
        root.write("/etc/apt/sources.list.d/kms.list", "deb [trusted=yes] file:/repo ./\n")
        yield root


class RpmSystem:
    """A root with a distribution's httpd in it, and the package manager that goes with it."""

    def __init__(self, root: Root, flavour: str) -> None:
        self.root, self.flavour = root, flavour
        self.module = "mod_kms" if flavour == "rhel" else "apache2-mod_kms"
        self.user, self.group, self.etc, self.pid_file = stubs.ADMIN[flavour]
        self.kms_conf = f"{self.etc}/conf.d/kms.conf"

    def repository(self, packages: list[Path]) -> None:
        repo = self.root / "repo"
        shutil.rmtree(repo, ignore_errors=True)
        repo.mkdir()
        for package in packages:
            shutil.copy(package, repo)
        run("createrepo_c", "-q", repo)
        if self.flavour == "rhel":
            self.root.write("/etc/yum.repos.d/kms.repo",
                            "[kms]\nname=kms\nbaseurl=file:///repo\nenabled=1\ngpgcheck=0\n")
            shutil.rmtree(self.root / "var/cache/dnf", ignore_errors=True)
        else:
            self.root.write("/etc/zypp/repos.d/kms.repo",
                            "[kms]\nname=kms\nbaseurl=dir:///repo\nenabled=1\nautorefresh=1\ngpgcheck=0\ntype=rpm-md\n")
            shutil.rmtree(self.root / "var/cache/zypp", ignore_errors=True)

    def manage(self, arguments: str, check: bool = True):
        """yum or zypper as an operator calls it."""
        tool = "yum -y" if self.flavour == "rhel" else "zypper --non-interactive"
        return self.root.run(f"{tool} {arguments}", check=check)

    def install(self, check: bool = True):
        return self.manage("install hadoop-kms hadoop-kms-server", check)

    def versions(self, name: str) -> list[str]:
        said = self.root.run(f"rpm -q --qf '%{{VERSION}}\\n' {name}", check=False).stdout
        return [] if "not installed" in said else said.split()

    def start(self) -> None:
        self.root.run("/usr/sbin/apachectl start")

    def main_pid(self) -> int:
        return int((self.root / self.pid_file).read_text())


@pytest.fixture
def rpm_system(request, roots: Bases, work: Path):
    flavour = request.param
    base = roots.rpm.result()
    with Root(base) as root:
        system = RpmSystem(root, flavour)
        stubs.install_base(root, flavour, base_rpms(work, base, flavour))
        yield system


BASE_RPMS: dict[str, list[Path]] = {}


def base_rpms(work: Path, base: Path, flavour: str) -> list[Path]:
    if flavour not in BASE_RPMS:
        where = work / f"stubs-{flavour}"
        BASE_RPMS[flavour] = [stubs.base_package(where, base), stubs.httpd_package(where, flavour)]
    return BASE_RPMS[flavour]
