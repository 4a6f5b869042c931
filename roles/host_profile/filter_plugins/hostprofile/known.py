"""Combinations of hardware, kernel and settings that are known to be bad."""

from __future__ import annotations

import re
from typing import Any

from . import hostfacts
from .findings import Findings
from .versions import number, within

Json = dict[str, Any]


def warn_of_known(facts: Json, catalog: Json, gfx: Json, profile: Json, found: Findings) -> None:
    """A warning for each known problem that fits the host as it is going to be.

    Rules about the running kernel count only where that kernel stays, which is when it is good.
    """
    running = profile["kernel"]["running"]
    stays = running["state"] == "good"
    release = running["release"] or ""
    image_rocm = (profile.get("engine") or {}).get("image_rocm") or ""
    for problem in catalog["known_problems"]:
        when = problem["when"]
        if problem["severity"] != "warning":
            continue
        if ("kernel_from" in when or "kernel_below" in when) and not (
            stays and within(number(release), when.get("kernel_from"), when.get("kernel_below"))
        ):
            continue
        if "release" in when and not (stays and re.search(when["release"], release)):
            continue
        if "argument" in when and when["argument"] not in facts["kernel"]["args"]:
            continue
        if when.get("proven") and not running["proven"]:
            continue
        if "driver" in when and hostfacts.driver_flavour(facts) != when["driver"]:
            continue
        if gfx["name"] not in when.get("gfx", [gfx["name"]]):
            continue
        if gfx["kind"] not in when.get("kind", [gfx["kind"]]):
            continue
        if profile["gpu_count"] < when.get("gpus_minimum", 1):
            continue
        if "image_rocm" in when and not re.search(when["image_rocm"], image_rocm):
            continue
        found.warn("STK-W08", problem["what"], f"{problem['hint']} ({problem['source']})")
