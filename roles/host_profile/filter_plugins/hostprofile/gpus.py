"""Which of the host's GPUs serve, and why the others do not."""

from __future__ import annotations

from typing import Any

from .findings import Findings, gib

Json = dict[str, Any]

# Which kind of GPU serves where a host has several: memory of its own before shared memory.
RANK = {"instinct": 0, "discrete": 1, "apu": 2, "desktop-igpu": 3}


def product(gpu: Json, catalog: Json) -> Json:
    """The catalogue's product for PCI id and revision; empty: not in the catalogue."""
    same = [entry for entry in catalog["products"] if entry["pci_id"] == gpu["pci_id"].lower()]
    revision = gpu["revision"].lower().removeprefix("0x").zfill(2)
    exact = [e for e in same if e["revision"] and e["revision"].lower() == revision]
    return dict(next(iter(exact or [e for e in same if e["revision"] is None]), {}))


def memory_of(gpu: Json, catalog: Json) -> int:
    """Bytes of VRAM: what the driver says, else what the product has; 0: not known."""
    return int(gpu["vram_bytes"] or (product(gpu, catalog).get("vram_gib") or 0) * 1024**3)


def _label(gpu: Json) -> str:
    return str(gpu["gfx"] or f"PCI id 1002:{gpu['pci_id'] or 'None'}")


def _reason_not(gpu: Json, known: dict[str, Json]) -> str | None:
    """Why this GPU cannot serve whatever else is in the host."""
    if gpu["gfx"] not in known:
        return "not in the catalogue"
    if gpu["driver"] == "vfio-pci":
        return "bound to vfio-pci: a virtual machine has it"
    if not known[gpu["gfx"]].get("serves", True):
        return str(known[gpu["gfx"]]["not_serving"])
    return None


def _refuse(facts: Json, known: dict[str, Json], found: Findings) -> None:
    seen = ", ".join(
        _label(gpu) + (f" ({why})" if gpu["gfx"] in known and why else "")
        for gpu in facts["gpus"]
        for why in [_reason_not(gpu, known)]
    )
    targets = sorted(name for name, entry in known.items() if entry.get("serves", True))
    found.refuse(
        "STK-409",
        f"no AMD GPU that stroke knows ({'found ' + seen if seen else 'found no AMD GPU'})",
        "known targets: "
        + ", ".join(targets)
        + "; to try stroke on a host without a GPU set stroke_gpu in the inventory (simulated)",
    )


def choose_gpus(facts: Json, catalog: Json, found: Findings) -> tuple[Json, list[Json]] | None:
    """The target to serve with, and the GPUs that are of it; refused where there is none."""
    known = {entry["name"]: entry for entry in catalog["gfx"]}
    fit = [gpu for gpu in facts["gpus"] if _reason_not(gpu, known) is None]
    wanted = found.settings.get("host_profile_gfx")
    if wanted and wanted not in {gpu["gfx"] for gpu in fit}:
        have = ", ".join(sorted({gpu["gfx"] for gpu in fit})) or "none"
        found.refuse(
            "STK-303",
            f"host_profile_gfx: {wanted} is no GPU of this host that can serve (it has {have})",
            "leave host_profile_gfx out, or name one that the host has",
        )
        return None
    if not fit:
        _refuse(facts, known, found)
        return None

    def preference(name: str) -> tuple[int, int]:
        group = [gpu for gpu in fit if gpu["gfx"] == name]
        size = sum(memory_of(gpu, catalog) for gpu in group)
        return (RANK[known[name]["kind"]], -size)

    names = list(dict.fromkeys(gpu["gfx"] for gpu in fit))
    chosen = wanted or min(names, key=preference)
    serving = [gpu for gpu in fit if gpu["gfx"] == chosen]
    excluded = []
    for gpu in facts["gpus"]:
        if gpu in serving:
            continue
        why = _reason_not(gpu, known) or (
            f"of another kind than {chosen}, which serves: one model takes GPUs of one kind"
        )
        excluded.append({"slot": gpu["slot"] or None, "gfx": gpu["gfx"] or None, "reason": why})
    gfx = dict(known[chosen])
    first = product(serving[0], catalog)
    found.values["gpu_name"] = serving[0]["name"] or first.get("name") or gfx["product"]
    found.values["simulated"] = serving[0]["simulated"]
    found.values["serving_gpus"] = [gpu["slot"] for gpu in serving if gpu["slot"]]
    found.values["excluded_gpus"] = excluded
    count = f"{len(serving)}x " if len(serving) > 1 else ""
    size = sum(memory_of(gpu, catalog) for gpu in serving)
    found.reasons["gpus"] = (
        f"{count}{found.values['gpu_name']} ({chosen})"
        + (f" with {gib(size)} of its own" if size and not gfx["apu"] else "")
        + "".join(f"; not {_label(g)}: {g['reason']}" for g in _worded(excluded))
    )
    return gfx, serving


def _worded(excluded: list[Json]) -> list[Json]:
    return [{"gfx": g["gfx"], "pci_id": g["slot"] or "", "reason": g["reason"]} for g in excluded]
