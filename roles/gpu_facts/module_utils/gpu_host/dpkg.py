"""The package database and the package sources of Debian and its relatives, read as files."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .files import Host
from .locks import locked_by

FIELD = re.compile(r"^(Package|Status|Version): *(.*)$", re.MULTILINE)
RELEASE = re.compile(r"^linux-image-(?:unsigned-)?(\d.*)$")

# States of dpkg in which the files of a package are on the disk.
UNPACKED = {"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}
# States that `dpkg --audit` complains about.
UNFINISHED = (UNPACKED | {"half-installed"}) - {"installed"}

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
)


class Package(NamedTuple):
    """One line of what dpkg knows: version is null unless the files are on the disk."""

    version: str | None
    held: bool
    broken: bool


ABSENT = Package(None, False, False)


def parse_status(text: str) -> dict[str, Package]:
    """Packages of a status file by name; of two architectures the installed one wins."""
    found: dict[str, Package] = {}
    for stanza in text.split("\n\n"):
        fields = dict(FIELD.findall(stanza))
        name = fields.get("Package", "").strip()
        words = fields.get("Status", "").split()
        if not name or len(words) != 3:
            continue
        want, flag, state = words
        package = Package(
            version=fields.get("Version", "").strip() or None if state in UNPACKED else None,
            held=want == "hold",
            broken=flag != "ok" or state in UNFINISHED,
        )
        known = found.get(name, ABSENT)
        if known.version and not package.version:
            package = known._replace(broken=known.broken or package.broken)
        found[name] = package
    return found


def packages(host: Host) -> dict[str, Package]:
    return parse_status(host.text("/var/lib/dpkg/status") or "")


def upstream(version: str) -> str:
    """The upstream number inside a package version: 1:5.4.2+ds1-2 is 5.4.2."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return found.group(1) if found else version


def kernels(known: dict[str, Package]) -> list[dict[str, Any]]:
    """Installed kernel images; meta packages have no release in their name."""
    images = []
    for name, package in sorted(known.items()):
        match = RELEASE.match(name)
        if match and package.version and not name.endswith("-dbg"):
            images.append({"package": name, "version": package.version, "release": match.group(1)})
    return images


def owners(host: Host, known: dict[str, Package], files: list[str]) -> dict[str, str | None]:
    """Which package a firmware file came from: only packages of firmware are looked into."""
    found: dict[str, str | None] = dict.fromkeys(files)
    for name, package in known.items():
        if not package.version or "firmware" not in name or None not in found.values():
            continue
        lists = (f"/var/lib/dpkg/info/{name}{arch}.list" for arch in ("", ":amd64", ":arm64"))
        text = next((text for path in lists if (text := host.text(path))), "")
        lines = set(text.splitlines()) if text else set()
        for file in files:
            if file in lines or f"/usr{file}" in lines:
                found[file] = name
    return found


def interrupted(host: Host) -> list[str]:
    """Journal files that dpkg left behind; apt refuses to work until they are gone."""
    return [name for name in host.names("/var/lib/dpkg/updates") if name.isdigit()]


def _deb822(file: str, text: str) -> list[dict[str, Any]]:
    sources = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and key:
                fields[key] += "\n" + line.strip()
            elif ":" in line:
                key, value = (part.strip() for part in line.split(":", 1))
                key = key.lower()
                fields[key] = value
        if "uris" not in fields and "suites" not in fields:
            continue
        signed_by = fields.get("signed-by", "").strip() or None
        if signed_by and "BEGIN PGP" in signed_by:
            signed_by = "embedded"
        sources.append(
            {
                "file": file,
                "types": fields.get("types", "deb").split(),
                "uris": fields.get("uris", "").split(),
                "suites": fields.get("suites", "").split(),
                "components": fields.get("components", "").split(),
                "signed_by": signed_by,
                "enabled": fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off"),
            }
        )
    return sources


def _one_line(file: str, text: str) -> list[dict[str, Any]]:
    sources = []
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        match = re.match(r"(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$", line)
        if not match:
            continue
        kind, options, uri, suite, components = match.groups()
        signed = re.search(r"(?:^|\s)signed-by=(\S+)", options or "")
        sources.append(
            {
                "file": file,
                "types": [kind],
                "uris": [uri],
                "suites": [suite],
                "components": components.split(),
                "signed_by": signed.group(1) if signed else None,
                "enabled": True,
            }
        )
    return sources


def sources(host: Host) -> list[dict[str, Any]]:
    """Every package source in the order of apt's files, disabled ones included."""
    folder = "/etc/apt/sources.list.d"
    found = _one_line("/etc/apt/sources.list", host.text("/etc/apt/sources.list") or "")
    for name in host.names(folder):
        path = f"{folder}/{name}"
        if name.endswith(".sources"):
            found += _deb822(path, host.text(path) or "")
        elif name.endswith(".list"):
            found += _one_line(path, host.text(path) or "")
    return found


def apt(host: Host, known: dict[str, Package]) -> dict[str, Any]:
    return {
        "python_apt": host.exists("/usr/lib/python3/dist-packages/apt/__init__.py"),
        "sources": host.guarded("apt sources", [], sources, host),
        "broken": sorted(name for name, package in known.items() if package.broken),
        "interrupted": interrupted(host),
        "locked_by": host.guarded("package locks", None, locked_by, host, LOCKS),
    }
