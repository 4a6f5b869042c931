"""Names of graphics targets: what the kernel's numbers are called, and which are APUs."""

from __future__ import annotations

# Graphics IP version -> gfx_target_version, where the digits differ
# (linux drivers/gpu/drm/amd/amdkfd/kfd_device.c, kgd2kfd_probe).
TARGETS = {
    (9, 0, 1): 90000,
    (9, 1, 0): 90002,
    (9, 2, 1): 90004,
    (9, 2, 2): 90002,
    (9, 3, 0): 90012,
    (9, 4, 0): 90006,
    (9, 4, 1): 90008,
    (9, 4, 2): 90010,
    (9, 4, 3): 90402,
    (9, 4, 4): 90402,
    (10, 1, 1): 100102,
    (10, 1, 2): 100101,
    (10, 1, 4): 100103,
    (10, 1, 10): 100100,
    (10, 3, 1): 100303,
    (10, 3, 2): 100301,
    (10, 3, 3): 100305,
    (10, 3, 4): 100302,
    (10, 3, 5): 100304,
    (10, 3, 7): 100306,
    (11, 0, 1): 110003,
    (11, 0, 3): 110001,
    (11, 0, 4): 110003,
}

# Targets that exist as APUs only (linux amdgpu_discovery.c, where it sets AMD_IS_APU).
APUS = frozenset(
    {"gfx902", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1103"}
)  # fmt: skip
APU_FAMILIES = ("gfx115", "gfx117")
# gfx942 is MI300X, a card, and MI300A, an APU: only the PCI id tells (the kernel asks the package).
MI300A = "74a0"

# Firmware of ASICs from before the files were named gc_<version>_* (linux gfx_v9_0.c, gfx_v10_0.c).
FIRMWARE_PREFIX = {
    "gfx906": "vega20",
    "gfx908": "arcturus",
    "gfx90a": "aldebaran",
    "gfx1030": "sienna_cichlid",
    "gfx1031": "navy_flounder",
    "gfx1032": "dimgrey_cavefish",
    "gfx1034": "beige_goby",
    "gfx1035": "yellow_carp",
}


def gfx_name(target: int) -> str | None:
    """LLVM's name of a gfx_target_version: 90010 is gfx90a, 110501 is gfx1151; 0 is a CPU."""
    major, minor, stepping = target // 10000, target // 100 % 100, target % 100
    return f"gfx{major}{minor:x}{stepping:x}" if 0 < major < 100 else None


def gfx_of_ip(major: int, minor: int, revision: int) -> str | None:
    """Name of a graphics IP version: 11.0.3 is gfx1101, 11.5.1 is gfx1151."""
    target = TARGETS.get((major, minor, revision), major * 10000 + minor * 100 + revision)
    return gfx_name(target)


def is_apu(gfx: str | None, pci_id: str | None) -> bool | None:
    """Whether this target shares the processor's memory; null for a target nobody told us of."""
    if gfx is None:
        return None
    return gfx in APUS or gfx.startswith(APU_FAMILIES) or (gfx == "gfx942" and pci_id == MI300A)


def firmware_prefix(gfx: str | None, ip_version: str | None) -> str | None:
    """How the firmware files of a GPU begin, without directory: gc_11_5_1 for gfx1151."""
    if gfx in FIRMWARE_PREFIX:
        return FIRMWARE_PREFIX[gfx]
    return f"gc_{ip_version.replace('.', '_')}" if ip_version else None
