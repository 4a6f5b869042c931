"""How much memory the GPU may use: one budget from RAM to the kernel's two limits."""

from __future__ import annotations

from typing import Any

from .findings import Findings, gib
from .gpus import memory_of

Json = dict[str, Any]
GIB = 1024**3
MIB = 1024**2


def _reserve(total: int, rule: Json) -> int:
    return max(int(rule["reserve_gib"] * GIB), int(total * rule["reserve_fraction"]))


def _limit(total: int, rule: Json) -> int:
    """What is left for the GPU, in whole steps; a step is a multiple of every page size."""
    step = max(1, int(rule["granularity_gib"])) * GIB
    rest = total - _reserve(total, rule) - int(rule["service_gib"] * GIB)
    return max(0, rest // step * step)


def _shared(facts: Json, rule: Json, carveout: int, found: Findings) -> Json:
    measured = facts["memory"]
    declared = measured["declared_bytes"]
    total = declared or measured["total_bytes"]
    page = measured["page_size"]
    reserve, limit = _reserve(total, rule), _limit(total, rule)
    pages, gttsize = limit // page, limit // MIB
    why = (
        f"{gib(limit)} of {gib(total)} {'declared RAM' if declared else 'RAM'}: "
        f"{gib(reserve)} kept for the system, "
        f"{rule['service_gib']} GiB for containers and page cache, "
        f"rounded down to {rule['granularity_gib']} GiB"
    )
    found.reasons["memory"] = why
    found.reasons["boot.args.ttm.pages_limit"] = f"{pages} pages of {page} bytes = {why}"
    found.reasons["boot.args.amdgpu.gttsize"] = (
        f"{gttsize} MiB, equal to ttm.pages_limit to the page"
    )
    serving = max(limit, carveout)
    if carveout > rule["carveout_gib"] * GIB:
        better = _limit(total + carveout, rule)
        found.reasons["memory.serving"] = (
            f"{gib(serving)}: the driver takes the larger of the carve-out ({gib(carveout)}) and "
            f"the GTT limit ({gib(limit)})"
        )
        found.warn(
            "STK-W02",
            f"the BIOS keeps {gib(carveout)} of the RAM for the GPU, so that the system has "
            f"{gib(total)} only",
            f"set the fixed GPU memory (UMA) in the BIOS to its smallest value, often 512 MB: "
            f"{gib(better)} are then for the GPU as it needs them",
        )
    if serving < rule["minimum_gib"] * GIB:
        found.refuse(
            "STK-412",
            f"{gib(total)} of RAM leave {gib(limit)} for the GPU, "
            f"less than the {rule['minimum_gib']} GiB that serving needs",
            "use a host with more RAM, or make the fixed GPU memory (UMA) in its BIOS smaller",
        )
    return {
        "total_bytes": total,
        "reserve_bytes": reserve,
        "gtt_bytes": limit,
        "pages": pages,
        "gttsize_mib": gttsize,
        "page_size": page,
        "vram_bytes": carveout,
        "serving_bytes": serving,
    }


def _own(facts: Json, rule: Json, serving: list[Json], catalog: Json, found: Findings) -> Json:
    measured = facts["memory"]
    total = measured["declared_bytes"] or measured["total_bytes"]
    sizes = [memory_of(gpu, catalog) for gpu in serving]
    known = sum(sizes)
    found.reasons["memory"] = (
        f"{gib(known)} on {'the GPU' if len(sizes) == 1 else f'{len(sizes)} GPUs'}; "
        "no GTT limit is set for a GPU with memory of its own"
        if known
        else "the GPU's memory is not known before its driver is loaded; no GTT limit is set"
    )
    if known and known < rule["minimum_gib"] * GIB:
        found.refuse(
            "STK-412",
            f"{gib(known)} of GPU memory are less than the {rule['minimum_gib']} GiB that "
            "serving needs",
            "use a GPU with more memory",
        )
    return {
        "total_bytes": total,
        "reserve_bytes": _reserve(total, rule),
        "gtt_bytes": None,
        "pages": None,
        "gttsize_mib": None,
        "page_size": measured["page_size"],
        "vram_bytes": known,
        "serving_bytes": known,
    }


def budget(facts: Json, rule: Json, serving: list[Json], catalog: Json, found: Findings) -> Json:
    """The memory part of a profile; sizes in bytes, gttsize in MiB, pages of page_size bytes."""
    if rule["pool"] == "vram":
        return _own(facts, rule, serving, catalog, found)
    real = [gpu for gpu in serving if not gpu["simulated"]]
    carveout = facts["memory"]["carveout_bytes"] or max((g["vram_bytes"] for g in real), default=0)
    return _shared(facts, rule, carveout, found)
