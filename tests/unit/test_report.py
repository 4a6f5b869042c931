"""From events to what happened: statuses, exit codes and the JSON document."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from stroke.document import document
from stroke.errors import CATALOGUE, Exit, Problem
from stroke.events import REDACTED, Event
from stroke.report import ORDER, HostRun, Run, fold, mark_applied, merge, publish, stop, worst

from tests.unit.playing import DATA, ROOT, event, folded, published, recorded


def whole() -> Run:
    return merge(folded(*recorded("plan")), folded(*recorded("site")))


def stats(**counts: dict[str, int]) -> Event:
    return Event(counter=9, kind="playbook_on_stats", stats={"failures": {}, "dark": {}, **counts})


def test_a_recorded_run_ends_as_it_did() -> None:
    run = whole()
    assert {name: host.status for name, host in run.hosts.items()} == {
        "fresh": "done",
        "same": "converged",
        "old": "refused",
        "fails": "failed",
        "unproven": "verify failed",
        "gone": "unreachable",
    }
    assert run.exit is Exit.FAILED
    fresh = run.hosts["fresh"]
    assert (fresh.changed, fresh.rebooted, len(fresh.changes or ())) == (2, True, 5)
    assert fresh.endpoint["completion"]["text"].startswith("hello")
    assert fresh.seconds > 4


def test_a_recorded_plan_says_what_would_change() -> None:
    run = folded(*recorded("plan"))
    assert run.hosts["fresh"].status == "changes"
    assert run.hosts["same"].status == "converged"
    assert run.exit is Exit.UNREACHABLE
    first = (run.hosts["fresh"].changes or ())[0]
    assert (first.role, first.action, first.before) == ("kernel", "create", None)
    assert first.diff.startswith("--- now")


@pytest.mark.parametrize(("better", "worse"), list(pairwise(reversed(ORDER))))
def test_the_worst_decides(better: Exit, worse: Exit) -> None:
    assert worst([better, worse, better]) is worse


def test_every_exit_code_has_its_place() -> None:
    assert set(ORDER) == set(Exit)
    assert worst([]) is Exit.OK


def test_a_rescued_failure_is_none() -> None:
    failed = event("runner_on_failed", result={"msg": "STK-409: none. Hint: add one"})
    run = folded(failed)
    assert run.hosts["box1"].status == "refused"
    assert fold(run, stats()).hosts["box1"].status == "ok"
    assert fold(run, stats(failures={"box1": 1})).hosts["box1"].status == "refused"


def test_a_failure_that_only_the_recap_knows_is_one() -> None:
    run = folded(event("runner_on_ok"), stats(failures={"box1": 1}))
    assert run.hosts["box1"].status == "failed"


def test_published_problems_refuse_even_without_a_failed_task() -> None:
    problem = {"code": "STK-404", "what": "no room", "hint": "make some"}
    run = folded(published("box1", {"problems": [problem], "changes": []}), stats())
    host = run.hosts["box1"]
    assert (host.status, host.exit) == ("refused", Exit.REFUSED)
    assert host.all_problems == (Problem("STK-404", "no room", "make some"),)


def test_the_failure_does_not_repeat_what_was_published() -> None:
    problem = {"code": "STK-601", "what": "does not start", "hint": ""}
    failed = event("runner_on_failed", result={"msg": "STK-601: does not start. Hint: look"})
    run = folded(published("box1", {"problems": [problem]}), failed, stats(failures={"box1": 1}))
    assert [p.code for p in run.hosts["box1"].all_problems] == ["STK-601"]
    assert run.exit is Exit.FAILED


def test_a_failed_check_is_a_failed_verify() -> None:
    check = {"id": "V101", "what": "kernel", "status": "failed"}
    assert publish(HostRun("box1"), {"verify": [check]}).exit is Exit.VERIFY
    skipped = {**check, "status": "skipped (simulated)"}
    assert publish(HostRun("box1"), {"verify": [skipped]}).exit is Exit.OK


def test_findings_grow_and_values_replace() -> None:
    first = publish(HostRun("box1"), {"problems": [{"code": "STK-401", "what": "a"}]})
    both = publish(first, {"problems": [{"code": "STK-402", "what": "b"}], "boot": {"x": 1}})
    again = publish(both, {"problems": [{"code": "STK-402", "what": "b"}], "boot": {"y": 2}})
    assert [p.code for p in again.problems] == ["STK-401", "STK-402"]
    assert again.boot == {"y": 2}


def test_nonsense_that_is_published_does_no_harm() -> None:
    host = publish(HostRun("box1"), {"facts": "text", "changes": None, "verify": ["x"], "new": 1})
    assert host == HostRun("box1")


def test_an_interrupt_marks_the_hosts_in_the_middle() -> None:
    started = event("runner_on_start", task="Install the kernel", role="kernel")
    run = stop(folded(started, event("runner_on_ok", "box2")))
    assert run.hosts["box1"].status == run.hosts["box2"].status == "interrupted"
    assert (run.hosts["box1"].task, run.hosts["box2"].task) == ("Install the kernel", "")
    assert run.hosts["box1"].stage == "prepare"


def test_an_interrupt_after_the_end_changes_nothing() -> None:
    run = folded(event("runner_on_ok"), stats())
    assert stop(run) == run


def test_a_run_without_a_plan_is_done_when_it_is_done() -> None:
    run = mark_applied(folded(event("runner_on_ok"), stats()))
    assert run.hosts["box1"].status == "done"


def schema() -> dict[str, Any]:
    path = ROOT / "docs" / "report.schema.json"
    loaded = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("code", list(Exit))
def test_the_report_fits_its_schema(code: Exit) -> None:
    problem = Problem("STK-101", "no such file", "")
    report = document("provision", "1.0", whole(), code, problems=(problem,))
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(report, schema())
    assert json.loads(json.dumps(report)) == report
    assert report["exit_code"] == int(code)


def test_the_report_holds_no_secret() -> None:
    host = publish(HostRun("box1"), {"profile": {"engine": {"hf_token": "a"}, "tokens": 3}})
    report = document("plan", "1.0", Run(hosts={"box1": host}), Exit.OK)
    assert report["hosts"][0]["profile"] == {"engine": {"hf_token": REDACTED}, "tokens": 3}


def test_the_schema_refuses_what_is_not_a_report() -> None:
    report = document("plan", "1.0", whole(), Exit.OK)
    del report["hosts"][0]["changes"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema())


def test_every_recorded_message_is_understood() -> None:
    from stroke.diagnosis import explain

    for case in json.loads((DATA / "messages.json").read_text(encoding="utf-8")):
        problem = explain("box1", case["result"], task="Look", unreachable=case["unreachable"])
        assert problem.code == case["code"], case["case"]
        assert problem.hint, case["case"]
        assert problem.code in CATALOGUE
