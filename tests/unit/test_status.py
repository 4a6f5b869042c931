"""`stroke status`: why a service is as it is, and what a reader sees of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gpu_host import history
from rich.console import Console
from stroke import status
from stroke.report import HostRun, Run

from tests.unit.playing import RecordedBackend, event, home, published, stroke
from tests.unit.plugins import plugin

__all__ = ["home"]
Json = dict[str, Any]
words = plugin("service_watchdog", "host_state")
IDS = {name: number for number, name in history.MESSAGES.items()}


def line(kind: str, second: int, **fields: str) -> str:
    return json.dumps(
        {"MESSAGE_ID": IDS[kind], "__REALTIME_TIMESTAMP": str(second * 10**6), **fields}
    )


@pytest.mark.parametrize(
    ("lines", "starts", "reason"),
    [
        ([], 0, ""),
        ([line("started", 1)], 1, ""),
        ([line("started", 1), line("stopped", 5), line("started", 6)], 2,
         "it was stopped on request"),
        ([line("started", 1), line("exited", 5, EXIT_CODE="exited", EXIT_STATUS="1"),
          line("failed", 5, UNIT_RESULT="exit-code"), line("started", 9)], 2,
         "it ended by itself (exit code 1)"),
        ([line("exited", 5, EXIT_CODE="exited", EXIT_STATUS="137"),
          line("failed", 5, UNIT_RESULT="exit-code")], 0,
         "it ended by itself (exit code 137: signal KILL)"),
        ([line("exited", 5, EXIT_CODE="exited", EXIT_STATUS="125"),
          line("failed", 5, UNIT_RESULT="exit-code")], 0,
         "it ended by itself (exit code 125: the container could not be made)"),
        ([line("exited", 5, EXIT_CODE="killed", EXIT_STATUS="11"),
          line("failed", 5, UNIT_RESULT="signal")], 0, "it was killed (signal SEGV)"),
        ([line("out of memory", 4), line("exited", 5, EXIT_CODE="killed", EXIT_STATUS="9"),
          line("failed", 5, UNIT_RESULT="oom-kill")], 0,
         "the kernel killed it for lack of memory"),
        (["{broken", json.dumps({"MESSAGE_ID": "other"}), line("started", 1)], 1, ""),
    ],
)  # fmt: skip
def test_the_journal_says_what_ended_a_unit(lines: list[str], starts: int, reason: str) -> None:
    found = history.parse_journal("\n".join(lines))
    assert found["starts"] == starts
    assert words.stop_reason(found["last_stop"]) == reason


def seen(**values: Any) -> Json:
    told = {"exists": True, "active": True, "serves": ["tiny"], "masked": False}
    past = {"state": "active", "result": "success", "restarts": 0, "starts": 1, "now": 1000.0,
            "booted": 100, "last_stop": None, "container": None, "watchdog": None,
            "age_seconds": 60.0}  # fmt: skip
    past |= values.pop("history", {})
    return told | values | {"history": past}


def state_of(one: Json, **facts: Any) -> Json:
    given = {"seen": {"units": {"box.service": one}}, "gpus": [], **facts}
    found: Json = words.host_state(given, {}, [{"name": "box", "model": "tiny"}])
    return found


STOP = {"time": 900.0, "code": "exited", "status": "1", "result": "exit-code"}
WATCH = {"verdict": "silent", "detail": "no token within 30 s", "looked": 990.0, "restarts": [],
         "events": [], "failures": 2, "given_up": None}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "health", "why"),
    [
        (seen(), "serving", ""),
        (seen(serves=["*"]), "serving", ""),
        (seen(serves=[]), "not answering", "endpoint does not answer"),
        (seen(serves=["old"]), "other model", "it serves old, not tiny"),
        (seen(exists=False, active=False), "not deployed", ""),
        (seen(exists=None), "unknown", "systemd does not answer"),
        ({}, "unknown", "systemd does not answer"),
        (seen(masked=True, active=False), "masked", "nobody can start it"),
        (seen(active=False, history={"state": "inactive"}), "stopped", ""),
        (seen(active=False, history={"state": "activating"}), "loading", ""),
        (seen(active=False, history={"state": "activating", "restarts": 2, "last_stop": STOP}),
         "starting again", "it ended by itself (exit code 1)"),
        (seen(active=False,
              history={"state": "failed", "result": "start-limit-hit", "last_stop": STOP}),
         "failed", "exit code 1); it failed too often"),
        (seen(active=False, serves=None,
              history={"state": "failed", "result": "exit-code", "restarts": 4, "last_stop": STOP}),
         "failed", "exit code 1); it failed too often"),
        (seen(history={"watchdog": WATCH}), "silent", "no token within 30 s"),
        (seen(history={"watchdog": WATCH | {"looked": 1.0}}), "serving", ""),
    ],
)  # fmt: skip
def test_health_is_one_word_and_a_reason(one: Json, health: str, why: str) -> None:
    (service,) = state_of(one)["services"]
    assert service["health"] == health
    assert why in service["why"] if why else service["why"] == ""


def test_an_image_by_its_id_is_told_by_its_name() -> None:
    one = {"exists": True, "active": True, "history": {"container": {"image": "sha256:ab"}}}
    for known, wanted in (
        ({"images": {"x@sha256:cd": "sha256:ab", "x:1": "sha256:ab"}}, "x:1"),
        ({"images": None, "stores": {"docker": {"y:2": "sha256:ab"}, "podman:u": None}}, "y:2"),
        ({}, "sha256:ab"),
    ):
        found = words.host_state(
            {"seen": {"units": {"box.service": one}, **known}}, {}, [{"name": "box"}]
        )
        assert found["services"][0]["image"] == wanted


def test_firmware_and_memory_are_those_of_the_gpu() -> None:
    gpu = {"gfx": "gfx1151", "mes_version": 0x86, "gtt_bytes": 2**36}
    found = words.host_state(
        {"gpus": [gpu], "parameters": {"ttm.pages_limit": 1024}, "memory": {"page_size": 4096}},
        {"gfx": "gfx1151", "engine": {"image_rocm": "7.2"}}, [],
    )  # fmt: skip
    assert found["firmware"] == "MES 0x86" and found["gtt_bytes"] == 2**36
    assert found["gtt_limit_bytes"] == 2**22 and found["rocm"] == "7.2"


def host(name: str = "box1", one: Json | None = None, **more: Any) -> HostRun:
    state = {"up_seconds": 93600.0, "now": 1000.0, **state_of(one or seen())}
    return HostRun(name, facts={"kernel": "7.2.12+deb13-amd64"}, state=state, changes=(), **more)


def shown(run: Run, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(status.status(run, width))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("number", [1, 24])
def test_each_host_has_one_line_of_the_width_that_is_there(number: int, width: int) -> None:
    names = [f"strix-{n:02d}" for n in range(number)]
    lines = shown(Run(hosts={name: host(name) for name in names}), width).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert [line.split()[0] for line in lines[1 : number + 1]] == names
    assert lines[-1].startswith(f"{number} host") and "serving" in lines[-1]
    assert len(lines) == number + 3
    assert ("FIRMWARE" in lines[0]) is (width >= 130)


def test_what_went_wrong_is_told_below_with_its_evidence() -> None:
    restart = {"time": 400.0, "reason": "silent: no token", "evidence": "/e/1"}
    watch = WATCH | {"restarts": [restart], "given_up": "3 restarts within a day did not help",
                     "events": [{"what": "restarted", "evidence": "/e/1"}]}  # fmt: skip
    bad = seen(history={"watchdog": watch, "starts": 3, "last_stop": STOP, "restarts": 1})
    text = shown(Run(hosts={"box1": host(one=bad)}), 120)
    for part in (
        "silent: no token within 30 s",
        "starts since boot: 3",
        "it ended by itself (exit code 1)",
        "gave up: 3 restarts within a day",
        "evidence: /e/1",
    ):
        assert part in text, text


@pytest.mark.usefixtures("home")
def test_an_unreachable_host_has_its_line_and_its_problem() -> None:
    dark = event("runner_on_unreachable", "box2", task="Look", result={"msg": "timed out"})
    end = event("playbook_on_stats", "", stats={"dark": {"box2": 1}})
    good = {"facts": {"kernel": "7.2"}, "changes": [], "state": state_of(seen())}
    backend = RecordedBackend({"status": [published("box1", good), dark, end]})
    done = stroke(backend, "status", "hosts.ini")
    assert done.exit_code == 4
    assert [job.playbook.stem for job in backend.jobs] == ["status"]
    lines = done.stdout.splitlines()
    assert lines[1].split()[:2] == ["box1", "serving"]
    assert lines[2].split()[:2] == ["box2", "unreachable"]
    assert "STK-201" in done.stdout and "2 hosts: 1 serving, 1 unreachable." in done.stdout


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("one", "words_", "code"),
    [
        (seen(), (), 0),
        (seen(serves=[]), (), 6),
        (seen(exists=False, active=False), (), 0),
        (seen(), ("--detailed-exitcode",), 10),
    ],
)
def test_the_exit_code_says_whether_it_serves(
    one: Json, words_: tuple[str, ...], code: int
) -> None:
    change = {"role": "kernel", "stage": "prepare", "kind": "file", "what": "/x", "action": "x"}
    data = {"facts": {}, "changes": [change] if words_ else [], "state": state_of(one)}
    backend = RecordedBackend({"status": [published("box1", data)]})
    assert stroke(backend, "status", "hosts.ini", *words_).exit_code == code


@pytest.mark.usefixtures("home")
def test_json_has_the_state_and_the_drift() -> None:
    data = {"facts": {}, "changes": [], "state": state_of(seen())}
    backend = RecordedBackend({"status": [published("box1", data)]})
    document = json.loads(stroke(backend, "status", "hosts.ini", "--json").stdout)
    (one,) = document["hosts"]
    assert document["command"] == "status" and one["changes"] == []
    assert one["state"]["services"][0]["health"] == "serving"
