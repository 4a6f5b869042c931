"""The facts that the module gpu_facts collects from a directory, without Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu_host.files import Host

import tests.unit.trees  # noqa: F401  # makes the module's helpers importable

import gpu_facts  # isort: skip

DEFAULTS: dict[str, Any] = {
    "declared_gpu": None,
    "declared_memory_gib": None,
    "packages": [],
    "paths": [],
    "users": [],
    "pci_ids": {},
}
SCHEMA = {
    "schema", "distribution", "environment", "kernel", "memory", "gpus", "modules", "parameters",
    "devices", "groups", "packages", "apt", "boot", "filesystems", "container_runtime", "state",
    "users", "notes", "unreadable", "firmware", "arguments", "iommu", "npu", "dnf", "desktop",
    "package_manager",
}  # fmt: skip


def facts(root: Path, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = gpu_facts.collect(Host(root), {**DEFAULTS, **params})
    return found
