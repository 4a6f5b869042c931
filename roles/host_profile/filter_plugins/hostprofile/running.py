"""The kernel that runs now: which stream of the distribution made it, and is it good enough."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import hostfacts
from .gpus import product
from .versions import meets, number

Json = dict[str, Any]


def floors(rule: Json, distribution: Json, stream: str | None, boards: list[Json]) -> Json:
    """What a kernel of this stream has to be; no stream: a kernel that somebody else made.

    `boards` are the products of the serving GPUs: some need a newer kernel than their family.
    """
    for entry in rule.get("streams", []):
        if (entry["distribution"], entry["stream"]) == (distribution["id"], stream):
            plain = {"kind": distribution["version_kind"], "release": None, "proven": False}
            return plain | dict(entry)
    floor = str(rule["install_floor"])
    for board in boards:
        needed = board.get("kernel_floor")
        if needed and not meets(floor, str(needed), "upstream"):
            floor = str(needed)
    return {
        "kind": distribution["version_kind"] if stream else "upstream",
        "minimum": str(rule["minimum"]),
        "install_floor": floor,
        "release": None,
        "proven": False,
    }


def _package_version(facts: Json) -> str:
    """The package version of the running kernel; empty: it came without a package."""
    kernel = facts["kernel"]
    if kernel["running_package"].get("version"):
        return str(kernel["running_package"]["version"])
    for entry in kernel["installed"]:
        if isinstance(entry, Mapping) and entry.get("release") == kernel["running"]:
            return str(entry.get("version") or "")
    return ""


def stream_of(distribution: Json, release: str, version: str) -> str | None:
    """The stream that made a kernel, by its package version first, then by its name."""
    streams = distribution["kernel"]["streams"]
    for field, text in (("match_version", version), ("match_release", release)):
        for stream in streams:
            pattern = stream.get(field)
            if pattern and text and re.search(pattern, text):
                return str(stream["name"])
    return None


def release_is_older(host: Json, wanted: Json) -> bool:
    """Is the distribution's point release older than the one whose kernel has what is needed?

    A rebuild that names no point release (CentOS Stream) is ahead of all of them.
    """
    version = host["version_id"]
    return (
        bool(wanted["release"])
        and "." in version
        and not meets(version, wanted["release"], "upstream")
    )


def judge(
    facts: Json, catalog: Json, rule: Json, distribution: Json, serving: list[Json], dkms: bool
) -> Json:
    """release, version, stream, and state: good, unstable (between the floors), old or unknown."""
    release, package = facts["kernel"]["running"], _package_version(facts)
    stream = stream_of(distribution, release, package)
    boards = [product(gpu, catalog) for gpu in serving]
    wanted = floors(rule, distribution, stream, boards)
    if dkms and rule.get("with_dkms"):
        wanted |= {"minimum": rule["with_dkms"], "install_floor": rule["with_dkms"]}
    bare = re.match(r"\d+(\.\d+)*(-\d+(\.\d+)*)?", release)
    version = package if stream and package else (bare[0] if stream and bare else number(release))
    proven = hostfacts.proven(facts, serving)
    if not version:
        state = "unknown"
    elif release_is_older(facts["distribution"], wanted) and not proven:
        state = "old"
    elif proven or (
        meets(version, wanted["install_floor"], wanted["kind"]) and not wanted["proven"]
    ):
        state = "good"
    else:
        state = "unstable" if meets(version, wanted["minimum"], wanted["kind"]) else "old"
    return {
        "release": release or None,
        "version": version or None,
        "stream": stream,
        "kind": wanted["kind"],
        "floor": wanted["install_floor"],
        "state": state,
        "proven": proven,
    }
