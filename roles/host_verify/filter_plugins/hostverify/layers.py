"""All layers in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import access, exposure, memory, service, system
from .check import CHECKS, Judge

Json = dict[str, Any]


def _service(evidence: Json, one: Json, judge: Judge) -> Iterator[Json]:
    yield from memory.container(evidence, one, judge)
    yield from access.inside(evidence, one, judge)
    yield from service.unit(one, judge)
    yield from service.endpoint(one, judge)
    if one["seen"].get("container"):
        yield from exposure.reach(one, judge)
        yield from exposure.asked(one, judge)
        yield from exposure.devices(evidence, one, judge)
        yield from exposure.processes(one, judge)
        yield from exposure.mounts(evidence, one, judge)
    yield from exposure.launcher(evidence, one, judge)
    yield from exposure.elsewhere(evidence, one, judge)


def checks(evidence: Json) -> list[Json]:
    """Every check, by layer; with several services each names its own."""
    simulated = bool(evidence["profile"].get("simulated"))
    judge = Judge(simulated)
    found = [
        *system.drift(evidence, judge),
        *system.kernel_and_firmware(evidence, judge),
        *memory.command_line(evidence, judge),
        *memory.live(evidence, judge),
        *memory.driver(evidence, judge),
        *memory.configured(evidence, judge),
        *access.host(evidence, judge),
        *exposure.secrets(evidence, judge),
    ]
    several = len(evidence["services"]) > 1
    for one in evidence["services"]:
        found += _service(evidence, one, Judge(simulated, one["name"] if several else ""))
    found += memory.chain(evidence, found, judge)
    order = {number: place for place, number in enumerate(CHECKS)}
    return sorted(found, key=lambda check: order[check["id"]])
