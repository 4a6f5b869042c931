"""Golden cases: a host in tests/cases/profile/<name>/facts.yml, its profile in expected.yml.

facts.yml has `base` (files of bases/, laid over each other), `facts` over them, `settings` of the
user, and `site`, a site's own catalogue. expected.yml is the profile in short, as told by
profile_cases.brief, besides `says`: words that occur among the reasons, refusals and warnings.
"""

from __future__ import annotations

import pytest

from tests.unit.profile_cases import CASES, brief, names, read, resolved, words


@pytest.mark.parametrize("name", names())
def test_the_profile_of(name: str) -> None:
    result = resolved(name)
    expected = read(CASES / name / "expected.yml")
    says = expected.pop("says")
    assert brief(result) == expected
    text = words(result)
    assert [word for word in says if word not in text] == []


@pytest.mark.parametrize("name", names())
def test_every_case_says_what_it_is(name: str) -> None:
    """A case is documentation: a sentence above the host, and a reason that is looked for."""
    text = (CASES / name / "facts.yml").read_text(encoding="utf-8")
    assert text.startswith("---\n# ")
    assert read(CASES / name / "expected.yml")["says"]


def test_there_are_enough_cases() -> None:
    assert len(names()) >= 80


def test_every_target_has_a_case() -> None:
    from tests.unit.test_catalog import SHIPPED

    told = {read(CASES / name / "expected.yml").get("gfx") for name in names()}
    serving = {gfx["name"] for gfx in SHIPPED["gfx"] if gfx.get("serves", True)}
    assert serving - told == set()


@pytest.mark.parametrize("name", names())
def test_every_value_has_a_reason_and_every_problem_a_way_out(name: str) -> None:
    result = resolved(name)
    for problem in [*result["refusals"], *result["warnings"]]:
        assert problem["code"].startswith("STK-")
        assert problem["what"]
        assert problem["hint"]
    for argument in result.get("boot", {}).get("args", []):
        assert result["reasons"]["boot.args." + argument.split("=")[0]]
    assert result["verdict_line"].startswith(result["verdict"])
    assert "\n" not in result["verdict_line"]
