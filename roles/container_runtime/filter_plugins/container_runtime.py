"""Package rules of the container runtime as items of the manifest, and what of them is missing."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

PODMAN = "podman"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def runtime_items(packages: list[str], minimum: str) -> list[Json]:
    """The manifest's items: every package is wanted, Podman with a floor."""
    return [
        {
            "role": "container_runtime",
            "stage": "prepare",
            "kind": "package",
            "name": name,
            "minimum": minimum if name == PODMAN else None,
            "deny": [],
            "reason": (
                f"Quadlet, which makes the service's unit, came with Podman {minimum}"
                if name == PODMAN
                else "Podman runs and connects containers with it"
            ),
        }
        for name in packages
    ]


def runtime_missing(packages: list[str], facts: Json) -> list[str]:
    """Packages that are not installed."""
    return [name for name in packages if not (facts["packages"].get(name) or {}).get("version")]


def runtime_record(packages: list[str], facts: Json) -> Json:
    """Versions before stroke's first change; a package that was not looked up is not recorded."""
    earlier = facts["state"]["packages"].get("container_runtime") or {}
    return {
        name: facts["packages"][name].get("version")
        for name in packages
        if name in facts["packages"]
    } | earlier


def runtime_problem(answer: str, minimum: str) -> str:
    """Why this Podman (its answer to --version) is not good enough; empty when it is."""
    found = re.search(r"\d+(\.\d+)+", answer)
    if found and _version(found.group()) >= _version(minimum):
        return ""
    version = found.group() if found else "none"
    return (
        f"STK-401: the distribution's Podman is {version}, but Quadlet needs {minimum}. "
        "Hint: use a newer release of the distribution; stroke catalog lists them"
    )


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "runtime_items": runtime_items,
            "runtime_missing": runtime_missing,
            "runtime_record": runtime_record,
            "runtime_problem": runtime_problem,
        }
