"""What is kept of the last run, readable by its user only and without secrets."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from .events import Event, read

# A run over many hosts may fail on all of them, in the same way.
FAILED = 50


def state_home() -> Path:
    """Return where stroke keeps its state, by the XDG rules."""
    value = os.environ.get("XDG_STATE_HOME", "")
    return (Path(value) if value.startswith("/") else Path.home() / ".local/state") / "stroke"


class LastRun:
    """The directory `last-run`: events.jsonl while it goes on, report.json at its end."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or state_home() / "last-run"
        self._events: TextIO | None = None

    @property
    def report(self) -> Path:
        """Where the report of the run is."""
        return self.directory / "report.json"

    def before(self) -> dict[str, Any]:
        """What is kept of the run before this one, and which of its steps failed."""
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found["report"] = json.loads(self.report.read_text(encoding="utf-8"))
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = read(self.directory / "events.jsonl")
            failed = [event for event in kept if event.failed or event.kind.endswith("unreachable")]
            found["failed"] = [json.loads(event.to_json()) for event in failed[-FAILED:]]
        return found

    def start(self) -> None:
        """Forget the run before; a state directory that cannot be written stops nothing."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            self.report.unlink(missing_ok=True)
            self._events = _private(self.directory / "events.jsonl")
        except OSError:
            self._events = None

    def event(self, event: Event) -> None:
        """Append one event."""
        if self._events is not None:
            self._events.write(event.to_json() + "\n")

    def finish(self, document: Mapping[str, Any], copy_to: Path | None = None) -> None:
        """Write the report, and copies of both files where the user wants to keep them."""
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if self._events is not None:
            self._events.close()
            self._events = None
            with _private(self.report) as file:
                file.write(text)
        if copy_to is not None:
            copy_to.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _private(copy_to / "report.json") as file:
                file.write(text)
            events = self.directory / "events.jsonl"
            if events.is_file():
                with _private(copy_to / "events.jsonl") as file:
                    file.write(events.read_text(encoding="utf-8"))


def _private(path: Path) -> TextIO:
    path.unlink(missing_ok=True)
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    )
