"""Stand-ins for ansible: recorded events, and a content tree that touches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stroke import events
from stroke.cli import app
from stroke.events import Event
from stroke.report import Run, fold
from stroke.runner import Job, Listener, Outcome
from typer.testing import CliRunner, Result

DATA = Path(__file__).parent / "data"
STAND_IN = DATA / "content"
ROOT = Path(__file__).parents[2]


def recorded(name: str) -> list[Event]:
    """The events of a real run of the stand-in playbooks over six hosts."""
    return list(events.read(DATA / "events" / f"{name}.jsonl"))


def folded(*found: Event) -> Run:
    """The run after these events."""
    run = Run()
    for event in found:
        run = fold(run, event)
    return run


def event(kind: str, host: str = "box1", **values: Any) -> Event:
    """One event with what matters to a test."""
    return Event(counter=values.pop("counter", 1), kind=kind, host=host, **values)


def published(host: str, data: Mapping[str, Any]) -> Event:
    """The event of a set_stats task."""
    result = {"ansible_stats": {"data": {"stroke": {host: dict(data)}}}}
    return event("runner_on_ok", host, task="Report", result=result)


def only(name: str, host: str) -> list[Event]:
    """The recorded events of one host, and the recap without the others."""
    found = [e for e in recorded(name) if e.host in ("", host)]
    return [
        replace(e, stats={k: {h: n for h, n in v.items() if h == host} for k, v in e.stats.items()})
        for e in found
    ]


class RecordedBackend:
    """Replays events by the playbook's name and remembers what was asked for."""

    def __init__(
        self, plays: Mapping[str, Iterable[Event]], *, rc: int = 0, interrupted: bool = False
    ) -> None:
        self.plays = {name: list(found) for name, found in plays.items()}
        self.jobs: list[Job] = []
        self.rc = rc
        self.interrupted = interrupted

    def run(self, job: Job, listener: Listener) -> Outcome:
        """Hand out the recorded events of that playbook."""
        self.jobs.append(job)
        for found in self.plays.get(job.playbook.stem, []):
            listener.event(found)
        return Outcome(rc=self.rc, interrupted=self.interrupted)


def backend(**plays: list[Event]) -> RecordedBackend:
    """The recorded runs, or others for the playbooks named."""
    return RecordedBackend({"plan": recorded("plan"), "site": recorded("site"), **plays})


def stroke(found: RecordedBackend, *words: str) -> Result:
    """Run the command line with a backend that only replays."""
    return CliRunner().invoke(app, list(words), obj=found)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own with hosts.ini in it, for working and for state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STROKE_CONTENT", str(STAND_IN))
    monkeypatch.delenv("STROKE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.ini").write_text("box1\n", encoding="utf-8")
    return tmp_path
