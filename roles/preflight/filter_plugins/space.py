"""What a plan brings to a host, and the room that there is for it: for the reader of a plan."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# Filter plugins cannot import each other by name: Ansible loads each one from its path.
_preflight = runpy.run_path(os.fspath(Path(__file__).with_name("preflight.py")))
disk_needs: Callable[[Json, list[Json], int], list[Json]] = _preflight["disk_needs"]
kernel_needs: Callable[[Json, list[Json]], list[Json]] = _preflight["kernel_needs"]

BROUGHT = ("install", "upgrade", "downgrade", "load", "create", "change")


def _downloads(profile: Json, changes: list[Json]) -> list[Json]:
    """What comes over the network or from the controller; `bytes` is null where nobody knows."""
    coming = [change for change in changes if change["action"] in BROUGHT]
    found: list[Json] = []
    packages = [change for change in coming if change["kind"] == "package"]
    if packages:
        number = len(packages)
        what = f"{number} package{'s' if number > 1 else ''} and what they need"
        found.append({"what": what, "bytes": None, "why": "the package manager works it out"})
    engine = profile.get("engine") or {}
    archive = engine.get("image_archive")
    for change in coming:
        if change["kind"] != "image" or engine.get("kept"):
            continue
        if archive and Path(str(archive)).is_file():
            size = Path(str(archive)).stat().st_size
            found.append(
                {"what": f"image {change['what']}", "bytes": size, "why": "from an archive"}
            )
        else:
            found.append(
                {"what": f"image {change['what']}", "bytes": None, "why": "the registry knows"}
            )
    for entry in (profile.get("model") or {}).get("store") or []:
        name = str(entry["name"])
        if not any(c["role"] == "model_store" and str(c["what"]).endswith(name) for c in coming):
            continue
        source = Path(str(entry.get("source") or ""))
        known = source.is_file()
        found.append(
            {
                "what": f"model {name}",
                "bytes": source.stat().st_size if known else None,
                "why": "from a file" if known else "the model hub knows",
            }
        )
    return found


def plan_space(facts: Json, profile: Json, changes: list[Json]) -> Json:
    """`downloads`, and by file system what is free and what is needed of it."""
    if not changes:
        return {}
    factor = (profile.get("runtime") or {}).get("archive_factor") or 1
    needs = disk_needs(profile, changes, factor) if profile.get("engine") else []
    needs += kernel_needs(profile, changes)
    mounts: dict[str, Json] = {}
    for path, place in sorted(facts.get("filesystems", {}).items()):
        wanted = [need for need in needs if need["path"] == path and need["bytes"]]
        mount = mounts.setdefault(
            str(place["mount"]),
            {"mount": place["mount"], "free_bytes": place["free_bytes"], "needs": []},
        )
        mount["needs"] += [{"what": need["what"], "bytes": need["bytes"]} for need in wanted]
    return {"downloads": _downloads(profile, changes), "filesystems": list(mounts.values())}


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"plan_space": plan_space}
