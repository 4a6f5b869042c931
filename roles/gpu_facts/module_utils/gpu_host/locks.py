"""Who holds a lock of the package management, asked without taking it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterable

from .files import Host


def holder(host: Host, path: str, number: int | None) -> int | None:
    """Process that holds the lock: asked of the kernel if we may, else looked up by inode."""
    if host.live:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            handle = -1
        if handle >= 0:
            try:
                # struct flock on 64 bit: type, whence, start, length, pid. F_GETLK takes nothing.
                asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                kind, _, _, _, pid = struct.unpack(
                    "hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, asked)
                )
                return int(pid) if kind != fcntl.F_UNLCK else None
            finally:
                os.close(handle)
    for line in (host.text("/proc/locks") or "").splitlines():
        match = re.match(r"\d+: \S+\s+\S+\s+WRITE\s+(\d+)\s+\w+:\w+:(\d+)\s", line)
        if match and number is not None and int(match.group(2)) == number:
            return int(match.group(1))
    return None


def locked_by(host: Host, paths: Iterable[str]) -> str | None:
    """Who holds a package lock now, as `pid 123 (apt-get)`."""
    for path in paths:
        found = host.stat(path)
        pid = holder(host, path, found.st_ino if found else None) if found else None
        if pid:
            return f"pid {pid} ({host.line(f'/proc/{pid}/comm') or 'unknown'})"
    return None
