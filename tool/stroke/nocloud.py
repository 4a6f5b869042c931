"""The NoCloud disk that tells a cloud image its name, its user and its keys."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from stroke.guest_recipe import ADMIN

_BLOCK = 2048
_LABEL = "cidata"
_DATE = bytes(7)  # no date: the same content gives the same bytes
_LONG_DATE = b"0" * 16 + b"\0"


def write_nocloud(target: Path, *, hostname: str, host_key: Path, authorized_key: str) -> None:
    """A disk that cloud-init of any distribution finds by its label."""
    user = {
        "name": ADMIN,
        "gecos": "sandbox",
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
        "ssh_authorized_keys": [authorized_key],
    }
    keys = {
        "ed25519_private": host_key.read_text(encoding="utf-8"),
        "ed25519_public": host_key.with_suffix(".pub").read_text(encoding="utf-8").strip(),
    }
    config = {
        "users": [user],
        "ssh_keys": keys,
        "ssh_deletekeys": True,
        "ssh_pwauth": False,
        "disable_root": True,
        # A package manager of its own accord would hold the lock when stroke wants it.
        "package_update": False,
        "package_upgrade": False,
    }
    meta = {"instance-id": hostname, "local-hostname": hostname}
    files = {
        "user-data": "#cloud-config\n" + json.dumps(config, indent=1) + "\n",  # JSON is YAML
        "meta-data": json.dumps(meta) + "\n",
    }
    target.write_bytes(iso9660(_LABEL, {name: text.encode() for name, text in files.items()}))


def iso9660(label: str, files: dict[str, bytes]) -> bytes:
    """A plain ISO 9660 image with files in its root; small enough not to need a tool for it.

    Names go in upper case, as the standard has it: Linux shows them in lower case.
    """
    root, first = 20, 21
    entries, content, block = b"", b"", first
    for name, data in sorted(files.items()):
        entries += _record(f"{name.upper()}.;1".encode("ascii"), block, len(data), folder=False)
        padded = data.ljust(-(-len(data) // _BLOCK) * _BLOCK, b"\0")
        content += padded
        block += len(padded) // _BLOCK
    folder = (
        _record(b"\0", root, _BLOCK, folder=True) + _record(b"\1", root, _BLOCK, folder=True)
    ) + entries
    if len(folder) > _BLOCK:
        raise ValueError("too many files for one directory block")
    tables = b"".join(struct.pack(f"{order}BBIH", 1, 0, root, 1) + b"\0\0" for order in ("<", ">"))
    little, big = tables[:10].ljust(_BLOCK, b"\0"), tables[10:].ljust(_BLOCK, b"\0")
    primary = b"".join((
        b"\1CD001\1\0", b" " * 32, label.encode("ascii").ljust(32), bytes(8),
        _both(block, 4), bytes(32), _both(1, 2), _both(1, 2), _both(_BLOCK, 2), _both(10, 4),
        struct.pack("<II", 18, 0), struct.pack(">II", 19, 0),
        _record(b"\0", root, _BLOCK, folder=True),
        b" " * 128 * 4, b" " * 37 * 3, _LONG_DATE * 4, b"\1\0",
    ))  # fmt: skip
    end = b"\xffCD001\1".ljust(_BLOCK, b"\0")
    system_area = bytes(16 * _BLOCK)
    return b"".join((
        system_area, primary.ljust(_BLOCK, b"\0"), end, little, big,
        folder.ljust(_BLOCK, b"\0"), content,
    ))  # fmt: skip


def _both(number: int, size: int) -> bytes:
    kind = {2: "H", 4: "I"}[size]
    return struct.pack(f"<{kind}", number) + struct.pack(f">{kind}", number)


def _record(name: bytes, block: int, length: int, *, folder: bool) -> bytes:
    size = 33 + len(name) + (1 - len(name) % 2)
    head = struct.pack("<BB", size, 0) + _both(block, 4) + _both(length, 4) + _DATE
    tail = struct.pack("<BBB", 2 if folder else 0, 0, 0) + _both(1, 2) + bytes([len(name)]) + name
    return (head + tail).ljust(size, b"\0")
