"""EFI variables by which a boot loader and a system talk: https://systemd.io/BOOT_LOADER_INTERFACE/"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

FOLDER = "/sys/firmware/efi/efivars"
VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
DEFAULT, ONE_SHOT, LAST = "LoaderEntryDefault", "LoaderEntryOneShot", "LoaderEntryLastBooted"
# Kept without power, and for the loader as well as for the system.
_ATTRIBUTES = struct.pack("<I", 7)
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10


def place(root: Path, name: str) -> Path:
    """The file of a variable: four bytes of attributes, then its value."""
    return root / FOLDER.lstrip("/") / f"{name}-{VENDOR}"


def _value(root: Path, name: str) -> bytes:
    try:
        return place(root, name).read_bytes()[4:]
    except OSError:
        return b""


def read(root: Path, name: str) -> str | None:
    """A variable that is a string; None where it is not set."""
    data = _value(root, name)
    return data.decode("utf-16-le", "replace").partition("\0")[0] if data else None


def features(root: Path) -> int:
    """What the loader says that it can do, a bit for each."""
    data = _value(root, "LoaderFeatures")
    return int.from_bytes(data[:8], "little")


def write(root: Path, name: str, value: str) -> None:
    """Set a variable in one write, as the file system of the variables asks for, and look again."""
    if read(root, name) == value:
        return  # the chips behind them do not like to be written to
    path = place(root, name)
    with _mutable(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, _ATTRIBUTES + f"{value}\0".encode("utf-16-le"))
        finally:
            os.close(handle)
    if read(root, name) != value:
        raise OSError(errno.EIO, f"the firmware did not keep {value}", os.fspath(path))


def remove(root: Path, name: str) -> None:
    """Delete a variable; nothing there is fine."""
    path = place(root, name)
    if path.exists():
        with _mutable(path):
            os.unlink(path)  # noqa: PTH108  one call, so that tests can cut the power before it


@contextlib.contextmanager
def _mutable(path: Path) -> Iterator[None]:
    """Linux makes variables that it does not know immutable, so that no rm breaks a firmware."""
    locked = _immutable(path, False)
    yield
    if locked:
        _immutable(path, True)


def _immutable(path: Path, wanted: bool) -> bool:
    """Set or take the attribute away; whether it was there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # a new variable, or one that was just deleted
    try:
        flags = bytearray(8)
        fcntl.ioctl(handle, _GET_FLAGS, flags)
        before = int.from_bytes(flags[:4], "little")
        after = before | _IMMUTABLE if wanted else before & ~_IMMUTABLE
        if after != before:
            fcntl.ioctl(handle, _SET_FLAGS, after.to_bytes(8, "little"))
        return bool(before & _IMMUTABLE)
    except OSError:
        return False  # a file system without attributes
    finally:
        os.close(handle)
