"""Playbooks parse with their roles, and wire roles together without logic of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.content.repo import PLAYBOOKS, ROOT, load

ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
PLAYS = {
    path.stem: [play for play in load(path) if "hosts" in play]
    for path in PLAYBOOKS
    if path.parent != ROOT
}
STAGES = {"prepare", "reboot", "serve", "verify"}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: str(Path(path).relative_to(ROOT)))
def test_syntax(path: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("host-01\n", encoding="utf-8")
    run = subprocess.run(
        [ANSIBLE_PLAYBOOK, "--syntax-check", "--inventory", inventory, path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr
    assert "DEPRECATION" not in run.stderr


def test_the_playbooks_of_the_design_are_there() -> None:
    assert {"site", "plan", "inspect", "verify", "remove"} <= PLAYS.keys()


@pytest.mark.parametrize("name", sorted(PLAYS))
def test_plays_are_privileged_and_gather_nothing_by_themselves(name: str) -> None:
    for play in PLAYS[name]:
        assert play["gather_facts"] is False
        assert play["become"] is True
        assert "stroke_hosts" in play["hosts"]


def test_every_step_of_site_can_be_chosen_by_stage_and_by_role() -> None:
    for task in steps(PLAYS["site"]):
        tags = task.get("tags")
        role = task.get("ansible.builtin.import_role", {}).get("name")
        if "ansible.builtin.meta" in task or tags == ["always"] or "always" in (tags or []):
            continue
        assert tags, task["name"]
        assert set(tags) & STAGES, task["name"]
        assert role is None or role in tags, task["name"]


def steps(plays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for play in plays:
        for task in play.get("tasks", []):
            found += task.get("block", [task])
    return found


def test_roles_are_imported_so_that_list_tasks_shows_them() -> None:
    for name, plays in PLAYS.items():
        for task in steps(plays):
            assert "ansible.builtin.include_role" not in task, name
