"""What `stroke bench` makes of a run: a document per host, kept, judged and held against others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import bench_compare, bench_figures, role_code, version
from .bench_settings import Settings
from .bench_store import SCHEMA, Store
from .errors import Exit, Problem
from .report import HostRun, Run

Json = dict[str, Any]
RAW = "steps"
MACHINE = ("distribution", "kernel", "gpu", "firmware", "memory_bytes", "simulated")


def finish(run: Run, settings: Settings) -> tuple[Run, dict[str, Json]]:
    """Judge and keep what every host measured; returns the run and the whole document per host."""
    known, store = role_code.catalog(), Store(settings.results)
    hosts, documents = dict(run.hosts), {}
    for name, host in run.hosts.items():
        if not host.bench.get(RAW):
            continue
        kept = document(host, settings, known)
        kept["baseline"], found = _against(store, kept, settings, known)
        kept["file"] = str(store.keep(kept))
        if settings.baseline or (kept["baseline"] is None and not kept["warnings"]):
            store.set_baseline(kept)
        documents[name] = kept
        hosts[name] = replace(
            host,
            bench={key: value for key, value in kept.items() if key != RAW},
            problems=(*host.problems, *found),
        )
    return replace(run, hosts=hosts), documents


def document(host: HostRun, settings: Settings, known: Mapping[str, Any]) -> Json:
    """The run of one host: what was measured on what, and what it is worth."""
    raw = host.bench
    # Of several services each has an engine and an estimate of its own.
    own = (host.profile.get("servers") or {}).get(raw.get("service"))
    named = {"name": own["engine"], **own} if own else host.profile.get("engine")
    engine, estimate = named or {}, (own or host.profile).get("estimate")
    levels = bench_figures.levels(raw[RAW])
    now = datetime.now(UTC)
    return {
        "schema": SCHEMA,
        "stroke": version(),
        "id": now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z",
        "host": host.name,
        "label": settings.label,
        "started": now.isoformat(timespec="seconds"),
        "machine": {key: host.facts[key] for key in MACHINE if key in host.facts},
        "service": {
            "name": raw.get("service"),
            "url": raw.get("url"),
            "model": raw.get("model"),
            "engine": engine.get("name"),
            "image": engine.get("image") or (engine.get("definition") or {}).get("image"),
            "command": command_of(str(raw.get("unit") or "")),
        },
        "load": dict(raw.get("load") or {}),
        "levels": levels,
        "estimate": estimate,
        "verdict": bench_figures.verdict(levels, estimate, known),
        "warnings": warnings(levels, known),
        "baseline": None,
        RAW: list(raw[RAW]),
    }


def command_of(shown: str) -> str | None:
    """The command line in what `systemctl show --property=ExecStart` says; None: no such unit."""
    found = re.search(r"argv\[\]=(.*?) ; ", shown)
    return found[1] if found else None


def warnings(levels: list[Json], known: Mapping[str, Any]) -> list[str]:
    """What makes the figures doubtful."""
    found = []
    limit = bench_figures.rule(known, "client_cpu")
    for level in levels:
        many = f"at {level['concurrency']} at once"
        if level["errors"]:
            found.append(
                f"{many} {level['errors']} of {level['requests']} requests failed: "
                + "; ".join(level["error_examples"])
            )
        if level["client_cpu"] > limit:
            found.append(
                f"{many} the measuring took {level['client_cpu']:.0%} of a processor: the figures "
                "may be its own"
            )
    return found


def _against(
    store: Store, run: Json, settings: Settings, known: Mapping[str, Any]
) -> tuple[Json | None, list[Problem]]:
    """The comparison with the baseline, and what of it is a regression."""
    before = store.baseline(run)
    if before is None or settings.baseline:
        return None, []
    comparison = bench_compare.compare(before, run, known)
    worse = bench_compare.findings(comparison)
    if not worse:
        return comparison, []
    said = ", ".join(
        f"{row['name']} at {row['concurrency']} at once {row['change']:+.0%}" for row in worse
    )
    host = run["host"]
    problem = Problem(
        "STK-626",
        f"slower than the baseline {before['label'] or before['id']}: {said}",
        f"stroke bench --compare {host}/baseline {host}/last shows what differs; "
        "stroke bench --baseline accepts the new speed",
    )
    return comparison, [problem]


def compare(before: str, after: str, settings: Settings, *, as_json: bool) -> Exit:
    """Run `stroke bench --compare A B`."""
    from . import bench_report, bench_view
    from .console import Console

    console = Console(as_json=as_json)
    store = Store(settings.results)
    runs = [store.find(before), store.find(after)]
    comparison = bench_compare.compare(runs[0], runs[1], role_code.catalog())
    console.result(bench_view.compared(comparison))
    if settings.report:
        for path in bench_report.write(settings.report, runs, comparison):
            console.say(f"Written: {path}")
    console.document(comparison)
    return Exit.OK


def reports(documents: Mapping[str, Json], target: Path) -> list[Path]:
    """Draw a page and a picture per host; several hosts get names of their own."""
    from . import bench_report

    written: list[Path] = []
    for name, kept in documents.items():
        path = target
        if len(documents) > 1:
            path = target.with_name(f"{target.stem}-{Store().of(name).name}{target.suffix}")
        written += bench_report.write(path, [kept], kept["baseline"])
    return written
