"""PCI functions that matter to a serving host, found in one pass over the bus."""

from __future__ import annotations

import re
from typing import NamedTuple

from .files import Host

DEVICES = "/sys/bus/pci/devices"
SLOT = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
AMD_GPU = 0x1002  # ATI's vendor number, which AMD's GPUs keep
AMD_CPU = 0x1022
# Display controllers, processing accelerators (MI300 class), signal processing (the NPU).
CLASSES = (0x03, 0x12, 0x11)


class Function(NamedTuple):
    """One function on the bus: `kind` is the 24 bit class code."""

    slot: str
    kind: int
    vendor: int | None
    driver: str | None

    @property
    def path(self) -> str:
        return f"{DEVICES}/{self.slot}"


def functions(host: Host) -> list[Function]:
    """Functions of the classes above, in the order of their addresses."""
    found = []
    for slot in host.names(DEVICES):
        if not SLOT.match(slot):
            continue
        kind = host.number(f"{DEVICES}/{slot}/class", 16)
        if kind is None or kind >> 16 not in CLASSES:
            continue
        vendor = host.number(f"{DEVICES}/{slot}/vendor", 16)
        driver = host.link(f"{DEVICES}/{slot}/driver") if vendor in (AMD_GPU, AMD_CPU) else None
        found.append(Function(slot, kind, vendor, driver))
    return found


def is_gpu(function: Function) -> bool:
    return function.vendor == AMD_GPU and function.kind >> 16 in (0x03, 0x12)


def npu(found: list[Function]) -> dict[str, str | None]:
    """The neural processor of a Ryzen AI: class 0x1180 of AMD's processor side."""
    for function in found:
        if function.vendor == AMD_CPU and function.kind >> 8 == 0x1180:
            return {"pci": function.slot, "driver": function.driver}
    return {"pci": None, "driver": None}
