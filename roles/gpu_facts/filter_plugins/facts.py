"""Short views of a host's facts, for reports."""

from __future__ import annotations

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


def installed_packages(facts: Json) -> list[Json]:
    """What stroke installed or upgraded: role, name, version before (null: absent) and after."""
    kernels = {kernel["package"]: kernel["version"] for kernel in facts["kernel"]["installed"]}
    found = []
    for role, before in sorted(facts["state"]["packages"].items()):
        now = {name: (facts["packages"].get(name) or {}).get("version") for name in before}
        if role == "kernel":
            now |= kernels
        found += [
            {"role": role, "name": name, "before": before.get(name), "after": version}
            for name, version in sorted(now.items())
            if version and version != before.get(name)
        ]
    return found


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"facts_summary": facts_summary, "installed_packages": installed_packages}
