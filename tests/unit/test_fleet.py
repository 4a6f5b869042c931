"""Waves on the command line: what is passed on, what was not started, and how it is taken up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from stroke import fleet, progress
from stroke.errors import StrokeError
from stroke.events import Event
from stroke.options import Options
from stroke.report import HostRun, Run

from tests.unit.playing import (
    ROOT,
    RecordedBackend,
    event,
    folded,
    home,  # noqa: F401  # a fixture
    published,
    stroke,
)

CHANGE = {"role": "gpu_access", "stage": "prepare", "kind": "user", "what": "stroke",
          "action": "create", "before": None, "after": "login"}  # fmt: skip
FAILED = {"msg": "STK-407: the package database is not clean. Hint: dpkg --configure -a"}


def planned(*names: str) -> list[Event]:
    found = [published(name, {"changes": [CHANGE], "facts": {}}) for name in names]
    return [*found, event("playbook_on_stats", "", stats={})]


def begins(name: str, role: str = "host_profile", task: str = "Check") -> Event:
    return event("runner_on_start", name, role=role, task=task)


def ok(name: str, role: str = "host_profile") -> Event:
    return event("runner_on_ok", name, role=role, task="Check")


def stopped_run() -> list[Event]:
    """box1 failed in its wave; box2 was asked by the first task of the next one only."""
    return [
        event("playbook_on_task_start", "", task=progress.NEW_WAVE),
        begins("box1", "", progress.NEW_WAVE), ok("box1", ""),
        begins("box1"), ok("box1"),
        event("runner_on_failed", "box1", role="preflight", task="Stop", result=FAILED),
        event("playbook_on_task_start", "", task=progress.NEW_WAVE),
        begins("box2", "", progress.NEW_WAVE), ok("box2", ""),
        event("playbook_on_stats", "", stats={"failures": {"box1": 1}}),
    ]  # fmt: skip


@pytest.fixture
def three(home: Path) -> RecordedBackend:  # noqa: F811
    (home / "hosts.ini").write_text("box1\nbox2\nbox3\n", encoding="utf-8")
    return RecordedBackend({"plan": planned("box1", "box2", "box3"), "site": stopped_run()})


def passed(job: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in job.extra_vars:
        found |= json.loads(setting) if setting.startswith("{") else {}
    return found


def test_hosts_of_waves_that_never_came_are_not_started(three: RecordedBackend) -> None:
    result = stroke(three, "provision", "hosts.ini", "--yes", "--json")
    report = json.loads(result.stdout)
    assert {host["name"]: host["status"] for host in report["hosts"]} == {
        "box1": "refused", "box2": "not started", "box3": "not started",
    }  # fmt: skip
    assert result.exit_code == 5, "of the host that was refused"
    assert [host["applied"] for host in report["hosts"]] == [True, False, False]


def test_the_defaults_are_one_canary_then_halves_and_no_failure(three: RecordedBackend) -> None:
    stroke(three, "provision", "hosts.ini", "--yes")
    assert passed(three.jobs[-1]).items() >= {
        "stroke_canary": "1", "stroke_wave": "50%", "stroke_max_failures": "0",
    }.items()  # fmt: skip


def test_what_is_asked_for_is_passed_on(three: RecordedBackend) -> None:
    words = ("--canary", "2", "--wave", "25%", "--max-failures", "10%")
    stroke(three, "provision", "hosts.ini", "--yes", *words)
    assert passed(three.jobs[-1]).items() >= {
        "stroke_canary": "2", "stroke_wave": "25%", "stroke_max_failures": "10%",
    }.items()  # fmt: skip


def test_one_host_has_no_waves(home: Path) -> None:  # noqa: F811
    found = RecordedBackend({"plan": planned("box1"), "site": []})
    stroke(found, "provision", "hosts.ini", "--yes")
    assert "stroke_wave" not in passed(found.jobs[-1])


@pytest.mark.parametrize("value", ["half", "-1", "200%", "1;id", "$(id)", "", "0", "0%", "00"])
def test_a_share_that_is_none_is_refused_at_once(three: RecordedBackend, value: str) -> None:
    result = stroke(three, "provision", "hosts.ini", "--yes", f"--wave={value}")
    assert (result.exit_code, three.jobs) == (2, [])
    assert "STK-643" in result.output


def test_the_next_command_is_named_and_works(three: RecordedBackend, home: Path) -> None:  # noqa: F811
    result = stroke(three, "provision", "hosts.ini", "--yes", "--wave", "1")
    names = home / "state" / "stroke" / "unfinished.hosts"
    assert f"stroke provision hosts.ini -l @{names} --wave 1" in result.output
    assert names.read_text(encoding="utf-8").split() == ["box1", "box2", "box3"]
    stroke(three, "provision", "--resume", "--yes")
    assert three.jobs[-2].limit == (f"@{names}",)
    assert [Path(source).name for source in three.jobs[-2].inventory] == ["hosts.ini"]


def test_nothing_to_resume_is_said(three: RecordedBackend) -> None:
    result = stroke(three, "provision", "hosts.ini", "--yes", "--resume")
    assert (result.exit_code, three.jobs) == (2, [])
    assert "STK-640" in result.output


def test_a_finished_run_leaves_nothing_to_resume(tmp_path: Path) -> None:
    kept = fleet.Unfinished(tmp_path)
    kept.write(["box1"], ["/hosts.ini"])
    assert kept.resume(Options(resume=True)).limit == (f"@{kept.names}",)
    kept.write([], [])
    assert list(tmp_path.iterdir()) == []


def test_resume_is_for_the_same_inventory(tmp_path: Path) -> None:
    kept = fleet.Unfinished(tmp_path)
    kept.write(["box1"], fleet.sources(("mine.ini",)))
    with pytest.raises(StrokeError, match="the unfinished run was on"):
        kept.resume(Options(hosts=("other.ini",), resume=True))


def test_many_hosts_are_limited_by_a_file(tmp_path: Path) -> None:
    names = [f"node-{number}" for number in range(10_000)]
    (word,) = fleet.limit(names, tmp_path)
    assert Path(word.removeprefix("@")).read_text(encoding="utf-8").split() == names
    assert fleet.limit(names[:2], tmp_path) == ("node-0", "node-1")


def test_the_display_counts_waves_and_who_has_not_begun() -> None:
    waves, run, lines = progress.Waves(3), folded(*stopped_run()), []
    for one in stopped_run():
        lines.append(waves.see(one))
    assert [line.plain for line in lines if line] == ["wave 1 begins", "wave 2 begins"]
    assert waves.said(run) == ", wave 2, 1 failed, 2 not started"


def test_the_first_task_of_a_wave_has_the_name_that_the_display_waits_for() -> None:
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/wave.yml").read_text(encoding="utf-8"))
    assert tasks[0]["name"] == progress.NEW_WAVE


def test_a_lock_that_was_taken_over_is_told() -> None:
    from stroke.results import details

    host = HostRun("box1", lock={"over": "alice@desk (run 1, pid 2) for 3 min: its run has ended"})
    (line,) = details(host, many=True)
    assert "box1 was taken from alice@desk" in str(line)


def test_ten_thousand_events_are_folded_in_no_time() -> None:
    """Time grows with the number of events, not with its square: 20 s would be a day before."""
    import time

    def seconds(number: int) -> float:
        began = time.process_time()
        folded(*(ok(f"node-{one}") for one in range(number)))
        return time.process_time() - began

    seconds(500)
    assert seconds(20_000) < 12 * seconds(5_000) + 0.5
    assert len(Run().hosts) == 0, "no run shares its hosts with another"
