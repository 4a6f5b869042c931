"""Firmware that the GPU runs, the files on the disk, and who supplied them."""

from __future__ import annotations

import re
from typing import Any, Callable

from .files import Host
from .gfx import firmware_prefix

# Names as in fw_version/<name>_fw_version (linux amdgpu_ucode.c).
ENGINES = ("mes", "mes_kiq", "mec", "mec2", "sdma", "smc", "imu", "rlc", "sos", "vcn")
DEBUG = "/sys/kernel/debug/dri"
FOLDERS = ("/lib/firmware/updates/amdgpu", "/lib/firmware/amdgpu")
UPDATES = FOLDERS[0]
# The scheduler's file decides on RDNA3 and later, the compute engine's is on every GPU.
WANTED = re.compile(r"_(mes_2|mes1|mec)\.bin(\.(xz|zst|gz))?$")
SHOWN = 20


def _from_debugfs(host: Host, slot: str, card: str | None) -> dict[str, int]:
    """Versions on kernels before fw_version/ existed (6.6); root only."""
    index = re.search(r"\d+$", card or "")
    for name in (slot, index.group() if index else ""):
        path = f"{DEBUG}/{name}/amdgpu_firmware_info"
        if not name or not host.exists(path):
            continue
        lines = re.findall(
            r"^(\w+) feature version: \d+,.*?firmware version: (0x[0-9a-fA-F]{1,8})",
            host.text(path) or "",
            re.MULTILINE,
        )
        return {engine.lower().replace("sdma0", "sdma"): int(text, 16) for engine, text in lines}
    return {}


def loaded(host: Host, path: str, slot: str, card: str | None) -> dict[str, int | None]:
    """Versions by engine; the kernel writes 0 for an engine that the GPU does not have."""
    there = set(host.names(f"{path}/fw_version"))
    if there:
        found = {
            engine: host.number(f"{path}/fw_version/{engine}_fw_version", 16)
            for engine in ENGINES
            if f"{engine}_fw_version" in there
        }
    else:
        found = dict(_from_debugfs(host, slot, card))
    return {engine: found.get(engine) or None for engine in ENGINES}


def _speaker(gpus: list[dict[str, Any]]) -> dict[str, int | None]:
    """The GPU whose firmware stands for the host: one with a MES, else the largest."""
    known = [gpu for gpu in gpus if any(gpu["firmware"].values())]
    best = max(
        known, key=lambda gpu: (gpu["mes_version"] is not None, gpu["cu_count"] or 0), default=None
    )
    return dict(best["firmware"]) if best else dict.fromkeys(ENGINES)


def firmware(
    host: Host,
    gpus: list[dict[str, Any]],
    versions: dict[str, str],
    owners: Callable[[list[str]], dict[str, str | None]],
) -> dict[str, Any]:
    """`versions` are the installed packages, `owners` tells which package a file is from."""
    prefixes = tuple(
        {f"{prefix}_" for gpu in gpus if (prefix := firmware_prefix(gpu["gfx"], gpu["ip_version"]))}
    )
    names = {folder: host.names(folder) if gpus else [] for folder in FOLDERS}
    files = [
        f"{folder}/{name}"
        for folder in FOLDERS
        for name in names[folder]
        if prefixes and name.startswith(prefixes) and WANTED.search(name)
    ]
    updates = sorted(names[UPDATES], key=lambda name: (not name.startswith(prefixes), name))
    dkms = (version for name, version in versions.items() if re.match("amdgpu-dkms.*firm", name))
    return {
        "loaded": _speaker(gpus),
        "overrides": [f"{UPDATES}/{name}" for name in updates[:SHOWN]],
        "override_count": len(updates),
        "dkms_package": next(dkms, None),
        "suppliers": owners(files) if files else {},
    }
