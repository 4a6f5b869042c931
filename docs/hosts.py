"""The page hosts.md: what the profile says of every GPU target on every distribution.

Each row is what resolve() answers for a host of that kind: 128 GB for an APU, one board of the
target with its own memory otherwise, running the kernel that the distribution's stream has.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "roles" / "host_profile"
GIB = 1024**3
RAM = 128 * GIB

Json = dict[str, Any]

INTRODUCTION = """\
# Hosts

Every GPU target of the catalogue on every distribution: the verdict, the kernel package and the
oldest version of it that is accepted, the image that serves, and the reason. Made by
`docs/generate.py` from `roles/host_profile/files/catalog/`; `stroke catalog` shows its entries.

The rows are what `host_profile` decides for an ordinary host with one GPU: an APU with 128 GB of
RAM of which the BIOS keeps 512 MB, any other GPU with the memory of its largest board. Your host
may differ: `stroke plan` says what holds there. Nothing here was measured on AMD hardware; what
each value rests on, and how certain it is, stands in the catalogue.

| word | meaning |
|---|---|
| yes | supported: the kernel rules are met, and AMD tests this GPU on this distribution |
| warnings | works with warnings, which the reason names; most often: AMD does not test it there |
| no | refused, with the way out |
"""
WORDS = {"supported": "yes", "works with warnings": "warnings", "refused": "no"}


def first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value)


def columns(catalog: Json) -> list[tuple[str, Json, Json]]:
    """Name, facts and settings of every distribution, Ubuntu's stream by stream."""
    found = []
    for entry in catalog["distributions"]:
        match = entry["match"]
        facts = {
            "id": first(match["id"]),
            "version_id": newest_release(catalog, entry["id"]) or str(match.get("version", "")),
            "codename": first(match.get("codename", "")),
            "name": entry["name"],
        }
        streams = entry["kernel"]["streams"] if entry["id"].startswith("ubuntu") else []
        for stream in streams:
            name = f"{entry['name'].split(' LTS')[0]} {stream['name'].upper()}"
            found.append((name, facts, {"host_profile_kernel_stream": stream["name"]}))
        if not streams:
            found.append((entry["name"], facts, {}))
    return found


def newest_release(catalog: Json, distribution: str) -> str:
    """The newest point release that AMD's matrix names; empty: it names none."""
    named = [
        official["minimum"]
        for matrix in catalog["support_matrix"]
        for official in matrix["official"]
        if official["distribution"] == distribution and "minimum" in official
    ]
    return max(named, key=lambda release: [int(part) for part in release.split(".")], default="")


def board(catalog: Json, gfx: Json) -> Json:
    """One GPU of the target: the board with the most memory, known without a driver."""
    products = [p for p in catalog["products"] if p["gfx"] == gfx["name"] and not p.get("virtual")]
    best = max(products, key=lambda p: (p["vram_gib"] or 0, "kernel_floor" not in p))
    size = 512 * 1024**2 if gfx["apu"] else int((best["vram_gib"] or 0) * GIB)
    return {
        "gfx": gfx["name"], "pci_id": best["pci_id"], "revision": best["revision"] or "",
        "slot": "0000:03:00.0", "driver": "amdgpu", "vram_bytes": size,
    }  # fmt: skip


def cell(text: object) -> str:
    return str(text or "").replace("|", "\\|").replace("\n", " ")


def reason(result: Json) -> str:
    problems = result["refusals"] or result["warnings"]
    if result["refusals"]:
        return "; ".join(f"{p['what']} ({p['hint']})" for p in problems)
    return "; ".join([p["what"] for p in problems] or [str(result["reasons"]["kernel"])])


def row(title: str, result: Json) -> str:
    kernel, image = "", ""
    if result["verdict"] != "refused":
        package = next(iter(result["kernel"]["packages"]))
        kernel = f"`{package['name']}` ≥ {package['minimum']}"
        if result["kernel"]["suite"]:
            kernel += f" from {result['kernel']['suite']}"
        image = f"`{result['engine']['definition']['image'].split('/', 1)[1]}`"
    cells = (title, WORDS[result["verdict"]], kernel, image, reason(result))
    return "| " + " | ".join(cell(text) for text in cells) + " |"


def refused(catalog: Json) -> list[str]:
    """The distributions that are refused with any GPU."""
    parts = ["## Distributions that are refused, whatever the GPU\n"]
    parts += ["| distribution | verdict | reason | way out |", "|---|---|---|---|"]
    for entry in catalog["distribution_refusals"]:
        cells = (entry["name"], "no", entry["reason"], entry["hint"])
        parts.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return [*parts, ""]


def page() -> str:
    profile = runpy.run_path(str(PROFILE / "filter_plugins" / "host_profile.py"))
    catalog = profile["load_catalog"](str(PROFILE / "files" / "catalog"))
    places = columns(catalog)
    names = [name for name, _, _ in places]
    overview = [
        "| GPU | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    details = []
    for gfx in catalog["gfx"]:
        results = []
        for _, distribution, settings in places:
            host = {
                "distribution": distribution,
                "memory": {"total_bytes": RAM - GIB // 2, "page_size": 4096},
                "gpus": [board(catalog, gfx)],
            }
            results.append(profile["resolve"](host, catalog, settings))
        words = [WORDS[result["verdict"]] for result in results]
        overview.append(f"| {gfx['name']} | " + " | ".join(words) + " |")
        details.append(f"## {gfx['name']}: {gfx['product']}\n")
        details.append(f"{gfx['family']}, {gfx['kind']}. Source: {gfx['source']} "
                       f"({gfx['confidence']} confidence).\n")  # fmt: skip
        if not gfx.get("serves", True):
            details.append(f"Serves nowhere: {gfx['not_serving']}.\n")
            continue
        details += ["| distribution | verdict | kernel | image | reason |", "|---|---|---|---|---|"]
        details += [row(name, result) for name, result in zip(names, results, strict=True)]
        details.append("")
    return "\n".join([INTRODUCTION, *overview, "", *refused(catalog), *details])
