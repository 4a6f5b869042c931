"""What a run looks like while it goes on: a line per host, or lines of a log that stay readable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from . import text
from .diagnosis import message_of
from .errors import Exit, Problem, exit_of
from .events import STAGES, Event
from .report import HostRun, Run

SLOW = 30.0
HEARTBEAT = 60.0
# The first task of each wave, in playbooks/tasks/wave.yml.
NEW_WAVE = "Say that no further wave is started"
Clock = Callable[[], float]


@dataclass(slots=True)
class _Watch:
    """When a host began its task, and when that was last mentioned."""

    began: float
    mentioned: float


class Tracker:
    """Remembers when each host's task began; time is a parameter so that tests own it."""

    def __init__(self, now: Clock = time.monotonic) -> None:
        self._now = now
        self._watches: dict[str, _Watch] = {}
        self.began = now()

    def see(self, event: Event) -> None:
        """Take the next event."""
        if event.kind == "runner_on_start" and event.host:
            now = self._now()
            self._watches[event.host] = _Watch(now, now)
        elif event.ended:
            self._watches.pop(event.host, None)

    def elapsed(self, host: str) -> float:
        """How long a host has been in its task."""
        watch = self._watches.get(host)
        return self._now() - watch.began if watch else 0.0

    def due(self) -> list[tuple[str, float]]:
        """Hosts whose task has been silent for a heartbeat, with how long it runs."""
        now, found = self._now(), []
        for host, watch in self._watches.items():
            if now - watch.mentioned >= HEARTBEAT:
                watch.mentioned = now
                found.append((host, now - watch.began))
        return found


class Waves:
    """Which wave is at work; how many hosts have not begun."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.number = 0
        self._begins = False
        self._seen: set[str] = set()

    def see(self, event: Event) -> Text | None:
        """Take the next event; the line that tells of a new wave, once it has a host."""
        if event.kind == "playbook_on_task_start" and event.task == NEW_WAVE:
            self._begins = True
        elif self._begins and event.kind == "runner_on_start" and event.host not in self._seen:
            self._begins, self.number = False, self.number + 1
            if self.expected > 1:
                return Text(f"wave {self.number} begins", style="bold")
        if event.kind == "runner_on_start" and event.role:
            self._seen.add(event.host)
        return None

    def said(self, run: Run) -> str:
        """`wave 2, 5 done, 1 failed, 6 not started`, for more than one host."""
        if self.expected < 2:
            return ""
        failed = sum(1 for host in run.hosts.values() if host.failure)
        waiting = max(0, self.expected - len(self._seen))
        parts = [f"wave {max(1, self.number)}", f"{failed} failed" if failed else "",
                 f"{waiting} not started" if waiting else ""]  # fmt: skip
        return ", " + ", ".join(part for part in parts if part)


def log_line(event: Event, *, wide: int = 0) -> Text | None:
    """`host  role  task  changed (12 s)`; only what changed, failed or was slow is worth a line."""
    if event.kind == "runner_on_unreachable":
        word, style = "unreachable", "red"
    elif event.kind == "runner_on_failed":
        word, style = ("failed, ignored", "yellow") if event.ignored else (_failure(event), "red")
    elif event.changed:
        word, style = "changed", "yellow"
    elif event.kind == "runner_on_ok" and event.duration >= SLOW:
        word, style = "ok", "green"
    else:
        return None
    line = Text(f"{event.host.ljust(wide)}  {event.role or '-':<17}  {text.clean(event.task)}  ")
    line.append(word, style=style)
    if event.duration >= 1:
        line.append(f" ({text.duration(event.duration)})", style="dim")
    return line


def _failure(event: Event) -> str:
    """A host that a role refuses on purpose did not fail."""
    problem = Problem.parse(message_of(event.result))
    refused = problem is not None and exit_of(problem.code) in (Exit.REFUSED, Exit.USAGE)
    return "refused" if refused else "failed"


def heartbeat(run: Run, tracker: Tracker) -> list[Text]:
    """A sign of life for each host that is silent in a long task."""
    return [
        Text(f"{name}  still: {_busy(run.hosts[name])} … ({text.duration(seconds)})", style="dim")
        for name, seconds in tracker.due()
        if name in run.hosts and run.hosts[name].task
    ]


def _busy(host: HostRun) -> str:
    """The task, and how far it is where it says so."""
    return f"{host.task}: {text.clean(host.progress)}" if host.progress else host.task


def board(
    title: str,
    run: Run,
    tracker: Tracker,
    spinner: Spinner,
    size: tuple[int, int],
    note: str = "",
    *,
    stages: bool = True,
    waves: Waves | None = None,
) -> RenderableType:
    """The live display: one line per host, the busy ones first if they do not all fit."""
    hosts = sorted(run.hosts.values(), key=lambda host: not host.task)
    width, room = size[0], max(1, size[1] - 4)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.width = width - 4  # the ^C that a terminal echoes must not wrap and spoil the display
    grid.add_column(width=1, no_wrap=True)
    grid.add_column(no_wrap=True, max_width=28, overflow="ellipsis")
    grid.add_column(no_wrap=True, min_width=11 if stages else 0)
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_column(no_wrap=True, justify="right", min_width=7)
    total = text.clock(tracker._now() - tracker.began)
    if not hosts:
        grid.add_row(spinner, title, "", Text("starting ansible", style="dim"), total)
    for host in hosts[:room]:
        grid.add_row(*_row(host, tracker, spinner, stages))
    parts: list[RenderableType] = [grid]
    if len(hosts) > room:
        parts.append(Text(f"  and {text.count(len(hosts) - room, 'more host')}", style="dim"))
    if hosts:
        busy = sum(1 for host in hosts if host.task)
        counted = f"{title}: {total}" + (f", {busy} of {len(hosts)} busy" if len(hosts) > 1 else "")
        counted += waves.said(run) if waves else ""
        parts.append(Text(f"  {counted}", style="dim"))
    if note:
        parts.append(Text(f"  {note}", style="bold yellow"))
    return Group(*parts)


def _row(
    host: HostRun, tracker: Tracker, spinner: Spinner, stages: bool
) -> tuple[RenderableType, ...]:
    number = STAGES.index(host.stage) + 1 if stages and host.stage in STAGES else 0
    stage = f"{host.stage} {number}/{len(STAGES)}" if number else ""
    if host.failure:
        return (Text("x", "red"), host.name, stage, Text(host.failure.what, "red"), "")
    if not host.task:
        return (Text("-", "dim"), host.name, stage, Text("waiting", "dim"), "")
    return (spinner, host.name, stage, Text(_busy(host)), text.clock(tracker.elapsed(host.name)))
