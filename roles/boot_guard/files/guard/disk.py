"""Writes that a power cut cannot tear: each file is the old one or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path

# linux/ext4.h: write the journal back, because GRUB reads a file system without replaying it.
_EXT4_CHECKPOINT = 0x4004662B
# What other programs keep to write in, where modules are copied.
_SPARE = 64 * 1024**2
_FREEZE, _THAW = 0xC0045877, 0xC0045878


def sync_directory(path: Path) -> None:
    """Make a rename or an unlink in a directory last."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(handle, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(scratch, path)  # noqa: PTH105  one call, so that tests can cut the power before it
    sync_directory(path.parent)


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file where it is: GRUB saves into the very blocks that it has seen."""
    handle = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(handle, data, 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def copy(source: Path, target: Path) -> None:
    """A copy, not a link: what installs kernels may write into the original."""
    write(target, source.read_bytes(), source.stat().st_mode & 0o777)


def remove(path: Path) -> None:
    """Delete a file or a link for good; nothing there is fine."""
    try:
        os.unlink(path)  # noqa: PTH108  as above
    except (FileNotFoundError, NotADirectoryError):
        return
    sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Delete a directory with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
        sync_directory(path.parent)


def link_tree(source: Path, target: Path) -> None:
    """A link to every file, or a copy: what is removed from the source stays in the target."""
    if target.is_dir():
        return
    scratch = target.with_name(target.name + ".new")
    remove_tree(scratch)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    _require_room(source, scratch.parent)
    try:
        shutil.copytree(source, scratch, symlinks=True, copy_function=_link)
    except OSError as error:
        remove_tree(scratch)
        # Of a thousand files that do not fit one says enough.
        first = error.args[0][0] if isinstance(error, shutil.Error) else error
        raise OSError(f"{source} cannot be kept: {str(first)[:300]}") from error
    os.replace(scratch, target)  # noqa: PTH105  as above
    sync_directory(target.parent)


def _together(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _require_room(source: Path, folder: Path) -> None:
    """Links cost nothing; on another file system there are copies."""
    if _together(source, folder):
        return
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < size + _SPARE:
        missing = (size + _SPARE - free) // 1024**2 + 1
        raise OSError(f"{folder} lacks {missing} MiB for the modules in {source}")


def _link(source: str, target: str, *, follow_symlinks: bool = True) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target, follow_symlinks=False)  # /var has a file system of its own
    return target


def settle(path: Path) -> None:
    """Bring a file system to the state that a reader without its journal sees."""
    os.sync()
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.ioctl(handle, _EXT4_CHECKPOINT, b"\0\0\0\0")
            return
        if path.stat().st_dev == Path("/").stat().st_dev:
            return  # never freeze what this program itself is read from
        with contextlib.suppress(OSError):
            fcntl.ioctl(handle, _FREEZE, 0)
            fcntl.ioctl(handle, _THAW, 0)
    finally:
        os.close(handle)
