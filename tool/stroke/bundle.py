"""One archive for a bug report: what each host is, wants, proves and logged, made anonymous.

Hosts take their own names, addresses and secrets out before anything leaves them; here the same
rules run once more, over all of it, with what only this machine knows: the inventory's names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from . import capture, role_code, version
from .document import host_document
from .errors import StrokeError
from .report import HostRun, Run

SECRET_VARIABLE = re.compile(r"(?i)(pass(word|wd)?|secret|token|(api|access|private)_?key)$")
SHORTEST = 8  # of a variable's value: shorter ones are words
WHAT = {
    "report.json": "facts, profile, plan, state and every check, as `--json` prints them",
    "tree/": "the files that stroke read; explained by: stroke doctor --root DIR",
    "logs/": "versions, excerpts of the kernel's and stroke's logs, units, records, packages",
}


@dataclass(slots=True)
class Archive:
    """An archive that is being written, and the list of what is in it."""

    scrub: Any
    root: str
    tar: tarfile.TarFile
    listed: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> None:
        """Add one file that is clean."""
        entry = tarfile.TarInfo(f"{self.root}/{name}")
        entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
        self.tar.addfile(entry, io.BytesIO(data))
        self.listed.append((name, len(data), hashlib.sha256(data).hexdigest()))

    def document(self, name: str, data: Any) -> None:
        """Add a document, made clean."""
        clean = self.scrub.data(data)
        self.add(name, (json.dumps(clean, indent=2, ensure_ascii=False) + "\n").encode())

    def sent(self, directory: str, archive: str) -> None:
        """Add what a host sent, made clean once more."""
        for member, data in capture.members(archive):
            name = f"{directory}/{self.scrub.text(member.name)}"
            if member.isreg():
                self.add(name, self._clean(member.name, data))
            elif member.issym():
                member.name = f"{self.root}/{name}"
                member.linkname = self.scrub.text(member.linkname)
                self.tar.addfile(member)

    def _clean(self, name: str, data: bytes) -> bytes:
        """Bytes of the kernel and versions of packages are left as the host sent them."""
        if name.startswith(("sys/", "var/lib/dpkg/")) or b"\0" in data:
            return data
        text: str = self.scrub.text(data.decode("utf-8", "replace"))
        return text.encode()


def target(wanted: Path | None) -> Path:
    """The file to write; whether that is possible is found out before any host is asked."""
    file = wanted or Path(time.strftime("stroke-bundle-%Y%m%d-%H%M%S.tar.gz"))
    if not os.access(file.absolute().parent, os.W_OK):
        raise _cannot_write(file, "its directory does not exist or may not be written to")
    return file


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of this machine's environment that a playbook may have used."""
    return tuple(
        value for name, value in environment.items()
        if SECRET_VARIABLE.search(name) and len(value) >= SHORTEST
    )  # fmt: skip


def write(
    run: Run, file: Path, before: Mapping[str, Any], *, secrets: Iterable[str], keep: bool
) -> dict[str, str]:
    """Write the archive, readable by its owner only; returns the directory of each host in it."""
    brought = [host for host in run.hosts.values() if host.logs.get("archive")]
    if not brought:
        return {}
    names = [host.logs.get("names") or {} for host in brought]
    scrub = role_code.scrub(
        [*run.hosts, *(str(name) for known in names for name in known.get("hosts", ()))],
        [_login(), *(str(name) for known in names for name in known.get("logins", ()))],
        secrets,
        keep,
    )
    written: dict[str, str] = {}
    taken: set[str] = set()
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as tar:
            archive = Archive(scrub, "stroke-bundle", tar)
            archive.document("versions.json", versions())
            if before:
                archive.document("run-before.json", before)
            for host in brought:
                name = _plain(host.name) if keep else capture.name_of(host, taken)
                written[host.name] = name
                archive.document(f"{name}/report.json", host_document(host))
                archive.sent(f"{name}/logs", str(host.logs["archive"]))
                if host.capture.get("archive"):
                    archive.sent(f"{name}/tree", str(host.capture["archive"]))
            archive.add("INDEX.md", index(archive, brought, written).encode())
        scratch.replace(file)
    except OSError as error:
        raise _cannot_write(file, error.strerror or str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)
    return written


def versions() -> dict[str, str]:
    """What runs on this machine, the controller."""
    found = {"stroke": version(), "python": platform.python_version(), "system": platform.system(),
             "kernel": platform.release()}  # fmt: skip
    for name in ("ansible-core", "ansible-runner", "typer", "rich"):
        found[name] = metadata.version(name)
    return found


def index(archive: Archive, hosts: Sequence[HostRun], written: Mapping[str, str]) -> str:
    """The first page: what happened on each host in one line, and every file with its checksum."""
    lines = [
        "# stroke bundle",
        "",
        f"Written by stroke {version()}. Secrets, addresses, logins and serial numbers were taken "
        "out; look through it before you attach it.",
        "",
    ]
    lines += ["| host | GPU | kernel | state | failed checks | ended by |", "| --- " * 6 + "|"]
    for host in hosts:
        checks = ", ".join(str(check.get("id")) for check in host.checks_failed)
        cells = (written[host.name], host.facts.get("gpu"), host.facts.get("kernel"), host.status,
                 checks, host.logs.get("stopped"))  # fmt: skip
        lines.append("| " + " | ".join(_cell(archive, cell) for cell in cells) + " |")
    lines += ["", *(f"* `{name}`: {what}" for name, what in WHAT.items())]
    lines += ["* `run-before.json`: the report of the run before this one, if there was any", ""]
    replaced = _replaced(hosts, archive.scrub.names.replaced)
    lines.append(f"Replaced or removed: {replaced or 'nothing'}.")
    left = [part for host in hosts for part in (*host.logs.get("left_out", ()),
            *host.capture.get("left_out", ()))]  # fmt: skip
    lines += [f"Left out: {_cell(archive, ', '.join(map(str, left)) or 'nothing')}.", ""]
    lines += ["| file | bytes | SHA-256 |", "| --- | ---: | --- |"]
    lines += [f"| {name} | {size} | {digest} |" for name, size, digest in sorted(archive.listed)]
    return "\n".join(lines) + "\n"


def _cell(archive: Archive, value: Any) -> str:
    text: str = archive.scrub.text(str(value or "-"))
    return " ".join(text.replace("|", "/").split())[:300]


def _replaced(hosts: Sequence[HostRun], here: Mapping[str, int]) -> str:
    """Counts by kind; a word that was replaced on the host is no word here any more."""
    total = dict(here)
    for host in hosts:
        for kind, number in dict(host.capture.get("replaced") or {}).items():
            total[kind] = total.get(kind, 0) + int(number)
    return ", ".join(f"{number} x {kind}" for kind, number in sorted(total.items()))


def _plain(name: str) -> str:
    """A host's name as a directory's."""
    return re.sub(r"[^\w.-]", "-", name).lstrip(".-") or "host"


def _login() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or ""


def _cannot_write(file: Path, why: str) -> StrokeError:
    return StrokeError(
        f"{file} cannot be written: {why}",
        code="STK-645",
        hint="give --output a file in a directory that you may write to",
    )
