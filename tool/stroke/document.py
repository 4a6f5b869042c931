"""The report as one JSON document; docs/report.schema.json describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .errors import Exit, Problem
from .events import redact
from .report import HostRun, Run

SCHEMA = "stroke/report/1"

STATUS = {
    Exit.OK: "ok",
    Exit.INTERNAL: "internal error",
    Exit.USAGE: "usage",
    Exit.FAILED: "failed",
    Exit.UNREACHABLE: "unreachable",
    Exit.REFUSED: "refused",
    Exit.VERIFY: "verify failed",
    Exit.CHANGES: "changes",
    Exit.INTERRUPTED: "interrupted",
}


def document(
    command: str,
    version: str,
    run: Run,
    code: Exit,
    *,
    problems: tuple[Problem, ...] = (),
    check: bool = False,
) -> dict[str, Any]:
    """Return what `--json` prints and what is kept of the last run."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "stroke": version,
        "command": command,
        "check": check,
        "status": STATUS[code],
        "exit_code": int(code),
        "started": run.started or None,
        "ended": run.ended or None,
        "problems": [asdict(problem) for problem in problems],
        "hosts": [host_document(host) for host in run.hosts.values()],
    }
    result = redact(data)
    assert isinstance(result, dict)  # noqa: S101 — for the type checker
    return result


def host_document(host: HostRun) -> dict[str, Any]:
    """Return one host's part of the report."""
    return {
        "name": host.name,
        "status": host.status,
        "verdict": host.profile.get("verdict"),
        "facts": dict(host.facts),
        "profile": dict(host.profile) or None,
        "changes": None if host.changes is None else [asdict(c) for c in host.changes],
        "problems": [asdict(problem) for problem in host.all_problems],
        "warnings": [_mapping(item) for item in host.profile.get("warnings") or []],
        "space": dict(host.space) or None,
        "boot": dict(host.boot) or None,
        "state": dict(host.state) or None,
        "verify": [_mapping(check) for check in host.verify],
        "endpoint": dict(host.endpoint) or None,
        "bench": dict(host.bench) or None,
        "generations": dict(host.generations) or None,
        "packages": [_mapping(package) for package in host.packages],
        "generated": [_mapping(secret) for secret in host.generated],
        "removed": list(host.removed),
        "leftover": list(host.leftover),
        "applied": host.applied,
        "changed": host.changed,
        "rebooted": host.rebooted,
        "interrupted_in": host.task if host.stopped else None,
        "seconds": round(host.seconds, 1),
    }


def _mapping(item: Any) -> dict[str, Any]:
    return dict(item) if isinstance(item, Mapping) else {"what": str(item)}
