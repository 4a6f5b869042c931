"""The catalogue, the roles and docs/errors.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stroke.errors import CATALOGUE, Exit, Problem, StrokeError, exit_of

from tests.unit.playing import ROOT

DOCS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (STK-\d{3}): (.+)$", DOCS, re.MULTILINE))
SOURCES = ("tool", "roles", "playbooks")


def used() -> dict[str, Path]:
    found = {}
    for top in SOURCES:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".py", ".yml", ".j2"):
                for code in re.findall(r"STK-\d{3}", path.read_text(encoding="utf-8")):
                    found[code] = path
    return found


def test_every_code_that_is_used_is_documented() -> None:
    unknown = {code: str(path) for code, path in used().items() if code not in SECTIONS}
    assert unknown == {}


def test_the_documented_codes_are_the_catalogue() -> None:
    assert {code: kind.title for code, kind in CATALOGUE.items()} == SECTIONS


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_section_explains_and_shows_it(code: str) -> None:
    section = DOCS.split(f"### {code}: ")[1].split("\n### ")[0].split("\n## ")[0]
    assert re.search(rf"^    {code}: \S", section, re.MULTILINE), "an example of the output"
    assert len(section.split("\n\n")[1]) > 60, "a sentence on what it means"


def test_the_table_of_exit_codes_agrees() -> None:
    rows = re.findall(r"^\| (\d+) \|[^|]*\|(.*)\|$", DOCS, re.MULTILINE)
    table = {int(number): re.findall(r"STK-(\d(?:\d\d|xx))", codes) for number, codes in rows}
    assert set(table) == {int(code) for code in Exit}
    for kind in CATALOGUE.values():
        number = kind.code.removeprefix("STK-")
        assert {number, f"{number[0]}xx"} & set(table[int(kind.exit)]), kind.code


def test_a_message_is_read_back() -> None:
    assert Problem.parse("STK-404: no room. Hint: make some") == Problem(
        "STK-404", "no room", "make some"
    )
    assert Problem.parse("STK-404: no hint here") == Problem("STK-404", "no hint here")
    assert Problem.parse("nothing of ours") is None


def test_an_error_knows_its_exit_code() -> None:
    assert StrokeError("x", code="STK-201").exit is Exit.UNREACHABLE
    assert exit_of("STK-000") is Exit.INTERNAL
