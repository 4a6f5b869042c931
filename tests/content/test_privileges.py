"""Root on hosts alone, by the plays; services with bounds; on the controller never."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.content.repo import PLAYBOOKS, ROOT, load, tasks

UNITS = sorted((ROOT / "roles").glob("*/templates/etc/systemd/system/*.service.j2"))
# What every service has; each takes something away that no service of ours needs.
ALWAYS = ("ProtectSystem", "ProtectHome", "ProtectKernelModules", "LockPersonality")
# What a service has besides, unless it is root because it must change the host.
UNPRIVILEGED = ("DynamicUser", "CapabilityBoundingSet", "NoNewPrivileges", "PrivateDevices")
UNCONFINED = re.compile(r"^# Not confined: .{20,}", re.MULTILINE)
PAGE = (ROOT / "docs" / "privileges.md").read_text(encoding="utf-8")
LOCAL = ("localhost", "127.0.0.1")
WRITES = {"site", "remove", "resume", "cache"}


def settings(path: Path) -> dict[str, list[str]]:
    """The lines of a unit's template, those that it includes among them."""
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"{% include '([^']+)' %}", text):
        text += (path.parents[3] / name).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_there_are_units_to_look_at() -> None:
    assert len(UNITS) >= 4


@pytest.mark.parametrize("path", UNITS, ids=lambda path: Path(path).name)
def test_services_have_bounds_or_say_why_not(path: Path) -> None:
    if UNCONFINED.search(path.read_text(encoding="utf-8")):
        assert path.name == "stroke-resume.service.j2", "one unit provisions, and no other"
        return
    found = settings(path)
    assert [key for key in ALWAYS if found.get(key, ["no"])[-1] in ("no", "false", "")] == []
    if "stroke-watchdog" not in path.name:  # it restarts a unit, which is root's to do
        assert [key for key in UNPRIVILEGED if key not in found] == []
        assert "yes" in found["NoNewPrivileges"]


def test_only_plays_become_root_and_tasks_only_step_back() -> None:
    """A task that becomes another user, or root once more, hides where the privilege is.

    A hook of the operator's runs as root on the host, and as the operator on the controller.
    """
    either = "{{ service_drain_on == 'host' }}"
    wrong = [
        str(task)
        for task in tasks()
        if "hosts" not in task.body
        and (task.body.get("become", False) not in (False, either) or "become_user" in task.body)
    ]
    assert wrong == []


def test_what_runs_on_the_controller_does_not_become_root() -> None:
    wrong = [
        str(task)
        for task in tasks()
        if (task.body.get("delegate_to") in LOCAL or task.body.get("connection") == "local")
        and task.body.get("become") is not False
    ]
    assert wrong == []


def test_the_page_says_of_every_playbook_why_it_is_root_and_whether_it_changes() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \| .{8,} \|$", PAGE, re.MULTILINE))
    plays = {path.stem for path in PLAYBOOKS if path.parent != ROOT}
    assert rows == {name: "yes" if name in WRITES else "no" for name in plays}


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda p: p.stem)
def test_a_playbook_that_reads_uses_no_role_that_changes(path: Path) -> None:
    """Of roles that change hosts only what describes them: their manifests, and nothing else."""
    if path.stem in WRITES:
        return
    readers = {"gpu_facts", "host_profile", "host_verify", "host_bench", "preflight"}
    bodies = [
        body
        for task in tasks()
        if task.path == path or task.path.parent == ROOT / "playbooks" / "tasks"
        for body in [task.body.get("ansible.builtin.import_role")]
        if body and task.path.stem not in ("remove_packages", "choose", "lock", "unlock")
    ]
    # Of these `compose` writes on the controller.
    describing = ("manifest", "key", "plan", "compose", "query")
    changing = [body for body in bodies if body.get("tasks_from") not in describing]
    assert [body for body in changing if body["name"] not in readers] == []


def test_only_playbooks_that_change_take_the_lock() -> None:
    asking = [path.stem for path in PLAYBOOKS if "stroke_locks: true" in path.read_text()]
    assert set(asking) == {"site"}
    (include,) = [
        task for task in tasks() if task.body.get("ansible.builtin.include_tasks") == "lock.yml"
    ]
    assert include.body["when"].startswith("stroke_locks | default(false) and ")


def started(tree: ast.AST) -> list[str]:
    """First words of the commands that a module starts, as far as they are written down in it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.append(first.value)
    return found


def test_the_tool_starts_nothing_as_root() -> None:
    """Hints tell users to type sudo; the tool itself never does."""
    wrong = []
    for path in sorted((ROOT / "tool").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if {"sudo", "su", "pkexec", "doas", "runuser"} & {*started(ast.parse(text))}:
            wrong.append(path.name)
        if re.search(r"os\.(set(e|re|res)?[ug]id|setgroups)\b", text):
            wrong.append(path.name)
    assert wrong == []


def test_plays_that_are_root_are_the_playbooks_own() -> None:
    """Nobody's task file hides a play of its own."""
    for path in (ROOT / "roles").glob("*/tasks/**/*.yml"):
        assert not any("hosts" in entry for entry in load(path) or []), path
