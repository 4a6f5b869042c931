"""Memory of the host: what is installed, what the system has, what the GPU took away."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from .files import Host

ENTRIES = "/sys/firmware/dmi/entries"
TABLE = "/sys/firmware/dmi/tables/DMI"
# udev's own reading of the modules, for everybody (systemd, dmi_memory_id).
UDEV = "/run/udev/data/+dmi:id"
GIB = 1024**3
# Below this a carve-out does not look like missing memory.
WORTH_TELLING = 4 * GIB


def module_bytes(raw: bytes) -> int:
    """Size in an SMBIOS structure of type 17; 0 for an empty or unknown socket."""
    size = int.from_bytes(raw[0x0C:0x0E], "little") if len(raw) >= 0x0E else 0
    if size == 0xFFFF:
        return 0
    if size == 0x7FFF and len(raw) >= 0x20:
        return (int.from_bytes(raw[0x1C:0x20], "little") & 0x7FFFFFFF) << 20
    return (size & 0x7FFF) << 10 if size & 0x8000 else size << 20


def structures(table: bytes) -> Iterator[bytes]:
    """Formatted areas of an SMBIOS table; strings behind each end with two zero bytes."""
    place = 0
    while place + 4 <= len(table):
        length = table[place + 1]
        if length < 4:
            return
        yield table[place : place + length]
        end = table.find(b"\0\0", place + length)
        if end < 0:
            return
        place = end + 2


def dmi_memory(host: Host) -> int | None:
    """Sum of the memory modules; null where nobody tells, as in many guests."""
    table = host.read(TABLE, 1 << 20)
    if table:
        return sum(module_bytes(raw) for raw in structures(table) if raw[0] == 17) or None
    names = [name for name in host.names(ENTRIES) if name.startswith("17-")]
    total = 0
    for name in names:
        raw = host.read(f"{ENTRIES}/{name}/raw", 512)
        if raw is None:
            break
        total += module_bytes(raw)
    else:
        if total:
            return total
    sizes = re.findall(r"^E:MEMORY_DEVICE_\d+_SIZE=(\d{1,15})$", host.text(UDEV) or "", re.M)
    return sum(map(int, sizes)) or None


def carveout(gpus: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The APU that owns part of the installed memory.

    On an accelerator (class 12, MI300A) the memory that the driver calls the GPU's is the host's.
    """
    for gpu in gpus:
        if gpu["apu"] and gpu["vram_bytes"] and (gpu["class"] or "").startswith("03"):
            return gpu
    return None


def memory(host: Host, declared_gib: int | None, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    match = re.search(r"^MemTotal:\s+(\d{1,15}) kB", host.text("/proc/meminfo", 8192) or "", re.M)
    if not match:
        host.cannot("/proc/meminfo", "no MemTotal")
    total = int(match.group(1)) * 1024 if match else 0
    installed = dmi_memory(host)
    owner = carveout(gpus)
    taken: int = owner["vram_bytes"] if owner else 0
    if owner and taken >= WORTH_TELLING and total:
        of = f" of {installed / GIB:.0f} GiB installed" if installed else ""
        host.notes.append(
            f"memory: the system has {total / GIB:.1f} GiB{of}; "
            f"{taken / GIB:.0f} GiB are carved out for the GPU at {owner['slot']}"
        )
    return {
        "total_bytes": total,
        "declared_bytes": declared_gib << 30 if declared_gib else None,
        "page_size": os.sysconf("SC_PAGESIZE"),
        "dmi_bytes": installed,
        "carveout_bytes": taken or None,
    }
