# SPDX-License-Identifier: Apache-2.0
"""Packages that stand for what is not here: the base of an RPM distribution with its httpd, and old Java KMS packages.

The httpd of the stubs is Debian's, in the layout of RHEL or SLES, so what serves in the tests is real.
"""
from __future__ import annotations

import textwrap
from pathlib import Path

from rootfs import Root, run

MODULES = "mpm_event authn_core authz_core authz_user".split()
ADMIN = {"rhel": ("apache", "apache", "/etc/httpd", "/run/httpd/httpd.pid"),
         "suse": ("wwwrun", "www", "/etc/apache2", "/run/httpd.pid")}
# How a script of an old package fails.
FAILURES = {"none": "exit 0", "exits 1": "exit 1", "command": "false"}


def rpmbuild(work: Path, name: str, body: str, scripts: str = "", version: str = "1", arch: str = "noarch",
             install: str = "", files: str = "", head: str = "") -> Path:
    """One binary package out of a spec that is made here; returns the file."""
    work.mkdir(parents=True, exist_ok=True)
    spec = work / f"{name}-{version.replace('~', '_')}.spec"
    spec.write_text(f"""Name: {name}
Version: {version}
Release: 1
Summary: A stub for tests
License: Apache-2.0
BuildArch: {arch}
{head}
%description
{body}
%install
mkdir -p %{{buildroot}}
{install}
{scripts}
%files
{files}
""")
    run("rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {work}", spec)
    [package] = (work / "RPMS").rglob(f"{name}-{version}-1.*.rpm")
    return package


def provides_of(root: Path) -> list[str]:
    """What a distribution's libraries would provide, read off those of the root."""
    script = (f'find "{root}"/lib "{root}"/usr/lib "{root}"/lib64 -name "*.so*" -type f | /usr/lib/rpm/elfdeps -P; '
              f'find "{root}"/lib "{root}"/usr/lib -name "*.so.*" -type l | /usr/lib/rpm/elfdeps -P')
    lines = run("sh", "-c", script, check=False).stdout.splitlines()
    return sorted({line for line in lines if line.startswith("lib") or line.startswith("ld-") or "(" in line})


def base_package(work: Path, root: Path) -> Path:
    provides = ["/bin/sh", "/bin/bash", "/sbin/ldconfig", "rtld(GNU_HASH)", "logrotate", *provides_of(root)]
    return rpmbuild(work, "kms-test-base", "Provides what the root has from Debian.",
                    head="\n".join(f"Provides: {p}" for p in provides))


def httpd_package(work: Path, flavour: str) -> Path:
    user, group, etc, pid = ADMIN[flavour]
    name = {"rhel": "httpd", "suse": "apache2"}[flavour]
    conf = f"{etc}/conf/httpd.conf" if flavour == "rhel" else f"{etc}/httpd.conf"
    includes = (f"IncludeOptional {etc}/conf.modules.d/*.conf\n" if flavour == "rhel" else "") + \
        f"IncludeOptional {etc}/conf.d/*.conf\n"
    loads = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in MODULES)
    main = (f"ServerRoot {etc}\nPidFile {pid}\nErrorLog /var/log/httpd-error.log\nServerName localhost\nUser {user}\n"
            "Listen 127.0.0.1:8088\n"
            f"Group {group}\nDefaultRuntimeDir /run/httpd\n{loads}{includes}")
    httpd = f'#!/bin/sh\nmkdir -p /run/httpd\nexec /usr/sbin/apache2 -f {conf} "$@"\n'
    ctl = ('#!/bin/sh\ncase $1 in\n  start|stop|restart|graceful|graceful-stop) exec /usr/sbin/httpd -k "$1" ;;\n'
           '  configtest) exec /usr/sbin/httpd -t ;;\n  *) exec /usr/sbin/httpd "$@" ;;\nesac\n')
    install = textwrap.dedent(f"""\
        mkdir -p %{{buildroot}}/usr/sbin %{{buildroot}}{Path(conf).parent} %{{buildroot}}{etc}/conf.d
        cat >%{{buildroot}}{conf} <<'EOF'
        {{main}}EOF
        cat >%{{buildroot}}/usr/sbin/httpd <<'EOF'
        {{httpd}}EOF
        cat >%{{buildroot}}/usr/sbin/apachectl <<'EOF'
        {{ctl}}EOF
        chmod 755 %{{buildroot}}/usr/sbin/*
        """).replace("{main}", main).replace("{httpd}", httpd).replace("{ctl}", ctl)
    files = f"{conf}\n/usr/sbin/httpd\n/usr/sbin/apachectl\n%dir {etc}/conf.d\n"
    if flavour == "rhel":
        install += f"mkdir -p %{{buildroot}}{etc}/conf.modules.d\n"
        files += f"%dir {etc}/conf.modules.d\n"
    scripts = (f"%pre\ngroupadd -r {group} 2>/dev/null\nuseradd -r -g {group} -d /nonexistent {user} 2>/dev/null\n"
               "exit 0\n")
    return rpmbuild(work, name, "Debian's httpd in another layout.", version="2.4.57", install=install, files=files,
                    scripts=scripts, head="Provides: httpd-mmn = 20120211x8664\nProvides: apache_mmn_20120211")


def install_base(root: Root, flavour: str, packages: list[Path]) -> None:
    target = root / "tmp/base"
    target.mkdir(parents=True)
    for package in packages:
        run("cp", package, target)
    root.run("rpm -U --force-debian /tmp/base/*.rpm")
    run("rm", "-rf", target)


# -- the Java KMS

SITE = """<?xml version="1.0"?>
<configuration>
  <property><name>hadoop.kms.key.provider.uri</name><value>jceks://file@/{keystore}</value></property>
  <property>
    <name>hadoop.security.keystore.java-keystore-provider.password-file</name><value>java.password</value>
  </property>
</configuration>
"""


def java_files(acls: str, keystore: str = "/${user.home}/kms.keystore") -> dict[str, str]:
    return {"/etc/hadoop-kms/conf/kms-site.xml": SITE.format(keystore=keystore.lstrip("/")),
            "/etc/hadoop-kms/conf/kms-acls.xml": acls,
            "/etc/hadoop-kms/conf/kms-env.sh": "# export HADOOP_KEYSTORE_PASSWORD=none\n"}


def script(name: str, failing: str) -> str:
    return "exit 1" if failing == name else "exit 0"


def java_rpms(work: Path, version: str, acls: str, failing: str = "", vendor: str = "") -> list[Path]:
    """hadoop-kms and hadoop-kms-server of a Hadoop distribution; the scriptlet named in `failing` ends with 1."""
    install = ""
    for path, text in java_files(acls).items():
        install += f"mkdir -p %{{buildroot}}{Path(path).parent}\ncat >%{{buildroot}}{path} <<'EOF'\n{text}EOF\n"
    files = "".join(f"%config(noreplace) {p}\n" for p in java_files(acls))
    install += "mkdir -p %{buildroot}/usr/lib/hadoop-kms\necho java >%{buildroot}/usr/lib/hadoop-kms/kms.jar\n"
    scripts = (f"%pre\ngroupadd -r kms 2>/dev/null\n"
               f"useradd -r -g kms -d /var/lib/hadoop-kms -m kms 2>/dev/null\nexit 0\n"
               f"%preun\n{script('preun', failing)}\n%postun\n{script('postun', failing)}\n")
    head = f"Vendor: {vendor}" if vendor else ""
    first = rpmbuild(work, "hadoop-kms", "Java KMS.", version=version, install=install, scripts=scripts, head=head,
                     files=files + "/usr/lib/hadoop-kms/kms.jar\n")
    init = ("mkdir -p %{buildroot}/etc/init.d\nprintf '#!/bin/sh\\n' >%{buildroot}/etc/init.d/hadoop-kms-server\n"
            "chmod 755 %{buildroot}/etc/init.d/hadoop-kms-server\n")
    second = rpmbuild(work, "hadoop-kms-server", "Java KMS daemon.", version=version, install=init,
                      files="/etc/init.d/hadoop-kms-server\n",
                      head=f"Requires: hadoop-kms = {version}-1\n{head}",
                      scripts=f"%preun\n{script('preun', failing)}\n%postun\n{script('postun', failing)}\n")
    return [first, second]


def java_debs(work: Path, version: str, acls: str, failing: str = "") -> list[Path]:
    found = []
    for name in ("hadoop-kms", "hadoop-kms-server"):
        tree = work / f"{name}_{version}"
        control = tree / "DEBIAN"
        control.mkdir(parents=True)
        depends = f"Depends: hadoop-kms (= {version})\n" if name.endswith("server") else ""
        (control / "control").write_text(f"Package: {name}\nVersion: {version}\nArchitecture: all\n{depends}"
                                         "Maintainer: Test <test@example.invalid>\nDescription: Java KMS\n stub\n")
        contents = java_files(acls) if name == "hadoop-kms" else {"/etc/init.d/hadoop-kms-server": "#!/bin/sh\n"}
        for path, text in contents.items():
            file = tree / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if "init.d" in path else 0o644)
        (control / "conffiles").write_text("".join(f"{p}\n" for p in contents))
        bodies = {"prerm": script("prerm", failing), "postrm": script("postrm", failing),
                  "postinst": "groupadd -r kms 2>/dev/null\n"
                              "useradd -r -g kms -d /var/lib/hadoop-kms -m kms 2>/dev/null\nexit 0"}
        for kind, body in bodies.items():
            (control / kind).write_text(f"#!/bin/sh\n{body}\n")
            (control / kind).chmod(0o755)
        package = work / f"{name}_{version}_all.deb"
        run("dpkg-deb", "--root-owner-group", "-b", tree, package)
        found.append(package)
    return found
