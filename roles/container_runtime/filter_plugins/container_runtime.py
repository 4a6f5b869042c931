"""Package rules of the container runtime, and why they are wanted."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PODMAN = "podman"


def runtime_rules(packages: list[str], minimum: str) -> list[Json]:
    """Every package is wanted, Podman with a floor."""
    return [{"name": name} | ({"minimum": minimum} if name == PODMAN else {}) for name in packages]


def runtime_reasons(minimum: str) -> Json:
    """The reason for Podman's floor, and the one for all that comes with it."""
    return {
        PODMAN: f"Quadlet, which makes the service's unit, came with Podman {minimum}",
        "container_runtime": "the services' containers are run and connected with it",
    }


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"runtime_rules": runtime_rules, "runtime_reasons": runtime_reasons}
