"""Data of the metrics role: package rules, unit files, and whose package the exporter is."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def metrics_rule(name: str) -> Json:
    """A package rule without a version."""
    return {"name": name}


def metrics_brought(packages: list[str], facts: Json) -> bool:
    """Is the exporter's package missing, or one that stroke installed? Then nobody else runs it."""
    record = facts["state"]["packages"].get("metrics") or {}
    ours = {*(record.get("added") or {}), *((record.get("open") or {}).get("planned") or [])}
    there = [name for name in packages if (facts["packages"].get(name) or {}).get("version")]
    return bool(packages) and ours.issuperset(there)


def metrics_items(files: list[Json], units: list[str], state: str) -> list[Json]:
    """Files (with their content) and units as items of the manifest."""
    common = {"role": "metrics", "stage": "serve"}
    items = [
        {**common, "kind": "file", "path": file["path"], "content": file["content"],
         "state": "absent" if state == "absent" else file.get("state", "present"),
         "mode": "0644", "owner": "root", "group": "root", "reason": file["reason"]}
        for file in files
    ]  # fmt: skip
    needs = [file["path"] for file in files]
    return items + [
        {**common, "kind": "unit", "name": unit, "state": state, "active": True, "needs": needs,
         "reason": "metrics of the GPUs for Prometheus"}
        for unit in units
    ]  # fmt: skip


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "metrics_rule": metrics_rule,
            "metrics_brought": metrics_brought,
            "metrics_items": metrics_items,
        }
