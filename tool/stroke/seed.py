"""The small second disk that gives a guest its name and keys."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from stroke.guest_recipe import ADMIN

_BLOCK = 1024 * 1024


def write_seed(target: Path, *, hostname: str, host_key: Path, authorized_key: str) -> None:
    """A disk whose content is a tar archive, unpacked by the base disk's own unit at first boot."""
    private = host_key.read_bytes()
    public = host_key.with_suffix(".pub").read_bytes()
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost\n"
    home = f"home/{ADMIN}"
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        _file(archive, "etc/hostname", f"{hostname}\n".encode(), 0o644)
        _file(archive, "etc/hosts", hosts.encode(), 0o644)
        _file(archive, "etc/ssh/ssh_host_ed25519_key.pub", public, 0o644)
        _folder(archive, f"{home}/.ssh")
        _file(archive, f"{home}/.ssh/authorized_keys", f"{authorized_key}\n".encode(), 0o600, 1000)
        # Last: the unit takes this file as the sign that everything is there.
        _file(archive, "etc/ssh/ssh_host_ed25519_key", private, 0o600)
    _pad(target)


def _file(archive: tarfile.TarFile, name: str, data: bytes, mode: int, owner: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner, owner
    archive.addfile(entry, io.BytesIO(data))


def _folder(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, 1000, 1000
    archive.addfile(entry)


def _pad(target: Path) -> None:
    size = target.stat().st_size
    with target.open("ab") as handle:
        handle.truncate(-(-size // _BLOCK) * _BLOCK)
