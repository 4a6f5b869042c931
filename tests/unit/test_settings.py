"""What the user sets is checked before anything on a host is changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.plugins import ROLES, plugin

settings = plugin("host_profile", "settings")


def check(**variables: Any) -> dict[str, Any]:
    found: dict[str, Any] = settings.check_settings(variables, str(ROLES), ["stroke_manifest"])
    return found


def codes(found: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in found["problems"]]


def test_known_settings_pass_with_their_type() -> None:
    found = check(rocm_source="none", boot_params_gttsize="false", stroke_memory_gib="128")
    assert found == {
        "settings": {
            "rocm_source": "none",
            "boot_params_gttsize": False,
            "stroke_memory_gib": 128,
        },
        "problems": [],
    }


def test_other_peoples_variables_are_left_alone() -> None:
    found = check(ansible_host="x", kernel_modules_load=["a"], my_setting=1, stroke_manifest=[])
    assert found == {"settings": {}, "problems": []}


def test_a_misspelt_name_is_found_and_the_right_one_named() -> None:
    found = check(rocm_sorce="none")
    assert codes(found) == ["STK-301"]
    assert "rocm_source" in found["problems"][0]["hint"]
    assert codes(check(kernel_minumum="7")) == ["STK-301"]
    assert codes(check(boot_params_whatever=1)) == ["STK-301"]


@pytest.mark.parametrize(
    "variables",
    [
        {"rocm_source": "amd-nightly"},
        {"boot_params_gttsize": "perhaps"},
        {"stroke_memory_gib": "much"},
        {"boot_params_extra_args": {"a": 1}},
        {"rocm_packages": [{"minimum": "1"}]},
        {"rocm_packages": ["rocminfo"]},
    ],
)
def test_wrong_values_are_found(variables: dict[str, Any]) -> None:
    found = check(**variables)
    assert codes(found) == ["STK-302"]
    assert next(iter(variables)) in found["problems"][0]["what"]


def test_every_problem_is_reported_at_once() -> None:
    assert codes(check(rocm_sorce="x", boot_params_gttsize="x")) == ["STK-302", "STK-301"]
