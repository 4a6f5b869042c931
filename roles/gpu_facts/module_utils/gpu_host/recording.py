"""A host that remembers what was read of it, and packs that, made anonymous, as a small tree."""

from __future__ import annotations

import base64
import io
import os
import stat
import tarfile
from typing import Any

from . import rpm
from .anonymous import Names
from .files import LIMIT, Host

# More than this does not travel in the result of a module; no host comes near it.
MOST = 16 * 1024 * 1024


class Recorder(Host):
    """Reads like any host; what it read can be laid out again somewhere else."""

    def __init__(self, root: Any) -> None:
        super().__init__(root)
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.folders: set[str] = set()
        self.there: dict[str, int] = {}

    def stat(self, path: str) -> os.stat_result | None:
        found = super().stat(path)
        if found is not None:
            self._there(path, found.st_mode)
        return found

    def read(self, path: str, limit: int = LIMIT) -> bytes | None:
        data = super().read(path, limit)
        if data is not None and len(data) >= len(self.files.get(path, b"")):
            self.files[path] = data
        return data

    def link(self, path: str) -> str | None:
        target = super().link(path)
        if target is not None:
            self.links[path] = target
        return target

    def names(self, path: str) -> list[str]:
        names = super().names(path)
        if names:
            self.folders.add(path)
        for name in names:
            child = f"{path.rstrip('/')}/{name}"
            try:
                self._there(child, self.at(child).stat().st_mode)
            except OSError:  # a link to nowhere, or a directory that is closed to this user
                self.there.setdefault(child, 0o644)
        return names

    def _there(self, path: str, mode: int) -> None:
        """A directory, or something whose existence alone says enough."""
        if stat.S_ISDIR(mode):
            self.folders.add(path)
        else:
            self.there.setdefault(path, stat.S_IMODE(mode) & 0o666 or 0o400)


def _queries(host: Recorder, asked: list[str]) -> dict[str, bytes]:
    """Answers of programs, in the files that a fixture tree has them in."""
    if not host.live or not os.path.exists("/usr/bin/rpm"):  # noqa: PTH110  the real machine
        return {}
    lines = []
    for name, version, architecture in rpm.rows(host, asked):
        epoch, _, plain = version.rpartition(":")
        number, _, release = plain.partition("-")
        lines.append("\t".join((name, epoch or "(none)", number, release, architecture)))
    return {f"{rpm.QUERY}/packages": ("\n".join(lines) + "\n").encode()} if lines else {}


def pack(host: Recorder, asked: list[str], names: Names | None = None) -> dict[str, Any]:
    """A gzipped tar in base64, and what of the host it still has and does not have."""
    files = {**host.files, **host.guarded("rpm", {}, _queries, host, asked)}
    names = names or Names(files, asked)
    buffer = io.BytesIO()
    size = 0
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as archive:

        def add(path: str, kind: bytes, data: bytes = b"", mode: int = 0o644) -> None:
            entry = tarfile.TarInfo(names.path(path).lstrip("/"))
            entry.type, entry.mode, entry.size = kind, mode, len(data)
            archive.addfile(entry, io.BytesIO(data) if data else None)

        places = {*host.files, *host.links, *host.there}
        parents = {parent for place in places for parent in _parents(place)}
        for path in sorted({*host.folders, *parents} - {"", "/"}):
            if path not in files and path not in host.links:
                add(path, tarfile.DIRTYPE, mode=0o755)
        for path, mode in sorted(host.there.items()):
            if path not in files and path not in host.links and path not in host.folders:
                add(path, tarfile.REGTYPE, mode=mode)
        for path, data in sorted(files.items()):
            clean = names.content(path, data)
            size += len(clean)
            if size > MOST:
                host.cannot("capture", f"{path} and what follows are left out: too large")
                break
            add(path, tarfile.REGTYPE, clean, host.there.get(path, 0o644) | 0o400)
        for path, target in sorted(host.links.items()):
            entry = tarfile.TarInfo(names.path(path).lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, names.text(target)
            archive.addfile(entry)
    return {
        "archive": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "files": len(files),
        "replaced": names.replaced,
        "left_out": names.left_out,
    }


def _parents(path: str) -> list[str]:
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: number + 1]) for number in range(len(parts))]
