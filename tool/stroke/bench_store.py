"""Where measured runs are kept: a directory per host, a file per run, one of them the baseline."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .artifacts import state_home
from .bench_compare import comparable
from .errors import StrokeError

Json = dict[str, Any]
SCHEMA = "stroke/bench/1"
BASELINE = "baseline"
LAST = "last"


class Store:
    """The kept runs of all hosts, below the state directory unless another one is named."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or state_home() / "bench"

    def keep(self, run: Mapping[str, Any]) -> Path:
        """Write a run, readable by its user only."""
        directory = self.of(str(run["host"]))
        path = directory / f"{run['id']}.json"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, json.dumps(run, ensure_ascii=False, separators=(",", ":")) + "\n")
        except OSError as error:
            raise StrokeError(
                f"the run cannot be kept in {directory}: {error.strerror}",
                code="STK-623",
                hint="name another directory: stroke bench --results DIR",
            ) from None
        return path

    def of(self, host: str) -> Path:
        """The directory of one host; what a file name may not have is replaced."""
        return self.directory / (re.sub(r"[^\w.\-]", "_", host).lstrip(".") or "_")

    def runs(self, host: str) -> list[Json]:
        """The runs of a host, the oldest first; files that are none are passed over."""
        found = []
        for path in sorted(self.of(host).glob("*T*Z*.json")):
            try:
                found.append(read(path))
            except StrokeError:
                continue
        return found

    def set_baseline(self, run: Mapping[str, Any]) -> None:
        """Make a run the one that later ones of its kind are held against."""
        path = self._baselines(str(run["host"]))
        known = [old for old in self._baseline_ids(str(run["host"])) if old != run["id"]]
        runs = {old["id"]: old for old in self.runs(str(run["host"]))}
        rest = [old for old in known if old in runs and comparable(runs[old], run)]
        _write(path, json.dumps([*rest, run["id"]]) + "\n")

    def baseline(self, run: Mapping[str, Any]) -> Json | None:
        """The baseline for a run: of the same host, service, model and load."""
        host = str(run["host"])
        ids = set(self._baseline_ids(host))
        for old in reversed(self.runs(host)):
            same = old["service"].get("name") == run["service"].get("name")
            if old["id"] in ids and old["id"] != run["id"] and same and not comparable(old, run):
                return old
        return None

    def find(self, name: str) -> Json:
        """A run by its file, or by HOST/ID, HOST/LABEL, HOST/last or HOST/baseline."""
        path = Path(name).expanduser()
        if path.is_file():
            return read(path)
        host, _, which = name.rpartition("/")
        runs = self.runs(host) if host else []
        ids = set(self._baseline_ids(host)) if host else set()
        for run in reversed(runs):
            if which in (LAST, run["id"], run["label"]) or (which == BASELINE and run["id"] in ids):
                return run
        shown = [f"{host}/{run['label'] or run['id']}" for run in runs[-4:]]
        shown = shown or [f"{path.name}/last" for path in sorted(self.directory.glob("*/"))[:4]]
        raise StrokeError(
            f"no such run: {name}",
            code="STK-623",
            hint=f"kept are: {', '.join(shown)}" if shown else "measure first: stroke bench",
        )

    def _baselines(self, host: str) -> Path:
        return self.of(host) / "baseline.json"

    def _baseline_ids(self, host: str) -> list[str]:
        try:
            found = json.loads(self._baselines(host).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [str(one) for one in found] if isinstance(found, list) else []


def read(path: Path) -> Json:
    """A kept run; anything else is refused."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StrokeError(
            f"{path} is no run: {error}", code="STK-623", hint="stroke bench writes such files"
        ) from None
    if not isinstance(run, dict) or run.get("schema") != SCHEMA or "steps" not in run:
        raise StrokeError(
            f"{path} is no run: it has not the schema {SCHEMA}",
            code="STK-623",
            hint="stroke bench writes such files; a report (--json) has no single requests in it",
        )
    return run


def _write(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)
