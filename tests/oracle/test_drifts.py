"""The oracle of the manifest: what it calls clean is clean, what it reports is what is mended."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.containers import ROOT, Container
from tests.oracle.play import Played, play

pytestmark = pytest.mark.container
Json = dict[str, Any]
SITE = ROOT / "site.yml"
TABLE = ROOT / "tests" / "oracle" / "drifts.yml"
DRIFTS: list[Json] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
# What may go wrong with arguments that only a reboot can mend: they are reported here, and mended
# in tests/vm. Words to take away, words to add, the key and what is said of it.
COMMAND_LINES = {
    "an argument is missing": ("amd_iommu=off", "", "amd_iommu", "absent"),
    "an argument is there twice": (
        *("", "amd_iommu=off", "amd_iommu", "amd_iommu=off amd_iommu=off"),
    ),
    "an argument has another value": (
        *("amd_iommu=off", "amd_iommu=on", "amd_iommu", "amd_iommu=on"),
    ),
}


def said(changes: list[Json]) -> list[str]:
    return sorted(f"{c['role']} {c['action']} {c['what']}" for c in changes)


def site(host: Container, name: str, *words: str) -> Played:
    played = play(SITE, host.inventory, "--limit", name, *words)
    assert played.status == 0, played
    return played


def test_the_table_is_long_enough() -> None:
    assert len(DRIFTS) >= 25
    assert len({drift["drift"] for drift in DRIFTS}) == len(DRIFTS)


def test_a_clean_host_costs_one_module_run(host: Container, one: str) -> None:
    played = site(host, one)
    assert played.plan[one] == []
    assert played.roles[one] == []
    assert played.modules[one] == 1, played.tasks


def test_clean_means_that_every_role_in_full_changes_nothing(host: Container, one: str) -> None:
    played = site(host, one, "-e", "stroke_full=true")
    assert played.plan[one] == []
    assert played.changed == {}
    assert played.modules[one] > 20, "the roles did not run in full"


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: str(drift["drift"]))
def test_drift_is_reported_and_mended(host: Container, one: str, drift: Json) -> None:
    """What is left of one drift would be reported by the run after it, which is for the next."""
    if "package" in drift:
        host.package(*drift["package"])
    else:
        host.sh("set -eu\n" + drift["inject"])
    mending = site(host, one)
    assert said(mending.plan[one]) == sorted(drift["report"])
    if "before" in drift:
        assert drift["before"] in mending.plan[one][0]["before"]
    named = {line.split()[0] for line in drift["report"]}
    # A package that comes back in another version makes a state that was never proven before.
    changing = mending.changing_roles(one) | {"generation"}
    assert changing == named | {"generation"}, mending.changed


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_arguments_of_the_running_kernel_are_reported(host: Container, one: str, case: str) -> None:
    gone, added, key, before = COMMAND_LINES[case]
    words = [word for word in host.arguments if word != gone]
    try:
        host.boot([*words, *added.split()])
        played = play(ROOT / "playbooks" / "plan.yml", host.inventory, "--limit", one)
        assert said(played.plan[one]) == [f"boot_params reboot {key}"]
        assert played.plan[one][0]["before"] == before
    finally:
        host.boot(list(host.arguments))


def test_a_container_that_would_have_to_reboot_is_refused(host: Container, one: str) -> None:
    """Nobody's consent, no reboot: it has no boot loader that could take one back."""
    try:
        host.boot([word for word in host.arguments if word != "amd_iommu=off"])
        played = play(SITE, host.inventory, "--limit", one, "-e", "boot_guard_attended=false")
    finally:
        host.boot(list(host.arguments))
    assert played.status != 0
    assert "STK-420" in str(played)
    assert "it is a container: what runs it decides how it starts" in str(played)
    assert played.changed == {}


def test_after_all_that_every_role_in_full_changes_nothing(host: Container, one: str) -> None:
    played = site(host, one, "-e", "stroke_full=true")
    assert played.plan[one] == []
    assert played.changed == {}


def test_proof_alone_can_be_asked_for_on_a_converged_host(host: Container, one: str) -> None:
    played = site(host, one, "--tags", "verify")
    assert played.roles[one] == ["host_verify"]
    assert any("Read what the services are, may do and answer" in task for task in played.tasks)
