"""Write what `inspect --capture` brought from the hosts: one archive, one directory for each."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import StrokeError
from .report import HostRun, Run


def name_of(host: HostRun, taken: set[str]) -> str:
    """A directory's name: the GPU and the distribution, never the host's own name."""
    facts = host.facts
    words = [str(facts.get("gpu") or "no-gpu"), str(facts.get("distribution") or "linux")]
    plain = "".join(c if c.isalnum() else "-" for c in "-".join(words).lower())
    name = "-".join(part for part in plain.split("-") if part)[:48]
    number = 1
    while f"{name}-{number}" in taken or (number == 1 and name in taken):
        number += 1
    chosen = name if number == 1 else f"{name}-{number}"
    taken.add(chosen)
    return chosen


def write(run: Run, file: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Write the archive; returns host, directory, and what was replaced, for each host in it."""
    brought = [host for host in run.hosts.values() if host.capture.get("archive")]
    if not brought:
        return []
    taken: set[str] = set()
    written = []
    try:
        with tarfile.open(file, "w:gz") as target:
            for host in brought:
                name = name_of(host, taken)
                _copy(str(host.capture["archive"]), name, target)
                written.append((host.name, name, host.capture))
    except OSError as error:
        raise StrokeError(
            f"{file} cannot be written: {error.strerror or error}",
            code="STK-108",
            hint="give --capture a file in a directory that you may write to",
        ) from error
    return written


def _copy(archive: str, name: str, target: tarfile.TarFile) -> None:
    """Move one host's tree below its directory."""
    for member, data in members(archive):
        member.name = f"{name}/{member.name}"
        target.addfile(member, io.BytesIO(data) if member.isreg() else None)


def members(archive: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """What a host sent, without what could lead out of its directory; data of files only."""
    try:
        sent = io.BytesIO(base64.b64decode(archive, validate=True))
        with tarfile.open(fileobj=sent, mode="r:gz") as source:
            for member in source:
                if not (member.isreg() or member.isdir() or member.issym()):
                    continue
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts:
                    continue
                file = source.extractfile(member) if member.isreg() else None
                yield member, file.read() if file else b""
    except (binascii.Error, tarfile.TarError, EOFError, ValueError) as error:
        raise StrokeError(f"a host sent an archive that cannot be read: {error}") from error
