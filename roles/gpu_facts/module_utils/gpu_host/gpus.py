"""AMD GPUs from the kernel's own views: KFD topology, IP discovery, PCI ids."""

from __future__ import annotations

import re
from typing import Any

from .files import Host

AMD = 0x1002
NODES = "/sys/class/kfd/kfd/topology/nodes"
DEVICES = "/sys/bus/pci/devices"
SLOT = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")

# Graphics IP version -> gfx_target_version, where the digits differ
# (linux drivers/gpu/drm/amd/amdkfd/kfd_device.c, kgd2kfd_probe).
TARGETS = {
    (9, 4, 0): 90006,
    (9, 4, 1): 90008,
    (9, 4, 2): 90010,
    (9, 4, 3): 90402,
    (9, 4, 4): 90402,
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


def gfx_name(target: int) -> str | None:
    """LLVM's name of a gfx_target_version: 90010 is gfx90a, 110501 is gfx1151; 0 is a CPU."""
    major, minor, stepping = target // 10000, target // 100 % 100, target % 100
    return f"gfx{major}{minor:x}{stepping:x}" if major > 0 else None


def gfx_of_ip(major: int, minor: int, revision: int) -> str | None:
    target = TARGETS.get((major, minor, revision), major * 10000 + minor * 100 + revision)
    return gfx_name(target)


def parse_properties(text: str) -> dict[str, int]:
    """Lines `name number` of a KFD node; anything else is left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def slot_of(properties: dict[str, int]) -> str | None:
    """PCI address of a KFD node: location_id is bus, device, function as PCI packs them."""
    if "location_id" not in properties:
        return None
    where = properties["location_id"]
    return (
        f"{properties.get('domain', 0):04x}:{where >> 8 & 0xFF:02x}:"
        f"{where >> 3 & 0x1F:02x}.{where & 7}"
    )


def _empty() -> dict[str, Any]:
    return {
        "gfx": None,
        "name": None,
        "pci_id": None,
        "revision": None,
        "slot": None,
        "apu": None,
        "simulated": False,
        "render_node": None,
        "card_node": None,
        "source": None,
        "vram_bytes": None,
        "gtt_bytes": None,
        "cu_count": None,
        "cwsr_size": None,
        "mes_version": None,
    }


def _firmware(host: Host, device: str, slot: str) -> int | None:
    """Version of the MES firmware that is loaded; debugfs is the way of older kernels."""
    version = host.number(f"{device}/fw_version/mes_fw_version", 16)
    if version is not None:
        return version
    path = f"/sys/kernel/debug/dri/{slot}/amdgpu_firmware_info"
    if not host.exists("/sys/kernel/debug/dri") or not host.exists(path):
        return None
    match = re.search(
        r"^MES feature version: \d+, firmware version: (0x[0-9a-f]+)",
        host.text(path) or "",
        re.MULTILINE,
    )
    return int(match.group(1), 16) if match else None


def _pci_gpu(host: Host, slot: str) -> dict[str, Any] | None:
    device = f"{DEVICES}/{slot}"
    kind = host.number(f"{device}/class", 16)
    # Display controllers are 0x03xxxx, MI300-class accelerators 0x12xxxx.
    if kind is None or kind >> 16 not in (0x03, 0x12):
        return None
    if host.number(f"{device}/vendor", 16) != AMD:
        return None
    gpu = _empty()
    gpu["slot"] = slot
    for key, name, width in (("pci_id", "device", 4), ("revision", "revision", 2)):
        number = host.number(f"{device}/{name}", 16)
        gpu[key] = None if number is None else f"{number:0{width}x}"
    gpu["name"] = host.line(f"{device}/product_name")
    gpu["vram_bytes"] = host.number(f"{device}/mem_info_vram_total")
    gpu["gtt_bytes"] = host.number(f"{device}/mem_info_gtt_total")
    gpu["mes_version"] = _firmware(host, device, slot)
    if host.exists(f"{device}/uma/carveout_options"):
        gpu["apu"] = True
    for node in host.names(f"{device}/drm"):
        if node.startswith("renderD"):
            gpu["render_node"] = f"/dev/dri/{node}"
        elif re.match(r"card\d+$", node):
            gpu["card_node"] = f"/dev/dri/{node}"
    return gpu


def _ip_gfx(host: Host, slot: str) -> str | None:
    core = f"{DEVICES}/{slot}/ip_discovery/die/0/GC/0"
    parts = [host.number(f"{core}/{part}") for part in ("major", "minor", "revision")]
    numbers = [part for part in parts if part is not None]
    return gfx_of_ip(*numbers) if len(numbers) == 3 else None


def _kfd_nodes(host: Host) -> list[dict[str, int]]:
    nodes = []
    for name in sorted(host.names(NODES), key=lambda name: (len(name), name)):
        properties = parse_properties(host.text(f"{NODES}/{name}/properties") or "")
        if properties.get("gfx_target_version"):
            nodes.append(properties)
    return nodes


def _apply_kfd(gpu: dict[str, Any], node: dict[str, int]) -> None:
    per_unit = node.get("simd_per_cu") or 0
    gpu["cu_count"] = node.get("simd_count", 0) // per_unit if per_unit else None
    gpu["cwsr_size"] = node.get("cwsr_size")
    if node.get("cpu_cores_count") and node.get("simd_count"):
        gpu["apu"] = True
    if gpu["pci_id"] is None and node.get("device_id"):
        gpu["pci_id"] = f"{node['device_id']:04x}"
    if node.get("drm_render_minor", 0) > 0:  # differs between partitions of one device
        gpu["render_node"] = f"/dev/dri/renderD{node['drm_render_minor']}"


def _name(host: Host, gpu: dict[str, Any], said: list[tuple[str, str | None]]) -> None:
    """Take the most trusted gfx name and tell when a less trusted view says otherwise."""
    named = [(source, gfx) for source, gfx in said if gfx]
    gpu["source"], gpu["gfx"] = named[0] if named else ("pci", None)
    if len({gfx for _, gfx in named}) > 1:
        views = ", ".join(f"{source} says {gfx}" for source, gfx in named)
        host.notes.append(f"GPU {gpu['slot']}: {views}; {gpu['source']} is believed")


def gpus(host: Host, pci_ids: dict[str, str]) -> list[dict[str, Any]]:
    """Every AMD GPU of the host, with or without a driver."""
    wanted = {str(key).lower(): value for key, value in pci_ids.items()}
    found: list[dict[str, Any]] = []
    by_slot: dict[str, dict[str, Any]] = {}
    for slot in host.names(DEVICES):
        gpu = _pci_gpu(host, slot) if SLOT.match(slot) else None
        if gpu:
            found.append(gpu)
            by_slot[slot] = gpu
    trusted: dict[int, str | None] = {}
    for node in _kfd_nodes(host):
        slot_name = slot_of(node)
        known = by_slot.get(slot_name or "")
        # Partitioned accelerators show several KFD nodes on one PCI address.
        if known is None or id(known) in trusted:
            fresh = dict(known) if known else {**_empty(), "slot": slot_name}
            found.append(fresh)
            known = fresh
            if slot_name:
                by_slot.setdefault(slot_name, fresh)
        _apply_kfd(known, node)
        trusted[id(known)] = gfx_name(node["gfx_target_version"])
    for gpu in found:
        kfd = [("kfd", trusted[id(gpu)])] if id(gpu) in trusted else []
        slot = gpu["slot"] or ""
        ids = wanted.get(gpu["pci_id"] or "")
        _name(host, gpu, [*kfd, ("ip_discovery", _ip_gfx(host, slot)), ("pci", ids)])
    return found


def with_declared(
    host: Host, found: list[dict[str, Any]], declared: str | None
) -> list[dict[str, Any]]:
    """A declared GPU stands in only where there is no real one."""
    if not declared:
        return found
    if found:
        real = ", ".join(f"{gpu['gfx'] or gpu['pci_id']} at {gpu['slot']}" for gpu in found)
        host.notes.append(f"declared GPU {declared} ignored: this host has {real}")
        return found
    return [{**_empty(), "gfx": declared, "simulated": True, "source": "declared"}]
