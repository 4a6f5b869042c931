"""Run a playbook and tell from its events what was reported, changed and asked of each host."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

from tests.containers import BIN, ROOT

Json = dict[str, Any]
# Actions that end on the controller: they cost no module run on a host.
LOCAL = {"set_fact", "set_stats", "debug", "meta", "fail", "assert", "include_tasks",
         "import_tasks", "include_role", "import_role", "validate_argument_spec"}  # fmt: skip
ENDED = ("runner_on_ok", "runner_on_failed", "runner_item_on_ok", "runner_item_on_failed")


@dataclass
class Played:
    """What one run of a playbook did, host by host."""

    status: int = 0
    plan: dict[str, list[Json]] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    modules: Counter[str] = field(default_factory=Counter)
    tasks: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)

    def event(self, raw: Json) -> bool:
        self.output.append(str(raw.get("stdout", "")))
        if raw.get("event") not in ENDED:
            return False
        data = raw["event_data"]
        host, result = data["host"], data.get("res") or {}
        action = str(data.get("resolved_action") or data.get("task_action")).rpartition(".")[2]
        whole = not raw["event"].startswith("runner_item")
        if action not in LOCAL and not (whole and "results" in result):
            self.modules[host] += 1
            self.tasks.append(f"{host}: {data['task']}")
        if whole and result.get("changed"):
            self.changed.setdefault(host, []).append(f"{data.get('role', '')}: {data['task']}")
        published = ((result.get("ansible_stats") or {}).get("data") or {}).get("stroke") or {}
        for name, report in published.items():
            if "changes" in report:
                self.plan[name] = report["changes"]
        facts = result.get("ansible_facts") or {}
        if "stroke_roles" in facts:
            self.roles[host] = facts["stroke_roles"]
        return False

    def changing_roles(self, host: str) -> set[str]:
        """The internal role of packages works for the one that its task names."""
        entries = [entry.partition(": ") for entry in self.changed.get(host, [])]
        return {
            task.rpartition(" of the role ")[2] if role == "packages" else role
            for role, _, task in entries
        }

    def __str__(self) -> str:
        return "\n".join(line for line in self.output if line.strip())[-6000:]


def play(playbook: Path, inventory: Path, *words: str) -> Played:
    """Run with the repository's own configuration, as `ansible-playbook` does in a checkout."""
    played = Played()
    environment = {
        "ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": os.fspath(ROOT / "roles"),
        "ANSIBLE_NOCOLOR": "1",
    }
    with tempfile.TemporaryDirectory() as private:
        result = ansible_runner.run(
            private_data_dir=private, project_dir=os.fspath(ROOT),
            binary=os.fspath(BIN / "ansible-playbook"),
            cmdline=" ".join([os.fspath(playbook), "-i", os.fspath(inventory), *words]),
            envvars=environment, quiet=True, event_handler=played.event,
            suppress_env_files=True,
        )  # fmt: skip
    played.status = int(result.rc)
    return played
