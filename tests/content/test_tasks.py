"""Habits that every task keeps: they decide whether check mode and a second run can be trusted."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pytest

from tests.content.repo import ROOT, Task, argument_specs, task_files, tasks

OWN_MODULES = {path.stem for path in (ROOT / "roles").glob("*/library/*.py")}
FILE_MODULES = {f"ansible.builtin.{name}" for name in (
    "assemble", "blockinfile", "copy", "file", "get_url", "lineinfile", "replace", "template",
    "unarchive")}  # fmt: skip
EDITING_MODULES = {"ansible.builtin.lineinfile", "ansible.builtin.blockinfile",
                   "ansible.builtin.replace"}  # fmt: skip
COMMANDS = {f"ansible.builtin.{name}" for name in ("command", "shell", "raw", "script")}

# Variables that Ansible itself defines for connections, loops and runs: not facts.
MAGIC = re.compile(
    r"ansible_(facts|check_mode|diff_mode|verbosity|version|limit|forks|search_path|managed|"
    r"connection|host|user|port|password|remote_tmp|python_interpreter|become\w*|ssh_\w+|"
    r"loop\w*|index_var|play_\w+|role_names|role_name|parent_role_\w+|dependent_role_names|"
    r"run_tags|skip_tags|inventory_sources|config_file|failed_task|failed_result|stats|"
    r"playbook_python|collection_name|module_utils|core|runner|builtin|date_time_unused|playbook)\b"
)
WORD = re.compile(r"(?<![\w./'-])ansible_\w+")
ALL_TASKS = tasks()


def offenders(bad: list[Task]) -> list[str]:
    return [str(task) for task in bad]


def test_there_is_something_to_look_at() -> None:
    assert len(ALL_TASKS) > 50


def test_modules_are_ours_or_builtin_and_fully_named() -> None:
    bad = [
        task
        for task in ALL_TASKS
        if task.module
        and not task.module.startswith("ansible.builtin.")
        and task.module not in OWN_MODULES
    ]
    assert offenders(bad) == []


def test_every_file_has_its_mode_and_owner() -> None:
    bad = [
        task
        for task in ALL_TASKS
        if task.module in FILE_MODULES
        and task.arguments.get("state") not in ("absent", "link")
        and not {"mode", "owner"} <= task.arguments.keys()
    ]
    assert offenders(bad) == []


def test_modes_are_quoted_octal_text() -> None:
    bad = [
        task
        for task in ALL_TASKS
        if task.module in FILE_MODULES and not isinstance(task.arguments.get("mode", ""), str)
    ]
    assert offenders(bad) == []


def test_no_file_of_the_distribution_is_edited() -> None:
    assert offenders([task for task in ALL_TASKS if task.module in EDITING_MODULES]) == []


def test_commands_say_whether_they_change_something() -> None:
    bad = [
        task for task in ALL_TASKS if task.module in COMMANDS and "changed_when" not in task.body
    ]
    assert offenders(bad) == []


def test_no_error_is_ignored() -> None:
    assert offenders([task for task in ALL_TASKS if "ignore_errors" in task.body]) == []


def test_every_task_has_a_sentence_for_a_name() -> None:
    bad = [
        task
        for task in ALL_TASKS
        if (task.module or "block" in task.body)
        and not re.match(r"[A-Z].*[^.]$", str(task.body.get("name", "")))
        and "import_playbook" not in task.body
        and task.module != "ansible.builtin.import_playbook"
    ]
    assert offenders(bad) == []


def content_files() -> list[Path]:
    templates = (ROOT / "roles").glob("*/templates/**/*.j2")
    variables = (ROOT / "roles").glob("*/[dv]*/*.yml")
    return sorted([*task_files(), *templates, *variables])


@pytest.mark.parametrize(
    "path", content_files(), ids=lambda path: str(Path(path).relative_to(ROOT))
)
def test_facts_are_read_from_ansible_facts_only(path: Path) -> None:
    text = "\n".join(
        line.partition(" #")[0]
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    assert [word for word in WORD.findall(text) if not MAGIC.fullmatch(word)] == []


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "roles").glob("*/templates/**/*.j2")),
    ids=lambda path: str(Path(path).relative_to(ROOT)),
)
def test_templates_mirror_the_host_and_say_who_owns_the_file(path: Path) -> None:
    inside = path.relative_to(ROOT).parts[3:]
    role = path.relative_to(ROOT).parts[1]
    assert inside[0] in {"etc", "usr", "var", "opt"}
    head = path.read_text(encoding="utf-8")[:400]
    assert "Managed by stroke" in head or "managed_header" in head, role


@cache
def whole_numbers() -> frozenset[str]:
    """Variables that are whole numbers: `-e name=value` makes texts of them."""
    roles = (path.parents[1].name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    return frozenset(
        name
        for role in roles
        for entry in argument_specs(role).values()
        for name, option in (entry.get("options") or {}).items()
        if option.get("type") == "int"
    )


def reckons_with_text(expression: str, numbers: Collection[str]) -> list[str]:
    """Numbers that are reckoned with and not made numbers first."""
    names = [name for name in re.findall(r"\b[a-z]\w*", expression) if name in numbers]
    if not names or not re.search(r" [-+*/<>] | [<>]= |\brange\(|\| *(max|min)\b", expression):
        return []
    return [name for name in names if not re.search(rf"\b{name} *\| *int\b", expression)]


def test_reckoning_with_a_text_is_found() -> None:
    assert reckons_with_text("2 * seconds + 1", {"seconds"}) == ["seconds"]
    assert reckons_with_text("2 * seconds | int + 1", {"seconds"}) == []
    assert reckons_with_text("seconds", {"seconds"}) == []


@pytest.mark.parametrize("path", task_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_are_made_numbers_before_they_are_reckoned_with(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [
        f"{name} in {expression.strip()[:60]!r}"
        for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)
        for name in reckons_with_text(expression, whole_numbers())
    ]
    assert found == []
