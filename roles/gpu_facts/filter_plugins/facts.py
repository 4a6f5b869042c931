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


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"facts_summary": facts_summary}
