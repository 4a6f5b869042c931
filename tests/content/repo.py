"""What the content tests read: roles, playbooks and their tasks, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted([*(ROOT / "playbooks").glob("*.yml"), ROOT / "site.yml"])

BLOCKS = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
# What may stand beside a module in a task or play.
KEYWORD_TEXT = """
    any_errors_fatal args async become become_user changed_when check_mode collections connection
    debugger delay delegate_facts delegate_to diff environment failed_when gather_facts hosts
    ignore_errors ignore_unreachable import_playbook listen loop loop_control max_fail_percentage
    module_defaults name no_log notify order poll register retries roles run_once serial strategy
    tags throttle timeout until vars when
"""
KEYWORDS = {*KEYWORD_TEXT.split(), *BLOCKS}


class Loader(yaml.SafeLoader):
    """YAML with Ansible's own tags read as plain values."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


@dataclass(frozen=True)
class Task:
    path: Path
    body: dict[str, Any]

    @property
    def module(self) -> str | None:
        """The key that is no keyword; None for a block or a play."""
        names = [key for key in self.body if key not in KEYWORDS and not key.startswith("with_")]
        return str(names[0]) if names else None

    @property
    def arguments(self) -> dict[str, Any]:
        value = self.body.get(self.module or "")
        return value if isinstance(value, dict) else {}

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.body.get('name', self.module)}"


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506  # a safe loader


def task_files() -> list[Path]:
    found = [
        *(ROOT / "roles").glob("*/tasks/**/*.yml"),
        *(ROOT / "roles").glob("*/handlers/*.yml"),
        *(ROOT / "playbooks").rglob("tasks/*.yml"),
        *PLAYBOOKS,
    ]
    return sorted(found)


def walk(path: Path, entries: list[dict[str, Any]]) -> Iterator[Task]:
    for entry in entries:
        yield Task(path, entry)
        for key in BLOCKS:
            yield from walk(path, entry.get(key) or [])


def tasks() -> list[Task]:
    return [task for path in task_files() for task in walk(path, load(path) or [])]


def argument_specs(role: str) -> dict[str, Any]:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return dict(specs)


def defaults(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    return dict(load(path) or {}) if path.is_file() else {}


def templated(value: object) -> bool:
    """Worked out at run time, so no argument specification can state it."""
    return "{{" in str(value)
