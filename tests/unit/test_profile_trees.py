"""From files to verdict: every fixture host through gpu_facts, the catalogue and the profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.collected import facts
from tests.unit.plugins import ROLES, plugin
from tests.unit.trees import HOSTS, tree

profile = plugin("host_profile", "host_profile")
settings = plugin("host_profile", "settings")
CATALOG = profile.load_catalog(str(ROLES / "host_profile" / "files" / "catalog"))
NO_GPU = {"bare-debian13-vm", "container", "debian12", "forky", "no-amd-gpu"}


def verdict(name: str, place: Path) -> dict[str, Any]:
    found = facts(
        tree(name, place / "host"),
        pci_ids=settings.catalog_pci_ids(CATALOG),
        packages=settings.catalog_packages(CATALOG),
    )
    result: dict[str, Any] = profile.resolve(found, CATALOG, {})
    return result


@pytest.mark.parametrize("name", HOSTS)
def test_a_fixture_host_has_a_verdict(name: str, tmp_path: Path) -> None:
    result = verdict(name, tmp_path)
    codes = [refusal["code"] for refusal in result["refusals"]]
    assert ("STK-409" in codes) == (name in NO_GPU)
    assert all(problem["hint"] for problem in [*result["refusals"], *result["warnings"]])
    if "kernel" in result:
        assert result["kernel"]["running"]["state"] in ("good", "unstable", "old")


def test_a_board_without_a_driver_is_known_by_its_pci_id(tmp_path: Path) -> None:
    assert verdict("strix-halo-no-driver", tmp_path)["gfx"] == "gfx1151"
