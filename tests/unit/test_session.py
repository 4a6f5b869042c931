"""What goes wrong around a run, what is kept of it, and what stays secret."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from stroke.events import Event

from tests.unit.playing import ROOT, RecordedBackend, backend, event, home, only, recorded, stroke

pytestmark = pytest.mark.usefixtures("home")
__all__ = ["home"]


def kept(home: Path) -> dict[str, Any]:
    loaded = json.loads((home / "state/stroke/last-run/report.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_json_is_the_only_thing_on_stdout(home: Path) -> None:
    result = stroke(backend(), "provision", "hosts.ini", "-y", "--json")
    report = json.loads(result.stdout)
    schema = json.loads((ROOT / "docs/report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, schema)
    assert (report["schema"], report["exit_code"]) == ("stroke/report/1", result.exit_code)
    assert report == kept(home)


def test_a_usage_error_is_a_document_too() -> None:
    result = stroke(backend(), "plan", "nofile.ini", "--json")
    report = json.loads(result.stdout)
    assert (report["status"], report["problems"][0]["code"]) == ("usage", "STK-101")
    assert result.exit_code == 2 and "STK-101" in result.stderr


def test_what_is_kept_is_private(home: Path) -> None:
    stroke(backend(), "plan", "hosts.ini", "--keep-artifacts", str(home / "kept"))
    directory = home / "state/stroke/last-run"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in (*directory.iterdir(), *(home / "kept").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in (home / "kept").iterdir()} == {"report.json", "events.jsonl"}
    assert (directory / "events.jsonl").read_text(encoding="utf-8").count("\n") == len(
        recorded("plan")
    )


def test_a_state_directory_that_cannot_be_written_stops_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    assert stroke(backend(plan=only("plan", "same")), "plan", "hosts.ini").exit_code == 0


def test_a_password_needs_somebody_to_type_it() -> None:
    for words in (["-K"], ["--", "-k"]):
        found = backend()
        result = stroke(found, "plan", "hosts.ini", *words)
        assert (result.exit_code, found.jobs) == (2, [])


def test_a_typed_password_stays_in_memory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stroke.console.Console.can_ask", True)
    monkeypatch.setattr("stroke.console.Console.password", lambda self, question: "swordfish")
    found = backend(plan=only("plan", "fresh"))
    result = stroke(found, "plan", "hosts.ini", "-K", "--json")
    (job,) = found.jobs
    assert (job.flags, list(job.passwords.values())) == (("--ask-become-pass",), ["swordfish"])
    state = (home / "state").rglob("*")
    written = [p.read_text(encoding="utf-8") for p in state if p.is_file()]
    assert "swordfish" not in f"{written}{result.output}{job!r}"


def test_a_no_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stroke.console.Console.can_ask", True)
    monkeypatch.setattr("stroke.console.Console.confirm", lambda self, question: False)
    found = backend()
    result = stroke(found, "provision", "hosts.ini")
    assert (result.exit_code, len(found.jobs)) == (2, 1)
    assert "nothing was changed" in result.stderr


def test_an_interrupt_says_where_each_host_was(home: Path) -> None:
    started = event("runner_on_start", "fresh", task="Install the kernel", role="kernel")
    found = backend(plan=only("plan", "fresh"), site=[started])
    found.interrupted = False
    found.run = interrupting(found)  # type: ignore[method-assign]
    result = stroke(found, "provision", "hosts.ini", "-y")
    assert result.exit_code == 130
    assert "fresh was in “kernel: Install the kernel”" in result.stderr
    assert "stroke provision hosts.ini" in result.stderr
    assert kept(home)["hosts"][0]["interrupted_in"] == "Install the kernel"


def interrupting(found: RecordedBackend) -> Any:
    """Interrupt the second play."""
    replay = found.run

    def run(job: Any, listener: Any) -> Any:
        return replace(replay(job, listener), interrupted=job.playbook.stem == "site")

    return run


def test_a_limit_that_matches_nothing_is_explained() -> None:
    found = backend(plan=[Event(1, "verbose", text="[ERROR]: … no hosts to target.")])
    found.rc = 1
    result = stroke(found, "plan", "hosts.ini", "-l", "nobody")
    assert result.exit_code == 2
    assert "STK-104" in result.stderr and "the hosts are: box1" in result.stderr


def test_an_empty_inventory_is_explained(home: Path) -> None:
    (home / "hosts.ini").write_text("", encoding="utf-8")
    result = stroke(backend(plan=[Event(1, "playbook_on_no_hosts_matched")]), "plan", "hosts.ini")
    assert result.exit_code == 2 and "STK-102" in result.stderr


def test_a_playbook_that_does_not_run_is_an_internal_error() -> None:
    found = backend(plan=[Event(1, "verbose", text="[ERROR]: no such role: x")])
    found.rc = 1
    result = stroke(found, "plan", "hosts.ini")
    assert result.exit_code == 1 and "STK-802: no such role: x" in result.stderr
