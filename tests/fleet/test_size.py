"""Ten thousand hosts: what the command line itself takes for them, beside Ansible."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stroke.events import Event

from tests.unit.playing import RecordedBackend, event, home, published, stroke  # noqa: F401
from tests.unit.test_fleet import CHANGE, begins, ok

pytestmark = pytest.mark.container
NAMES = [f"node-{number:05d}" for number in range(10_000)]
FACTS = {"kernel": "7.2.12", "gpu": "gfx1151", "memory_bytes": 128 * 2**30}
STATE = {"groups": ["all"], "arguments": ["quiet"],
         "services": [{"name": "stroke-inference", "health": "serving"}]}  # fmt: skip
# Seconds of one slow core, and resident memory: ten times what was measured is a mistake.
SECONDS, MIB = 300, 1500


def reports(data: dict[str, Any]) -> Iterator[Event]:
    for name in NAMES:
        yield published(name, {"facts": FACTS, **data})
    yield event("playbook_on_stats", "", stats={})


def steps(number: int) -> Iterator[Event]:
    for _ in range(number):
        for name in NAMES:
            yield begins(name)
            yield ok(name)
    yield event("playbook_on_stats", "", stats={})


@pytest.mark.parametrize("command", ["provision", "status"])
def test_time_and_memory_for_ten_thousand_hosts(home: Path, command: str) -> None:  # noqa: F811
    found = RecordedBackend({
        "plan": reports({"changes": [CHANGE]}), "site": steps(3),
        "status": reports({"changes": [], "state": STATE}),
    })  # fmt: skip
    words = [command, "hosts.ini", *(["--yes"] if command == "provision" else [])]
    began = time.process_time()
    result = stroke(found, *words)
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{command} of {len(NAMES)} hosts: {seconds:.0f} s of one core, {memory} MiB")
    assert result.exit_code == 0
    assert f"{len(NAMES)} hosts" in result.output
    assert seconds < SECONDS and memory < MIB
    if command == "provision":
        assert found.jobs[-1].limit[0].startswith("@"), "too many for one argument"
