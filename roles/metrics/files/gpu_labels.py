#!/usr/bin/python3
# Managed by stroke (role metrics); changes are overwritten. Remove with: stroke remove
"""Write what node_exporter does not know of GPUs: which card and chip is which PCI slot.

gpu_labels.py SYSFS DIRECTORY writes DIRECTORY/stroke_gpu.prom, whole or not at all.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

AMD = "0x1002"
INFO = "One for each AMD GPU: its PCI slot, and the names that other metrics have for it."
LIMIT = "Memory that TTM lets all GPUs of the host map, in bytes (ttm.pages_limit)."


def text(path: Path) -> str:
    """The stripped content of a small file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def clean(name: str) -> str:
    """A name as node_exporter's hwmon collector writes it in its label `chip`."""
    return re.sub(r"[^a-z0-9:_]", "_", name.lower()).strip("_")


def gfx(sysfs: Path, render: str) -> str:
    """The compiler's name of the GPU behind a render node, from the KFD topology."""
    for node in sorted((sysfs / "class/kfd/kfd/topology/nodes").glob("*/properties")):
        values = dict(line.split(" ", 1) for line in text(node).splitlines() if " " in line)
        number = values.get("gfx_target_version", "0")
        if f"renderD{values.get('drm_render_minor')}" == render and int(number):
            version = int(number)
            return f"gfx{version // 10000}{version // 100 % 100}{version % 100:x}"
    return ""


def cards(sysfs: Path) -> list[dict[str, str]]:
    """Labels of every AMD GPU that has a driver, by PCI slot."""
    found = []
    for card in sorted((sysfs / "class/drm").glob("card*")):
        if not re.fullmatch(r"card\d+", card.name) or text(card / "device/vendor") != AMD:
            continue
        device = Path(os.path.realpath(card / "device"))
        render = next((path.name for path in sorted((device / "drm").glob("renderD*"))), "")
        found.append(
            {
                "slot": device.name,
                "card": card.name,
                "render": render,
                "chip": f"{clean(device.parent.name)}_{clean(device.name)}",
                "gfx": gfx(sysfs, render),
                "pci_id": text(device / "device").removeprefix("0x"),
                "product": text(device / "product_name"),
            }
        )
    return sorted(found, key=lambda labels: labels["slot"])


def quoted(value: str) -> str:
    """A label's value in the text format of Prometheus."""
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{value}"'


def page(sysfs: Path) -> str:
    """The metrics in the text format."""
    lines = [f"# HELP stroke_gpu_info {INFO}", "# TYPE stroke_gpu_info gauge"]
    for labels in cards(sysfs):
        words = ",".join(f"{name}={quoted(value)}" for name, value in labels.items())
        lines.append(f"stroke_gpu_info{{{words}}} 1")
    pages = text(sysfs / "module/ttm/parameters/pages_limit")
    pages = pages or text(sysfs / "module/amdttm/parameters/pages_limit")
    if pages.isdecimal():
        lines += [f"# HELP stroke_ttm_limit_bytes {LIMIT}", "# TYPE stroke_ttm_limit_bytes gauge"]
        lines.append(f"stroke_ttm_limit_bytes {int(pages) * os.sysconf('SC_PAGESIZE')}")
    return "\n".join(lines) + "\n"


def main(sysfs: str, directory: str) -> None:
    """Write the file that the textfile collector reads."""
    whole = Path(directory) / ".stroke_gpu.prom.new"
    whole.write_text(page(Path(sysfs)), encoding="utf-8")
    whole.chmod(0o644)
    whole.replace(Path(directory) / "stroke_gpu.prom")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
