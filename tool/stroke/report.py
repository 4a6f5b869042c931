"""Fold events into what happened to each host: the one source of tables, JSON and exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .diagnosis import explain
from .errors import Exit, Problem, exit_of
from .events import STAGE_OF_ROLE, Event

REPLACED = ("facts", "profile", "boot", "endpoint", "space", "capture", "state", "bench",
            "logs", "lock", "generations")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan."""

    role: str
    stage: str
    kind: str
    what: str
    action: str
    before: Any = None
    after: Any = None
    reason: str = ""
    diff: str = ""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Change:
        """Take over one item of the filter manifest_changes."""
        words = {k: str(raw.get(k) or "") for k in ("role", "stage", "kind", "what", "action")}
        return cls(
            **words,
            before=raw.get("before"),
            after=raw.get("after"),
            reason=str(raw.get("reason") or ""),
            diff=str(raw.get("diff") or ""),
        )


@dataclass(frozen=True, slots=True)
class HostRun:
    """Everything known about one host so far."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    boot: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    capture: Mapping[str, Any] = field(default_factory=dict, repr=False)
    logs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    state: Mapping[str, Any] = field(default_factory=dict)
    bench: Mapping[str, Any] = field(default_factory=dict, repr=False)
    generations: Mapping[str, Any] = field(default_factory=dict, repr=False)
    changes: tuple[Change, ...] | None = None
    problems: tuple[Problem, ...] = ()
    verify: tuple[Mapping[str, Any], ...] = ()
    packages: tuple[Mapping[str, Any], ...] = ()
    generated: tuple[Mapping[str, Any], ...] = ()
    removed: tuple[str, ...] = ()
    leftover: tuple[str, ...] = ()
    stage: str = ""
    role: str = ""
    task: str = ""
    progress: str = ""
    changed: int = 0
    seconds: float = 0.0
    failure: Problem | None = None
    unreachable: bool = False
    lock: Mapping[str, Any] = field(default_factory=dict)
    applied: bool = False
    stopped: bool = False
    not_started: bool = False

    @property
    def rebooted(self) -> bool:
        """Whether the run rebooted the host."""
        return self.boot.get("rebooted") is True

    @property
    def checks_failed(self) -> tuple[Mapping[str, Any], ...]:
        """The verify checks that did not hold."""
        return tuple(check for check in self.verify if check.get("status") == "failed")

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """What the roles published, and the failure itself unless it says the same."""
        codes = {problem.code for problem in self.problems}
        if self.failure is None or self.failure.code in codes:
            return self.problems
        if self.failure.code == "STK-801" and (self.problems or self.checks_failed):
            return self.problems
        return (*self.problems, self.failure)

    @property
    def exit(self) -> Exit:
        """How this host alone would end the run."""
        if self.unreachable:
            return Exit.UNREACHABLE
        codes = [exit_of(problem.code) for problem in self.all_problems]
        if self.applied and self.changed:
            # Refused is what nothing was changed on: a source that fails half way is a failure.
            codes = [Exit.FAILED if code is Exit.REFUSED else code for code in codes]
        return worst([*codes, Exit.VERIFY] if self.checks_failed else codes)

    @property
    def status(self) -> str:
        """One word for tables and for the report."""
        if self.stopped:
            return "interrupted"
        if self.not_started:
            return "not started"
        match self.exit:
            case Exit.OK:
                if self.applied:
                    return "done"
                if self.changes is None:
                    return "ok"
                return "changes" if self.changes else "converged"
            case Exit.REFUSED | Exit.USAGE:
                return "refused"
            case Exit.UNREACHABLE:
                return "unreachable"
            case Exit.VERIFY:
                return "verify failed"
        return "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one playbook over all its hosts."""

    hosts: Mapping[str, HostRun] = field(default_factory=dict)
    play: str = ""
    task: str = ""
    started: str = ""
    ended: str = ""
    no_hosts: bool = False
    finished: bool = False
    output: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether any task started on any host."""
        return bool(self.hosts)

    @property
    def exit(self) -> Exit:
        """The worst that happened."""
        return worst(host.exit for host in self.hosts.values())


ORDER = (
    Exit.INTERRUPTED,
    Exit.INTERNAL,
    Exit.USAGE,
    Exit.FAILED,
    Exit.UNREACHABLE,
    Exit.REFUSED,
    Exit.VERIFY,
    Exit.CHANGES,
    Exit.OK,
)


class Interrupted(Exception):
    """The user stopped the run; carries what was known by then."""

    def __init__(self, run: Run) -> None:
        super().__init__("interrupted")
        self.run = run


def worst(codes: Iterable[Exit]) -> Exit:
    """Return the exit code that says most about a run in which several things happened."""
    return min(codes, key=ORDER.index, default=Exit.OK)


def fold(run: Run, event: Event) -> Run:
    """Return the run after one more event.

    Its hosts are those of the run before, changed in place: with ten thousand of them a copy for
    each event would take longer than the run.
    """
    run = replace(run, started=run.started or event.created, ended=event.created or run.ended)
    match event.kind:
        case "playbook_on_play_start":
            return replace(run, play=event.play)
        case "playbook_on_task_start":
            return replace(run, task=event.task)
        case "playbook_on_no_hosts_matched":
            return replace(run, no_hosts=True)
        case "playbook_on_stats":
            return _settle(replace(run, finished=True), event.stats)
        case "error" | "warning" | "deprecated" | "verbose" | "system_warning":
            return replace(run, output=(*run.output, event.text)[-400:])
    if not event.host:
        return run
    hosts = run.hosts if isinstance(run.hosts, dict) else dict(run.hosts)
    host = hosts.get(event.host, HostRun(event.host))
    hosts[event.host] = _on_host(host, event)
    for name, data in event.published.items():
        hosts[name] = publish(hosts.get(name, HostRun(name)), data)
    return replace(run, hosts=hosts)


def _on_host(host: HostRun, event: Event) -> HostRun:
    stage = STAGE_OF_ROLE.get(event.role, host.stage)
    if event.kind == "runner_on_start":
        return replace(host, task=event.task, role=event.role, stage=stage, progress="")
    if event.kind == "runner_retry":  # a step that is asked again and again how far it is
        return replace(host, progress=_text(event.result.get("progress") or ""))
    if not event.ended:
        return host
    host = replace(host, task="", progress="", stage=stage, seconds=host.seconds + event.duration)
    if event.kind == "runner_on_unreachable":
        problem = explain(host.name, event.result, task=event.task, unreachable=True)
        return replace(host, unreachable=True, failure=problem, role=event.role)
    if event.failed:
        problem = explain(host.name, event.result, task=event.task)
        return replace(host, failure=problem, role=event.role)
    return replace(host, changed=host.changed + 1) if event.changed else host


def publish(host: HostRun, data: Mapping[str, Any]) -> HostRun:
    """Merge what a play published about a host: single values replace, lists of findings grow."""
    values: dict[str, Any] = {key: data[key] for key in REPLACED if isinstance(data.get(key), dict)}
    if isinstance(data.get("changes"), list):
        values["changes"] = tuple(Change.of(item) for item in data["changes"])
    if isinstance(data.get("problems"), list):
        found = (_problem(item) for item in data["problems"])
        values["problems"] = tuple(dict.fromkeys((*host.problems, *found)))
    for key in ("verify", "packages", "generated"):
        if isinstance(data.get(key), list):
            values[key] = tuple(item for item in data[key] if isinstance(item, dict))
    for key in ("removed", "leftover"):
        if isinstance(data.get(key), list):
            values[key] = tuple(_text(item) for item in data[key])
    return replace(host, **values)


def _problem(raw: Mapping[str, Any]) -> Problem:
    return Problem(
        str(raw.get("code", "STK-901")), str(raw.get("what", "")), str(raw.get("hint") or "")
    )


def _text(item: Any) -> str:
    return (
        str(item.get("what") or item.get("name") or item) if isinstance(item, dict) else str(item)
    )


def _settle(run: Run, stats: Mapping[str, Any]) -> Run:
    """Let ansible's recap decide who failed: a rescued failure is none."""
    failures, dark = stats.get("failures") or {}, stats.get("dark") or {}
    hosts = {}
    for name, host in run.hosts.items():
        failure = host.failure if failures.get(name) or dark.get(name) else None
        if failures.get(name) and failure is None:
            failure = Problem("STK-801", "a step failed without saying why")
        hosts[name] = replace(host, failure=failure, unreachable=bool(dark.get(name)), task="")
    return replace(run, hosts=hosts)


def stop(run: Run) -> Run:
    """Mark the hosts that an interrupt left in the middle; `task` still says where."""
    if run.finished:
        return run
    return replace(
        run,
        hosts={
            name: host if host.failure else replace(host, stopped=True)
            for name, host in run.hosts.items()
        },
    )


def mark_applied(run: Run) -> Run:
    """Mark all hosts as worked on, for a run without a plan before it."""
    hosts = {name: replace(host, applied=True) for name, host in run.hosts.items()}
    return replace(run, hosts=hosts)


def merge(plan: Run, applied: Run) -> Run:
    """Return the run as the user saw it: planned, then applied to some of the hosts."""
    hosts = dict(plan.hosts)
    for name, after in applied.hosts.items():
        before = plan.hosts.get(name, HostRun(name))
        hosts[name] = replace(
            after,
            facts={**before.facts, **after.facts},
            profile=after.profile or before.profile,
            boot=after.boot,
            changes=before.changes,
            seconds=before.seconds + after.seconds,
            applied=True,
        )
    return replace(applied, hosts=hosts, started=plan.started or applied.started)
