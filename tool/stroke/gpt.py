"""A GUID partition table, written without loop devices and so without root."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
MIB = 1024 * 1024
# UEFI specification 2.10, 5.3.3: a partition that the firmware looks for boot loaders on.
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
_ENTRIES, _ENTRY = 128, 128
_ENTRY_SECTORS = _ENTRIES * _ENTRY // SECTOR
_OURS = uuid.UUID("7f3c2a54-95a5-4c55-9a3e-5f2d7c0b6a11")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; start and length count sectors."""

    kind: uuid.UUID
    name: str
    start: int
    length: int


def partitions(disk_mib: int, esp_mib: int) -> list[Partition]:
    """An EFI system partition, and Linux up to the last MiB, where the second table is."""
    per_mib = MIB // SECTOR
    root = per_mib * (1 + esp_mib)
    return [
        Partition(ESP, "esp", per_mib, esp_mib * per_mib),
        Partition(LINUX, "root", root, (disk_mib - 1) * per_mib - root),
    ]


def tables(disk_mib: int, found: list[Partition]) -> tuple[bytes, bytes]:
    """What the disk begins with (protective MBR, first table) and ends with (second table)."""
    sectors = disk_mib * (MIB // SECTOR)
    entries = b"".join(_entry(partition) for partition in found).ljust(_ENTRIES * _ENTRY, b"\0")
    last = sectors - 1
    first = _header(1, last, 2, sectors, entries)
    second = _header(last, 1, last - _ENTRY_SECTORS, sectors, entries)
    return _protective(sectors) + first + entries, entries + second


def _entry(partition: Partition) -> bytes:
    # Its own id depends on its name only: the same recipe makes the same disk.
    own = uuid.uuid5(_OURS, partition.name)
    last = partition.start + partition.length - 1
    name = partition.name.encode("utf-16-le").ljust(72, b"\0")
    numbers = struct.pack("<QQQ", partition.start, last, 0)
    return partition.kind.bytes_le + own.bytes_le + numbers + name


def _header(here: int, other: int, table: int, sectors: int, entries: bytes) -> bytes:
    usable = (2 + _ENTRY_SECTORS, sectors - 2 - _ENTRY_SECTORS)

    def packed(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, here, other, *usable,
            _OURS.bytes_le, table, _ENTRIES, _ENTRY, zlib.crc32(entries),
        )  # fmt: skip

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _protective(sectors: int) -> bytes:
    """An MBR that says to tools without GPT that the whole disk is taken."""
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1,
                        min(sectors - 1, 0xFFFFFFFF))  # fmt: skip
    return b"\0" * 446 + entry.ljust(64, b"\0") + b"\x55\xaa"
