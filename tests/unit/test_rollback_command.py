"""`stroke rollback`: what it plays, asks, shows and says at the end."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from stroke import rollback
from stroke.report import HostRun

from tests.unit.playing import ROOT, RecordedBackend, backend, event, home, only, published, stroke

pytestmark = pytest.mark.usefixtures("home")
__all__ = ["home"]
Json = dict[str, Any]
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
PLAN = {"number": 3, "at": "2026-11-21T10:00:00Z", "parts": ["kernel"]}
CHANGE = {"role": "boot_params", "stage": "reboot", "kind": "kernel_arg", "what": "amd_iommu",
          "action": "reboot", "before": "amd_iommu=off", "after": "absent",
          "reason": "x"}  # fmt: skip


def planned(host: str = "box1", **generation: Any) -> list[Any]:
    told = {"profile": {"verdict": "supported", "generation": PLAN | generation},
            "changes": [CHANGE], "facts": {"kernel": "7.2.12"}}  # fmt: skip
    return [event("runner_on_start", host), published(host, told), event("playbook_on_stats")]


def applied(host: str = "box1", **generation: Any) -> list[Any]:
    told = {"profile": {"generation": PLAN | generation}, "facts": {"kernel": "6.17.1"}}
    return [event("runner_on_start", host, role="boot_params"),
            event("runner_on_ok", host, role="boot_params"), published(host, told),
            event("playbook_on_stats")]  # fmt: skip


def chosen(found: RecordedBackend) -> list[Json]:
    return [json.loads(job.extra_vars[-1]) if job.playbook.stem == "plan" else
            next(json.loads(word) for word in job.extra_vars if "stroke_generation" in word)
            for job in found.jobs]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "generation"), [((), "previous"), (("--to", "3"), "3"), (("--to", "12"), "12")]
)
def test_it_plans_and_applies_with_that_generation(words: tuple[str, ...], generation: str) -> None:
    found = backend(plan=planned(), site=applied())
    result = stroke(found, "rollback", "hosts.ini", "--yes", *words)
    assert [job.playbook.stem for job in found.jobs] == ["plan", "site"]
    assert chosen(found) == [{"stroke_generation": generation}] * 2
    assert result.exit_code == 0, result.stderr
    assert "back to generation 3 of 2026-11-21" in result.stderr
    assert "stroke_generation: 3" in result.stderr and "goes forward again" in result.stderr


def test_what_was_asked_for_has_the_last_word_over_the_inventory_and_options() -> None:
    found = backend(plan=planned(), site=applied())
    stroke(found, "rollback", "hosts.ini", "--yes", "--to", "3", "-e", "stroke_generation=5")
    for job in found.jobs:
        words = list(job.extra_vars)
        assert words.index("stroke_generation=5") < words.index('{"stroke_generation": "3"}')


def test_it_asks_first_and_names_the_same_command_again() -> None:
    found = backend(plan=planned())
    result = stroke(found, "rollback", "hosts.ini", "--to", "3", "--wave", "2")
    assert [job.playbook.stem for job in found.jobs] == ["plan"]
    assert result.exit_code == 2
    assert "stroke rollback hosts.ini --to 3 --wave 2 --yes" in result.stderr


def test_check_changes_nothing_and_says_nothing_of_staying() -> None:
    found = backend(plan=planned(), site=applied())
    result = stroke(found, "rollback", "hosts.ini", "--check")
    assert [(job.playbook.stem, job.check) for job in found.jobs] == [
        ("plan", False), ("site", True)]  # fmt: skip
    assert "stroke_generation:" not in result.stderr


def test_hosts_at_different_generations_are_not_given_one_number() -> None:
    both = [*planned()[:-1], *planned("box2", number=7)]
    done = [*applied()[:-1], *applied("box2", number=7)]
    result = stroke(backend(plan=both, site=done), "rollback", "hosts.ini", "--yes")
    assert "stroke_generation: N" in result.stderr


def test_a_host_that_is_there_already_is_left_alone() -> None:
    told = {"profile": {"generation": PLAN}, "changes": []}
    there = [event("runner_on_start"), published("box1", told), event("playbook_on_stats")]
    found = backend(plan=there)
    result = stroke(found, "rollback", "hosts.ini", "--yes", "--to", "3")
    assert [job.playbook.stem for job in found.jobs] == ["plan"]
    assert result.exit_code == 0 and "back to generation 3" in result.stdout


@pytest.mark.parametrize("code", ["STK-450", "STK-451", "STK-453", "STK-454", "STK-455", "STK-456"])
def test_what_cannot_be_gone_back_to_ends_before_the_first_change(code: str) -> None:
    problem = {"code": code, "what": "not there", "hint": "stroke rollback --list"}
    refused = [
        event("runner_on_start"), published("box1", {"problems": [problem]}),
        event("runner_on_failed", result={"msg": f"{code}: not there. Hint: x"}),
        event("playbook_on_stats", stats={"failures": {"box1": 1}}),
    ]  # fmt: skip
    found = backend(plan=refused)
    result = stroke(found, "rollback", "hosts.ini", "--yes")
    assert [job.playbook.stem for job in found.jobs] == ["plan"]
    assert result.exit_code == 5 and code in result.stdout


def test_a_rollback_leaves_nothing_for_provision_to_take_up() -> None:
    """`provision --resume` would take hosts forward that were to go back."""
    stroke(backend(), "rollback", "hosts.ini", "--yes")  # some of these hosts fail
    result = stroke(backend(plan=only("plan", "fresh")), "provision", "--resume", "--yes")
    assert "STK-640" in result.stderr


# The list.

ROW = {"number": 2, "at": "2026-11-20T09:30:00Z", "kernel": "6.17.1",
       "arguments": ["amd_iommu=off"], "managed_keys": [],
       "packages": [{"name": "fw", "version": "20260110-1"}],
       "images": {"s": {"reference": "docker.io/x/vllm:1", "id": "sha256:1"}}, "current": False,
       "kernel_there": True, "images_there": True, "lacks": []}  # fmt: skip
LACK = {"code": "STK-454", "what": "the image is gone", "hint": "choose another one"}


def listed(*rows: Json) -> list[Any]:
    told = {"facts": {"kernel": "7.2.12"},
            "generations": {"current": 3, "kernel": "7.2.12", "rows": list(rows)}}  # fmt: skip
    return [event("runner_on_start"), published("box1", told), event("playbook_on_stats")]


def test_the_list_is_read_only_and_says_what_can_be_gone_back_to() -> None:
    gone = ROW | {"number": 1, "images_there": False, "lacks": [LACK]}
    now = ROW | {"number": 3, "current": True, "kernel": "7.2.12"}
    found = RecordedBackend({"generations": listed(gone, ROW, now)})
    result = stroke(found, "rollback", "hosts.ini", "--list")
    (job,) = found.jobs
    assert (job.playbook.stem, job.extra_vars) == ("generations", ())
    assert result.exit_code == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()[:1]}
    assert " no " in lines["1"] and "vllm:1 (gone)" in lines["1"]
    assert "2026-11-20 09:30" in lines["2"] and " yes " in lines["2"] and "20260110-1" in lines["2"]
    assert "current" in lines["*"] and "7.2.12" in lines["*"]
    assert "1: STK-454: the image is gone. choose another one" in result.stdout


def test_a_host_without_generations_is_told_what_to_do() -> None:
    found = RecordedBackend({"generations": listed()})
    result = stroke(found, "rollback", "hosts.ini", "--list")
    assert result.exit_code == 0 and "nothing was proven here yet" in result.stdout


@pytest.mark.parametrize("words", [("--list",), ("--yes",)])
def test_the_report_is_one_of_the_schema(words: tuple[str, ...]) -> None:
    found = RecordedBackend({"generations": listed(ROW), "plan": planned(), "site": applied()})
    result = stroke(found, "rollback", "hosts.ini", "--json", *words)
    report = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    assert report["command"] == "rollback"
    (host,) = report["hosts"]
    if words == ("--list",):
        assert host["generations"]["rows"][0]["number"] == 2
    else:
        assert host["generations"] is None and host["profile"]["generation"]["number"] == 3


def test_what_hosts_say_of_themselves_cannot_steer_the_terminal() -> None:
    evil = ROW | {"kernel": "\x1b[2J6.1", "lacks": [LACK | {"what": "\x1b]0;x\x07gone"}]}
    found = RecordedBackend({"generations": listed(evil)})
    assert "\x1b" not in stroke(found, "rollback", "hosts.ini", "--list").stdout


def test_several_images_are_told_by_their_services() -> None:
    images = {"a": {"reference": "r/x:1", "id": "1"}, "b": {"reference": "y:2", "id": "2"}}
    assert rollback._images(ROW | {"images": images}) == "a: x:1, b: y:2"
    assert rollback._images(ROW | {"images": {}}) == "-"


def test_a_host_without_a_generation_goes_nowhere() -> None:
    assert rollback.back(HostRun("box1")) == {}
    assert rollback.back(HostRun("box1", profile={"generation": None})) == {}
