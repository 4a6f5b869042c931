"""AMD GPUs from the kernel's own views: KFD topology, IP discovery, PCI ids."""

from __future__ import annotations

import re
from typing import Any

from .files import Host
from .firmware import loaded
from .gfx import gfx_name, gfx_of_ip, is_apu
from .pci import AMD_GPU, Function, is_gpu

NODES = "/sys/class/kfd/kfd/topology/nodes"
BY_PATH = "/dev/dri/by-path"
# Heaps of a KFD memory bank that are the GPU's own (linux kfd_crat.h).
LOCAL_HEAPS = (1, 2)


def parse_properties(text: str) -> dict[str, int]:
    """Lines `name number` of a KFD node; anything else is left out."""
    pairs = (line.split() for line in text.splitlines())
    return {
        pair[0]: int(pair[1])
        for pair in pairs
        if len(pair) == 2 and len(pair[1]) <= 20 and pair[1].isascii() and pair[1].isdecimal()
    }


def slot_of(properties: dict[str, int]) -> str | None:
    """PCI address of a KFD node: location_id is bus, device, function as PCI packs them."""
    if "location_id" not in properties:
        return None
    where = properties["location_id"]
    return (
        f"{properties.get('domain', 0):04x}:{where >> 8 & 0xFF:02x}:"
        f"{where >> 3 & 0x1F:02x}.{where & 7}"
    )


def empty() -> dict[str, Any]:
    """A GPU of which nothing is known."""
    return {
        "index": 0,
        "gfx": None,
        "source": None,
        "said": {"kfd": None, "ip_discovery": None, "pci": None},
        "ip_version": None,
        "name": None,
        "product": None,
        "vendor": None,
        "class": None,
        "pci_id": None,
        "revision": None,
        "slot": None,
        "driver": None,
        "apu": None,
        "boot_vga": None,
        "simulated": False,
        "render_node": None,
        "render_path": None,
        "card_node": None,
        "numa_node": None,
        "vram_bytes": None,
        "visible_vram_bytes": None,
        "gtt_bytes": None,
        "cu_count": None,
        "simd_count": None,
        "cwsr_size": None,
        "mes_version": None,
        "firmware": {},
        "partition": None,
    }


def _kfd_nodes(host: Host) -> list[tuple[str, dict[str, int]]]:
    nodes = []
    for name in sorted(host.names(NODES), key=lambda name: (len(name), name)):
        properties = parse_properties(host.text(f"{NODES}/{name}/properties") or "")
        if properties.get("gfx_target_version") and properties.get("vendor_id", AMD_GPU) == AMD_GPU:
            nodes.append((name, properties))
    return nodes


def _local_memory(host: Host, node: str) -> int | None:
    """Video memory as KFD counts it, for a GPU whose PCI directory does not say."""
    total = 0
    for bank in host.names(f"{NODES}/{node}/mem_banks"):
        heap = parse_properties(host.text(f"{NODES}/{node}/mem_banks/{bank}/properties") or "")
        if heap.get("heap_type") in LOCAL_HEAPS:
            total += heap.get("size_in_bytes", 0)
    return total or None


def _apply_kfd(host: Host, gpu: dict[str, Any], name: str, node: dict[str, int]) -> None:
    per_unit = node.get("simd_per_cu") or 0
    gpu["simd_count"] = node.get("simd_count")
    gpu["cu_count"] = node.get("simd_count", 0) // per_unit if per_unit else None
    gpu["cwsr_size"] = node.get("cwsr_size")
    gpu["said"]["kfd"] = gfx_name(node["gfx_target_version"])
    if node.get("cpu_cores_count") and node.get("simd_count"):
        gpu["apu"] = True
    if gpu["pci_id"] is None and node.get("device_id"):
        gpu["pci_id"] = f"{node['device_id']:04x}"
    if gpu["vram_bytes"] is None:
        gpu["vram_bytes"] = _local_memory(host, name)
    if node.get("drm_render_minor", 0) > 0:  # differs between partitions of one device
        render = f"/dev/dri/renderD{node['drm_render_minor']}"
        if gpu["render_node"] not in (None, render):
            gpu["render_path"] = None  # the path by slot is that of the first partition
        gpu["render_node"] = render


def _ip_version(host: Host, path: str) -> tuple[int, int, int] | None:
    """Version of the graphics core in the GPU's own table; dies may leave theirs out."""
    for die in host.names(f"{path}/ip_discovery/die"):
        core = f"{path}/ip_discovery/die/{die}/GC/0"
        parts = [host.number(f"{core}/{part}") for part in ("major", "minor", "revision")]
        major, minor, revision = parts
        if major is not None and minor is not None and revision is not None:
            return major, minor, revision
    return None


def _partition(host: Host, path: str) -> dict[str, str | None] | None:
    """Modes of an accelerator that can be divided, for example SPX and NPS1."""
    compute = host.line(f"{path}/current_compute_partition")
    memory = host.line(f"{path}/current_memory_partition")
    return {"compute": compute, "memory": memory} if compute or memory else None


def _pci_gpu(host: Host, function: Function, paths: list[str]) -> dict[str, Any]:
    path = function.path
    gpu = empty()
    gpu.update(slot=function.slot, vendor=f"{AMD_GPU:04x}", driver=function.driver)
    gpu["class"] = f"{function.kind >> 8:04x}"
    for key, name, width in (("pci_id", "device", 4), ("revision", "revision", 2)):
        number = host.number(f"{path}/{name}", 16)
        gpu[key] = None if number is None else f"{number:0{width}x}"
    boot = host.line(f"{path}/boot_vga")
    gpu["boot_vga"] = None if boot is None else boot == "1"
    near = host.number(f"{path}/numa_node")
    gpu["numa_node"] = near if near is not None and near >= 0 else None
    gpu["name"] = host.line(f"{path}/product_name")
    for key in ("vram", "vis_vram", "gtt"):
        name = f"{key.replace('vis', 'visible')}_bytes"
        gpu[name] = host.number(f"{path}/mem_info_{key}_total")
    gpu["partition"] = _partition(host, path)
    if host.exists(f"{path}/uma/carveout_options"):
        gpu["apu"] = True
    for node in host.names(f"{path}/drm"):
        if re.match(r"renderD\d+$", node):
            gpu["render_node"] = f"/dev/dri/{node}"
        elif re.match(r"card\d+$", node):
            gpu["card_node"] = f"/dev/dri/{node}"
    by_path = f"pci-{function.slot}-render"
    if gpu["render_node"] and (by_path in paths or not paths):
        gpu["render_path"] = f"{BY_PATH}/{by_path}"
    version = _ip_version(host, path)
    if version:
        gpu["ip_version"] = "{}.{}.{}".format(*version)
        gpu["said"]["ip_discovery"] = gfx_of_ip(*version)
    gpu["firmware"] = loaded(host, path, function.slot, gpu["card_node"])
    gpu["mes_version"] = gpu["firmware"].get("mes")
    return gpu


def _name(host: Host, gpu: dict[str, Any]) -> None:
    """Take the most trusted gfx name and tell when a less trusted view says otherwise."""
    named = [(source, gfx) for source, gfx in gpu["said"].items() if gfx]
    gpu["source"], gpu["gfx"] = named[0] if named else ("pci", None)
    if len({gfx for _, gfx in named}) > 1:
        views = ", ".join(f"{source} says {gfx}" for source, gfx in named)
        host.notes.append(f"GPU {gpu['slot']}: {views}; {gpu['source']} is believed")
    if gpu["apu"] is None:
        gpu["apu"] = is_apu(gpu["gfx"], gpu["pci_id"])


def gpus(host: Host, functions: list[Function], pci_ids: dict[str, str]) -> list[dict[str, Any]]:
    """Every AMD GPU of the host, with or without a driver, in the order of the bus."""
    ids = {str(key).lower(): str(value) for key, value in pci_ids.items()}
    paths = host.names(BY_PATH)
    found: list[dict[str, Any]] = []
    by_slot: dict[str, dict[str, Any]] = {}
    for function in filter(is_gpu, functions):
        gpu = host.guarded(f"GPU {function.slot}", None, _pci_gpu, host, function, paths)
        if gpu:
            found.append(gpu)
            by_slot[function.slot] = gpu
    for name, node in _kfd_nodes(host):
        slot = slot_of(node)
        gpu = by_slot.get(slot or "")
        # Partitioned accelerators show several KFD nodes on one PCI address.
        if gpu is None or gpu["said"]["kfd"]:
            fresh = {**(gpu or empty()), "slot": slot, "vendor": f"{AMD_GPU:04x}"}
            fresh["said"] = {**fresh["said"], "kfd": None}
            found.append(fresh)
            gpu = by_slot.setdefault(slot, fresh) if slot else fresh
            gpu = fresh
        _apply_kfd(host, gpu, name, node)
    found.sort(key=lambda gpu: (gpu["slot"] is None, gpu["slot"]))
    for index, gpu in enumerate(found):
        gpu["index"] = index
        gpu["said"]["pci"] = ids.get(gpu["pci_id"] or "")
        _name(host, gpu)
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
    return [{**empty(), "gfx": declared, "simulated": True, "source": "declared"}]
