"""The memory that models are served from, as an engine sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .gpus import memory_of, product

Json = dict[str, Any]
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Pool:
    """Bytes. `least` and `most`: what the engine may see of each GPU in total, by its driver."""

    kind: str  # ram or vram
    gpus: int
    least: int
    most: int
    ram: int
    reserve: int
    service: int
    limit: int
    carveout: int

    def told(self) -> Json:
        """As data, so that a profile can be worked on elsewhere."""
        return {name: getattr(self, name) for name in self.__slots__}


def of_host(memory: Json, rule: Json, serving: list[Json], catalog: Json, count: int = 0) -> Pool:
    """The pool of a profile's memory part; `count` GPUs of it, 0: all.

    The driver may count the carve-out to what it can take from the RAM, or not: both are allowed
    for. A board's size is a whole number of GiB, of which the driver tells a little less: what
    follows from it must be the same before and after the driver is loaded.
    """
    if rule["pool"] == "ram":
        limit, carveout = int(memory["gtt_bytes"]), int(memory["vram_bytes"])
        return Pool(
            "ram", 1, max(limit, carveout), limit + carveout, int(memory["total_bytes"]),
            int(memory["reserve_bytes"]), int(rule["service_gib"] * GIB), limit, carveout,
        )  # fmt: skip
    sizes = [math.ceil(memory_of(gpu, catalog) / GIB) * GIB for gpu in serving] or [0]
    board = min(sizes)
    gpus = count or len(sizes)
    return Pool("vram", gpus, board, board, int(memory["total_bytes"]), 0, 0, 0, 0)


def bandwidth(serving: list[Json], catalog: Json) -> float:
    """GB/s of the slowest of the serving GPUs, from the catalogue; 0: not known."""
    found = [product(gpu, catalog).get("bandwidth_gbs") or 0 for gpu in serving]
    return float(min(found, default=0))
