"""docs/doctor.md and the codes of doctor say the same."""

from __future__ import annotations

import re

import pytest
from stroke.doctor_finding import KINDS

from tests.unit.playing import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (STK-D\d\d): (.+)$", PAGE, re.MULTILINE))


def test_the_documented_codes_are_those_of_the_program() -> None:
    assert {code: kind.title for code, kind in KINDS.items()} == SECTIONS


@pytest.mark.parametrize("code", sorted(KINDS))
def test_a_section_states_the_severity_and_explains(code: str) -> None:
    section = PAGE.split(f"### {code}: ")[1].split("\n##")[0].split("\n\n")[1]
    assert section.startswith(f"*{KINDS[code].severity}.* ")
    assert len(section) > 50


def test_every_code_is_used_and_no_other() -> None:
    sources = (ROOT / "tool" / "stroke").glob("doctor*.py")
    used = {
        code
        for path in sources
        if path.name != "doctor_finding.py"
        for code in re.findall(r"STK-D\d\d", path.read_text(encoding="utf-8"))
    }
    assert used == set(KINDS)
