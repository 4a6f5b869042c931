"""Variables of the playbooks themselves: what one of them asks for can be set."""

from __future__ import annotations

import re

from tests.content.repo import PLAYBOOKS, ROOT, argument_specs

# set_fact, register and vars: worked out by a playbook, not asked for.
MADE = re.compile(r"^\s*(?:register: (?=\w+$))?(stroke_[a-z_]+)(?::|$)", re.MULTILINE)
ASKED = re.compile(r"\b(stroke_[a-z_]+)(?= \| default\(| is (?:not )?defined)")
PASSED = re.compile(r"[\"'](stroke_[a-z_]+)[\"':=]|\b(stroke_[a-z_]+)=")


def test_what_a_playbook_asks_for_can_be_set() -> None:
    """A name without a specification is refused as unknown before the playbook can read it."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [*PLAYBOOKS, *sorted((ROOT / "playbooks/tasks").glob("*.yml"))]
    )
    asked = {*ASKED.findall(text)} - {*MADE.findall(text)}
    assert asked >= {"stroke_hosts", "stroke_bench_service", "stroke_cache_state"}
    assert asked - {*argument_specs("host_profile")["main"]["options"]} == set()


def test_what_the_command_line_passes_on_can_be_set() -> None:
    passed = {
        name
        for path in sorted((ROOT / "tool/stroke").glob("*.py"))
        for pair in PASSED.findall(path.read_text(encoding="utf-8"))
        for name in pair
        if name
    }
    assert passed >= {"stroke_wave", "stroke_bench_service", "stroke_remove_packages"}
    assert passed - {*argument_specs("host_profile")["main"]["options"]} == set()
