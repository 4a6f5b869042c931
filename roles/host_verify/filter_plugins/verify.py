"""Hands the package `hostverify`, which judges what was collected from a host, to Ansible.

A check that needs the real device is `skipped (simulated)` on a host whose GPU is declared, never
passed. A check whose subject was never asked for (no value in the profile) is left out.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

Json = dict[str, Any]

PACKAGE = Path(__file__).with_name("hostverify")
NO_COMPLETION, DIFFERENCE = "STK-602", "STK-604"


def _part(name: str) -> ModuleType:
    """A module of the package beside this file: Ansible loads plugins by path, not by name."""
    if PACKAGE.name not in sys.modules:
        specification = importlib.util.spec_from_file_location(
            PACKAGE.name, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
        )
        if specification is None or specification.loader is None:
            raise ImportError(f"{PACKAGE} cannot be loaded")
        package = importlib.util.module_from_spec(specification)
        sys.modules[PACKAGE.name] = package
        specification.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE.name}.{name}")


_check = _part("check")
_collected = _part("collected")
_layers = _part("layers")


def verify_checks(evidence: Json) -> list[Json]:
    """Every check of every layer, in the order in which the layers build on each other."""
    checks: list[Json] = _layers.checks(evidence)
    return checks


def verify_failure(checks: list[Json]) -> str:
    """The failure message for the checks that did not hold; empty when all did."""
    failed = [check for check in checks if check["status"] == _check.FAILED]
    if not failed:
        return ""
    code = NO_COMPLETION if any(check["id"] == "V501" for check in failed) else DIFFERENCE
    what = "; ".join(f"{c['id']} {c['what']}: {c['detail']}" for c in failed)
    return f"{code}: {what}. Hint: {failed[0]['hint']}"


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "verify_checks": verify_checks,
            "verify_failure": verify_failure,
            "verify_services": _collected.services,
            "verify_seen": _collected.seen,
        }
