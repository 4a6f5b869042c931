"""The package database and the package sources of Fedora, RHEL and their relatives.

The database is asked through `rpm`, on the running machine only. A fixture tree offers the same
answers as two files in var/lib/rpm/query, one line each, fields separated by tabs:
`packages` (name, epoch or `(none)`, version, release, architecture) and `owners` (path, package).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .dpkg import Package
from .files import Host
from .locks import locked_by
from .programs import run

QUERY = "/var/lib/rpm/query"
FORMAT = r"stroke\t%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n"
OWNER = r"%{NAME}\n"
# Packages that hold a kernel image; their version, release and architecture make `uname -r`.
KERNELS = ("kernel-core", "kernel-rt-core", "kernel-uek-core")
REPOSITORIES = ("/etc/yum.repos.d", "/etc/distro.repos.d")
DNF_CONF = "/etc/dnf/dnf.conf"
VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"  # dnf 4
VERSIONLOCK_5 = "/etc/dnf/versionlock.toml"
LOCKS = (
    "/usr/lib/sysimage/rpm/.rpm.lock",
    "/var/lib/rpm/.rpm.lock",
    "/run/dnf/rpmtransaction.lock",
)
YES = ("1", "yes", "true", "on")


def parse_packages(text: str) -> list[tuple[str, str, str]]:
    """Name, epoch:version-release without a zero epoch, and architecture of every line."""
    rows = []
    for line in text.splitlines():
        fields = line.removeprefix("stroke\t").split("\t")
        if len(fields) != 5 or not all(fields):
            continue
        name, epoch, version, release, architecture = fields
        prefix = f"{epoch}:" if epoch.isdecimal() and int(epoch[:9]) else ""
        rows.append((name, f"{prefix}{version}-{release}", architecture))
    return rows


def rows(host: Host, names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Installed packages of these names, and the kernels; one query for all of them."""
    wanted = sorted({*names, *KERNELS})
    if not host.live:
        found = parse_packages(host.text(f"{QUERY}/packages") or "")
        return [row for row in found if row[0] in wanted]
    text = run(host, "rpm", "-q", "--queryformat", FORMAT, *wanted, exit_code_answers=True) or ""
    return parse_packages("\n".join(row for row in text.splitlines() if row.startswith("stroke\t")))


def packages(host: Host, names: Iterable[str]) -> tuple[dict[str, Package], list[dict[str, Any]]]:
    """The asked packages by name, and the kernels, of which several versions are installed."""
    barred = excludes(host)
    known: dict[str, Package] = {}
    images = []
    for name, version, architecture in rows(host, names):
        known[name] = Package(version, any(matches(name, pattern) for pattern in barred), False)
        if name in KERNELS:
            release = f"{version.split(':', 1)[-1]}.{architecture}"
            images.append({"package": name, "version": version, "release": release})
    for name in names:
        if name not in known:
            known[name] = Package(None, any(matches(name, one) for one in barred), False)
    return known, sorted(images, key=lambda image: (image["package"], image["release"]))


def owners(host: Host, files: list[str]) -> dict[str, str | None]:
    """Which package each file came from; a file that no package owns is null."""
    found: dict[str, str | None] = dict.fromkeys(files)
    if not host.live:
        pairs = (line.split("\t") for line in (host.text(f"{QUERY}/owners") or "").splitlines())
        told = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        return {file: told.get(file) or told.get(f"/usr{file}") for file in files}
    for file in files:
        text = run(host, "rpm", "-qf", "--queryformat", OWNER, file, exit_code_answers=True) or ""
        name = text.splitlines()[0].strip() if text.strip() else ""
        found[file] = name if name and " " not in name else None
    return found


def parse_ini(text: str) -> dict[str, dict[str, str]]:
    """Sections of a dnf file; an indented line continues the value above it."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        if line[0].isspace() and key:
            section[key] += f" {bare}"
        elif bare[0] == "[" and bare[-1] == "]":
            section, key = sections.setdefault(bare[1:-1], {}), ""
        elif "=" in bare:
            key, value = (part.strip() for part in bare.split("=", 1))
            section[key] = value
    return sections


def repositories(host: Host) -> list[dict[str, Any]]:
    """Every repository in the order of the files, disabled ones included."""
    found = []
    for folder in REPOSITORIES:
        for name in host.names(folder):
            if not name.endswith(".repo"):
                continue
            for section, fields in parse_ini(host.text(f"{folder}/{name}") or "").items():
                if section == "main":
                    continue
                found.append(
                    {
                        "id": section,
                        "name": fields.get("name", section),
                        "enabled": fields.get("enabled", "1").lower() in YES,
                        "baseurl": fields.get("baseurl", "").replace(",", " ").split(),
                        "metalink": fields.get("metalink") or fields.get("mirrorlist") or None,
                        "gpgcheck": fields.get("gpgcheck", "0").lower() in YES,
                        "excludes": _words(fields),
                        "file": f"{folder}/{name}",
                    }
                )
    return found


def _words(fields: dict[str, str]) -> list[str]:
    text = f"{fields.get('exclude', '')} {fields.get('excludepkgs', '')}"
    return text.replace(",", " ").split()


def excludes(host: Host) -> list[str]:
    """Names that dnf must leave alone: exclude= of its configuration and the version locks."""
    main = parse_ini(host.text(DNF_CONF) or "").get("main", {})
    found = _words(main)
    for line in (host.text(VERSIONLOCK) or "").splitlines():
        bare = line.strip().lstrip("!")
        if bare and not bare.startswith("#"):
            # name-epoch:version-release.arch, or a plain name
            found.append(re.sub(r"-(\d+:)?[^-]+-[^-]+$", "", bare))
    found += re.findall(r'^\s*name\s*=\s*"([^"]+)"', host.text(VERSIONLOCK_5) or "", re.MULTILINE)
    return list(dict.fromkeys(found))


def matches(name: str, pattern: str) -> bool:
    """Whether dnf's glob covers a package name; a pattern of other fields is not one of names."""
    expression = "".join(
        ".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern
    )
    return re.fullmatch(expression, name) is not None


def dnf(host: Host) -> dict[str, Any]:
    return {
        "repositories": host.guarded("dnf repositories", [], repositories, host),
        "excludes": host.guarded("dnf excludes", [], excludes, host),
        "locked_by": host.guarded("package locks", None, locked_by, host, LOCKS),
    }


EMPTY: dict[str, Any] = {"repositories": [], "excludes": [], "locked_by": None}
