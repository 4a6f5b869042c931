"""Verify judges by what the profile of a real-looking host says, not by numbers of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.profile_cases import CASES, over, profile_of, read, resolved
from tests.unit.test_verify import verify
from tests.unit.verify_host import GOOD

Json = dict[str, Any]


def checked(profile: Json, number: str) -> Json:
    """One check of the good host, with this profile as the one that was worked out again."""
    given = copy.deepcopy(GOOD)
    given["now"] = profile
    given["profile"]["kernel"] = profile["kernel"]
    found = {check["id"]: check for check in verify.verify_checks(given)}
    check: Json = found[number]
    return check


@pytest.mark.parametrize(
    ("case", "status"),
    [("strix-halo-ubuntu-24.04-oem-below", "failed"), ("strix-halo-ubuntu-24.04-oem", "passed"),
     ("strix-halo-ubuntu-24.04-hwe-one-before", "failed"),
     ("strix-halo-ubuntu-24.04-hwe-exact", "passed"),
     ("strix-halo-ubuntu-24.04-mainline-6.17.9", "failed")],
)  # fmt: skip
def test_the_running_kernel_is_judged_by_its_own_stream(case: str, status: str) -> None:
    """OEM 6.14.0-1018 is good though its number is below 6.18.4, and 6.14.0-1017 is not."""
    assert checked(resolved(case), "V101")["status"] == status


def test_a_minimum_of_the_user_counts_in_both_directions() -> None:
    case = read(CASES / "strix-halo-ubuntu-24.04-hwe-exact" / "facts.yml")
    higher = profile_of({**case, "settings": {"kernel_minimum": "99"}})
    assert higher["kernel"]["running"]["asked_met"] is False
    assert checked(higher, "V101")["status"] == "failed"
    assert resolved("strix-halo-ubuntu-24.04-hwe-exact")["kernel"]["running"]["asked_met"] is None


@pytest.mark.parametrize(
    ("version", "good"),
    [("20240318.git3b128b60-0ubuntu2.18", False), ("20240318.git3b128b60-0ubuntu2.19", True),
     (None, False)],
)  # fmt: skip
def test_firmware_is_compared_as_the_package_manager_does(version: str | None, good: bool) -> None:
    """The date is the same in both: only the distribution's revision tells them apart."""
    case = read(CASES / "strix-halo-ubuntu-24.04-hwe" / "facts.yml")
    package = {"packages": {"linux-firmware": {"version": version, "held": False}}}
    profile = profile_of(over(case, {"facts": package}))
    assert profile["firmware"]["good"] is good
    assert checked(profile, "V103")["status"] == ("passed" if good else "failed")


def test_a_firmware_package_that_is_known_to_be_bad_is_not_good() -> None:
    case = read(CASES / "strix-halo-ubuntu-26.04" / "facts.yml")
    name = resolved("strix-halo-ubuntu-26.04")["firmware"]["package"]
    package = {"packages": {name: {"version": "99991125.git1-0ubuntu1", "held": False}}}
    site = {"firmware_rules": [{"id": "rdna35", "deny": ["99991125"]}]}
    assert profile_of(over(case, {"facts": package}))["firmware"]["good"] is True
    assert profile_of({**over(case, {"facts": package}), "site": site})["firmware"]["good"] is False


def test_only_the_family_with_the_fault_is_asked_for_its_fixes() -> None:
    strix, instinct = resolved("strix-halo-ubuntu-24.04-hwe"), resolved("mi210-rocky-9")
    assert strix["kernel"]["proof"] == "cwsr_size" and strix["firmware"]["deny_loaded"] == [0x83]
    assert instinct["kernel"]["proof"] is None and instinct["firmware"]["deny_loaded"] == []
