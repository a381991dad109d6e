# SPDX-License-Identifier: Apache-2.0
"""tools/packages: packages and signed repositories, and the same bytes when made twice."""
from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import builds
import pytest
from conftest import Packages, RpmSystem
from rootfs import TOP, Root, run, wait_for

KEY = "kms-test@example.invalid"


def make(out: Path, packages: Packages, gnupg: Path | None = None) -> Path:
    prebuilt = out.parent / "prebuilt"
    if not prebuilt.exists():
        prebuilt.mkdir()
        for flavour, tree in packages.installed.items():
            (prebuilt / flavour).symlink_to(tree)
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    signing = ["--key", KEY] if gnupg else []
    run(TOP / "tools/packages", "--out", out, "--kinds", "deb,rhel,suse", "--prebuilt", prebuilt, *signing,
        env={**environment, "KMS_BUILD_DIR": str(builds.BUILD), **({"GNUPGHOME": str(gnupg)} if gnupg else {})})
    return out


@pytest.fixture(scope="module")
def gnupg(work: Path):
    home = work / "gnupg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", KEY, "rsa3072", "sign", "never",
        env=environment)
    yield home
    run("gpgconf", "--kill", "all", env=environment, check=False)


@pytest.fixture(scope="module")
def signed(work: Path, packages: Packages, gnupg: Path) -> Path:
    return make(work / "signed", packages, gnupg)


def test_two_builds_are_the_same_bytes(work: Path, packages: Packages) -> None:
    """Of the tarball, every package, source packages, and the repositories' lists. Compiled code is taken as it is.

    In one place: rpm writes the path into its source packages, and their digest into the others.
    """
    sums = []
    (work / "twice").mkdir()
    for _ in range(2):
        out = make(work / "twice/out", packages)
        sums.append({str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
                     for p in sorted(out.rglob("*")) if p.is_file() and p.suffix not in (".log", ".buildinfo", ".changes")})
        shutil.rmtree(out)
    assert len([n for n in sums[0] if n.endswith((".deb", ".rpm"))]) >= 2 * 5 + 2 * 2 * 6, sorted(sums[0])
    assert sums[0] == sums[1], sorted(n for n in sums[0] if sums[0][n] != sums[1].get(n))


def test_signed_apt_repository(debian: Root, signed: Path) -> None:
    root = debian
    shutil.copytree(signed / "repo/apt", root / "repo")
    listed = (root / "repo/hadoop-kms.list").read_text().replace("https://REPOSITORY/apt", "file:/repo")
    root.write("/etc/apt/sources.list.d/kms.list", listed)
    assert "NO_PUBKEY" in root.run("apt-get update", check=False).stdout
    shutil.copy(root / "repo/hadoop-kms.gpg", root / "usr/share/keyrings/hadoop-kms.gpg")
    root.run("apt-get -q update && apt-get -y install hadoop-kms hadoop-kms-server && apache2ctl start")
    wait_for("answers", root.answers)
    root.serve_key("first")
    packages = root / "repo/Packages"
    packages.write_text(packages.read_text().replace("SHA256: ", "SHA256: 00", 1))
    (root / "repo/Packages.gz").unlink()
    root.run("rm -rf /var/lib/apt/lists/*")
    assert root.run("apt-get update", check=False).returncode != 0


@pytest.mark.parametrize("rpm_system", ["rhel", "suse"], indirect=True)
def test_signed_rpm_repository(rpm_system: RpmSystem, signed: Path) -> None:
    system, root = rpm_system, rpm_system.root
    name, repos = ("yum", "/etc/yum.repos.d") if system.flavour == "rhel" else ("zypper", "/etc/zypp/repos.d")
    shutil.copytree(signed / "repo" / name, root / "repo")
    listed = (root / "repo/hadoop-kms.repo").read_text()
    assert "gpgcheck=1" in listed and "repo_gpgcheck=1" in listed
    root.write(f"{repos}/kms.repo", listed.replace(f"https://REPOSITORY/{name}", "file:///repo"))
    if system.flavour == "rhel":
        system.install()
    else:
        assert system.install(check=False).returncode != 0, "zypper took packages of an unknown key"
        root.run("zypper --non-interactive --gpg-auto-import-keys refresh")
        system.install()
    assert builds.version() in system.versions("hadoop-kms-server")
    system.start()
    wait_for("answers", root.answers)
    checked = root.run("rpm -K /repo/*.rpm").stdout
    assert "signatures OK" in checked and "NOT OK" not in checked, checked
    # A package that was changed after it was signed is refused.
    system.manage("remove hadoop-kms-server")
    [package] = (root / "repo").glob("hadoop-kms-server*.rpm")
    package.write_bytes(package.read_bytes()[:-64] + bytes(64))
    shutil.rmtree(root / "var/cache/dnf", ignore_errors=True)
    shutil.rmtree(root / "var/cache/zypp/packages", ignore_errors=True)
    assert system.manage("install hadoop-kms-server", check=False).returncode != 0
    assert system.versions("hadoop-kms-server") == []
