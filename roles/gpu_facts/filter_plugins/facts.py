"""Short views of a host's facts, for reports, and what of some paths is left on it."""

from __future__ import annotations

import fnmatch
from typing import Any

Json = dict[str, Any]


def facts_summary(facts: Json) -> Json:
    """The few facts that a report shows for each host."""
    gpu = facts["gpus"][0] if facts["gpus"] else {}
    memory = facts["memory"]
    return {
        "distribution": facts["distribution"].get("name"),
        "kernel": facts["kernel"]["running"],
        "gpu": gpu.get("gfx"),
        "memory_bytes": memory.get("declared_bytes") or memory["total_bytes"],
        "simulated": bool(gpu.get("simulated")),
        "virtualization": facts["environment"]["virtualization"],
    }


# Arguments that name a host's own disks, addresses or state: never alike.
OWN = ("BOOT_IMAGE", "initrd", "root", "resume", "resume_offset", "ip", "cryptdevice", "hostname",
       "systemd.machine_id", "zfs", "boot")  # fmt: skip
OWN_FAMILIES = ("rd.luks", "rd.lvm", "rd.md", "stroke.")


def alike_values(facts: Json, profile: Json, groups: list[str]) -> Json:
    """What hosts of the same groups and GPU should have in common, and who has the host now."""
    packages = facts["packages"]

    def version(name: str | None) -> str | None:
        found = packages.get(name) if name else None
        return f"{name} {found['version']}" if found and found.get("version") else None

    keys = [(word, word.partition("=")[0]) for word in facts["kernel"]["args"]]
    tools = (profile.get("rocm") or {}).get("packages") or [{}]
    return {
        "groups": sorted(groups),
        "arguments": [
            word for word, key in keys if key not in OWN and not key.startswith(OWN_FAMILIES)
        ],
        "versions": {
            "firmware": version((profile.get("firmware") or {}).get("package")),
            "rocm": version(tools[0].get("name") if isinstance(tools[0], dict) else None),
        },
        "lock": (facts["state"].get("lock") or {}).get("held"),
        "drained": "/var/lib/stroke/drained" in (facts.get("seen") or {}).get("paths", {}),
    }


def paths_left(paths: list[str], facts: Json) -> list[str]:
    """Those of some paths that may be on the host: all but what the look covered and did not find.

    A step for what was never there costs each host a round trip.
    """
    seen = facts.get("seen") or {}
    if not seen.get("paths"):
        return paths  # nothing was looked at, or the look failed

    def looked(path: str) -> bool:
        places = (pattern.rpartition("/") for pattern in seen["patterns"])
        folder, _, name = path.rpartition("/")
        return any(at == folder and fnmatch.fnmatchcase(name, last) for at, _, last in places)

    return [path for path in paths if path in seen["paths"] or not looked(path)]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "facts_summary": facts_summary,
            "alike_values": alike_values,
            "paths_left": paths_left,
        }
