"""What a model may be estimated for: this machine, hosts of an inventory, or a GPU by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from . import role_code
from .errors import StrokeError

Json = dict[str, Any]
GIB = 1024**3
# RAM of an APU's machine when nobody says: what most of those have that serve models.
USUAL_RAM_GIB = 128
# Part of the installed memory that the kernel has left when it is up, and the usual carve-out.
LEFT = 0.98
CARVEOUT = GIB // 2


@dataclass(frozen=True, slots=True)
class Target:
    """A place to serve from: `pool` is the memory, `gfx` the entry of the catalogue."""

    name: str
    gfx: Mapping[str, Any]
    pool: Any
    bandwidth_gbs: float
    note: str = ""


def boards(known: Json, name: str) -> list[Json]:
    """Products that a name means, the best known and largest first."""
    word = name.strip().lower()
    device = word.removeprefix("1002:").removeprefix("0x")
    worded = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    products = [p for p in known["products"] if not p.get("virtual")]
    targets = {g["name"] for g in known["gfx"] if worded.search(str(g["product"]).lower())}
    tries = (
        [p for p in products if str(p["name"]).lower() == word],
        [p for p in products if word in (p["gfx"], p["pci_id"].lower()) or device == p["pci_id"]],
        [p for p in products if worded.search(str(p["name"]).lower())],
        [p for p in products if p["gfx"] in targets],
    )
    found = next((one for one in tries if one), [])
    return sorted(found, key=lambda p: (not p["bandwidth_gbs"], -(p["vram_gib"] or 0)))


def of_product(known: Json, board: Json, memory_gib: int | None, gpus: int) -> Target:
    """The target of one or several boards of a product in an ordinary machine."""
    gfx = next(entry for entry in known["gfx"] if entry["name"] == board["gfx"])
    rule = next(rule for rule in known["memory_rules"] if rule["id"] == gfx["memory_rule"])
    shared = rule["pool"] == "ram"
    if not shared and not (memory_gib or board["vram_gib"]):
        raise StrokeError(
            f"how much memory {board['name'] or board['gfx']} has is not in the catalogue",
            code="STK-438", hint="say it in GiB: --memory 16",
        )  # fmt: skip
    ram = (memory_gib or USUAL_RAM_GIB) * GIB
    vram = CARVEOUT if shared else (memory_gib or board["vram_gib"]) * GIB
    gpu = {
        "gfx": board["gfx"], "pci_id": board["pci_id"], "revision": board["revision"] or "",
        "vram_bytes": vram, "slot": "", "simulated": False,
    }  # fmt: skip
    facts = {"memory": {"total_bytes": int(ram * LEFT - CARVEOUT)}, "gpus": [gpu] * gpus}
    whole = role_code.decisions("hostprofile.hostfacts").complete(facts)
    found = role_code.decisions("hostprofile.findings").Findings({})
    budget = role_code.decisions("hostprofile.memory").budget
    pools = role_code.decisions("hostprofile.pool")
    memory = budget(whole, rule, whole["gpus"], known, found)
    if found.refusals:
        first = found.refusals[0]
        raise StrokeError(first["what"], code=first["code"], hint=first["hint"])
    size = f"{ram // GIB} GiB of RAM" if shared else f"{vram // GIB} GiB"
    many = f"{gpus} x " if gpus > 1 else ""
    note = (
        ""
        if memory_gib or not shared
        else f"{USUAL_RAM_GIB} GiB is a guess; say how much RAM the machine has with --memory GIB"
    )
    return Target(
        name=f"{many}{board['name'] or gfx['product']} ({board['gfx']}), {size}",
        gfx=gfx,
        pool=pools.of_host(memory, rule, whole["gpus"], known),
        bandwidth_gbs=float(board["bandwidth_gbs"] or 0),
        note=note,
    )


def of_name(known: Json, name: str, memory_gib: int | None, gpus: int) -> Target:
    """The target that `--gpu` names."""
    found = boards(known, name)
    if not found:
        raise StrokeError(
            f"the catalogue has no GPU {name}", code="STK-438",
            hint="names of GPUs: stroke catalog gfx, stroke catalog products",
        )  # fmt: skip
    _must_serve(known, found[0])
    return of_product(known, found[0], memory_gib, gpus)


def _must_serve(known: Json, board: Json) -> None:
    gfx = next(entry for entry in known["gfx"] if entry["name"] == board["gfx"])
    if not gfx.get("serves", True):
        raise StrokeError(
            f"{board['name'] or board['gfx']} serves no models: {gfx['not_serving']}",
            code="STK-438", hint="name another GPU: stroke catalog gfx",
        )  # fmt: skip


def everywhere(known: Json) -> list[Target]:
    """One target for each kind of GPU that serves, with its largest board."""
    targets = []
    for gfx in known["gfx"]:
        found = boards(known, gfx["name"]) if gfx.get("serves", True) else []
        # Not those whose memory nobody knows, or that have too little for any model.
        with suppress(StrokeError):
            targets += [of_product(known, board, None, 1) for board in found[:1]]
    return targets


def of_profile(known: Json, name: str, profile: Mapping[str, Any]) -> Target | None:
    """The target that a host's profile describes; None: no GPU that serves."""
    pool, gfx = profile.get("pool"), profile.get("gfx")
    entry = next((one for one in known["gfx"] if one["name"] == gfx), None)
    if not isinstance(pool, Mapping) or entry is None:
        return None
    kind = role_code.decisions("hostprofile.pool").Pool
    sizes = {key: value for key, value in pool.items() if key in kind.__slots__}
    many = f"{pool['gpus']} x " if int(pool["gpus"]) > 1 else ""
    simulated = " (simulated)" if profile.get("simulated") else ""
    return Target(
        name=f"{name}: {many}{profile.get('gpu_name') or gfx} ({gfx}){simulated}",
        gfx=entry,
        pool=kind(**sizes),
        bandwidth_gbs=float(pool.get("bandwidth_gbs") or 0),
    )
