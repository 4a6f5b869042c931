"""How results look: pure functions from reports to things that rich can draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import plan_parts, text
from .errors import Exit, Problem
from .events import STAGES
from .report import Change, HostRun, Run

ACTION_STYLE = {
    "create": "green",
    "install": "green",
    "load": "green",
    "start": "green",
    "enable": "green",
    "change": "yellow",
    "upgrade": "yellow",
    "downgrade": "yellow",
    "restart": "yellow",
    "unmask": "yellow",
    "repair": "yellow",
    "reboot": "magenta",
    "remove": "red",
    "stop": "red",
}
STATUS_STYLE = {
    "done": "green",
    "ok": "green",
    "converged": "green",
    "changes": "yellow",
    "passed": "green",
    "supported": "green",
    "works with warnings": "yellow",
    "warning": "yellow",
    "interrupted": "yellow",
    "not started": "yellow",
}
NAMELESS = ("user", "image")  # names of these kinds do not say what they are
STAGE_TITLE = {
    "prepare": "Prepare the host",
    "reboot": "After the reboot",
    "serve": "Serve",
}


def styled(word: str) -> Text:
    """A status or verdict in its colour."""
    fallback = "cyan" if word.startswith("skipped") else "red"
    return Text(word, style=STATUS_STYLE.get(word, fallback))


def plan(run: Run, *, diff: bool = False) -> RenderableType:
    """What the hosts are, and what would change on them and why."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        parts += [verdict(host), *_indented(warnings(host)), *_indented(problems(host))]
    planned = [host for host in run.hosts.values() if host.changes and host.exit is Exit.OK]
    by_plan: dict[tuple[Any, ...], list[str]] = {}
    for host in planned:
        same = (*_hashable(host.changes or ()), *(host.boot.get("sentences") or ()))
        by_plan.setdefault(same, []).append(host.name)
    for hosts in by_plan.values():
        host = run.hosts[hosts[0]]
        parts.append(Text())
        if len(run.hosts) > 1:
            parts.append(Text(f"{', '.join(hosts)}:", style="bold"))
        parts += changes(host.changes or (), diff=diff)
        parts += plan_parts.budget(host)
        parts += plan_parts.reboot(host.changes or (), host.boot)
        parts += plan_parts.downloads(host)
        parts += plan_parts.room([run.hosts[name] for name in hosts])
    return Group(*parts, Text(), Text(summary(run), style="bold"))


def _hashable(items: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(replace(c, before=text.value(c.before), after=text.value(c.after)) for c in items)


def verdict(host: HostRun) -> RenderableType:
    """One line per host: what it is and whether stroke can work with it."""
    word = {"refused": "refused", "unreachable": "unreachable", "failed": "failed"}.get(
        host.status, str(host.profile.get("verdict") or host.status)
    )
    line = Text.assemble((host.name, "bold"), "  ", styled(word))
    about = describe(host)
    if about:
        line.append(f"  {about}")
    chosen = host.profile.get("generation")
    if isinstance(chosen, Mapping):
        day = text.clean(str(chosen.get("at", ""))[:10])
        line.append(f"  back to generation {chosen.get('number')} of {day}", style="cyan")
    if host.status == "converged":
        line.append("  converged, nothing to do", style="green")
    return line


def describe(host: HostRun) -> str:
    """Distribution, kernel, GPU and memory in a row."""
    facts = host.facts
    kernel = facts.get("kernel")
    memory = text.gib(facts.get("memory_bytes"))
    words = [
        text.clean(facts.get("distribution") or ""),
        f"kernel {text.clean(kernel)}" if kernel else "",
        gpu(host),
        f"{memory} RAM" if memory else "",
    ]
    return ", ".join(word for word in words if word)


def gpu(host: HostRun) -> str:
    """The GPU, with a word when it is only declared."""
    name = host.facts.get("gpu") or host.profile.get("gfx")
    simulated = host.facts.get("simulated") or host.profile.get("simulated")
    return f"{text.clean(name)}{' (simulated)' if simulated else ''}" if name else ""


def changes(items: Sequence[Change], *, diff: bool = False) -> list[RenderableType]:
    """Changes by stage, each with both sides; a reason shared by neighbours is said once."""
    parts: list[RenderableType] = []
    order = {stage: number for number, stage in enumerate(STAGES)}
    ordered = sorted(items, key=lambda change: order.get(change.stage, 9))
    for stage, group in groupby(ordered, key=lambda change: change.stage):
        parts.append(Text(STAGE_TITLE.get(stage, stage), style="bold underline"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(min_width=9)
        grid.add_column(overflow="fold")
        rows = list(group)
        for change, following in zip(rows, [*rows[1:], None], strict=True):
            style = ACTION_STYLE.get(change.action, "")
            grid.add_row(Text(f"  {change.action}", style=style), sides(change))
            if diff and change.diff:
                grid.add_row("", diff_text(change.diff))
            if change.reason and (following is None or following.reason != change.reason):
                grid.add_row("", Text(f"  {text.clean(change.reason)}", style="dim"))
        parts.append(grid)
    return parts


def sides(change: Change) -> Text:
    """`what: before → after`, or less where one side says nothing."""
    before, after = text.value(change.before), text.value(change.after)
    name = f"{change.kind} {change.what}" if change.kind in NAMELESS else change.what
    line = Text(text.clean(name))
    plain = after in ("none", change.kind, "login")
    if change.before in (None, ""):
        return line if plain else line.append(f"  {after}", style="cyan")
    if change.after in (None, ""):
        return line.append(f"  {before}", style="cyan")
    return line.append(f"  {before} → {after}", style="cyan")


def diff_text(diff: str) -> Text:
    """A unified diff in colours."""
    result = Text()
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in text.clean(diff).splitlines():
        result.append(line + "\n", style=colours.get(line[:1], ""))
    result.rstrip()
    return result


def summary(run: Run) -> str:
    """The sentence below a plan."""
    hosts = list(run.hosts.values())
    wanting = [h for h in hosts if h.status == "changes"]
    words = []
    if wanting:
        total = sum(len(h.changes or ()) for h in wanting)
        reboots = sum(any(c.action == "reboot" for c in h.changes or ()) for h in wanting)
        words.append(
            f"{text.count(total, 'change')} on {text.count(len(wanting), 'host')}, "
            + (text.count(reboots, "reboot") if reboots else "no reboot")
        )
    for status in ("converged", "refused", "unreachable", "failed"):
        number = sum(h.status == status for h in hosts)
        if number:
            words.append(f"{text.count(number, 'host')} {status}")
    return "; ".join(words) + "." if words else "No host was looked at."


def problems(host: HostRun) -> list[RenderableType]:
    """What is wrong on one host, each with its code and the way out."""
    return [problem(item) for item in host.all_problems]


def problem(item: Problem) -> RenderableType:
    """A problem in two lines."""
    line = Text.assemble((item.code, "bold red"), f": {text.clean(item.what).rstrip('.')}")
    parts: list[RenderableType] = [line]
    if item.hint:
        parts.append(Text.assemble(("Hint: ", "bold"), text.clean(item.hint)))
    return Group(*parts)


def warnings(host: HostRun) -> list[RenderableType]:
    """What works, but not well."""
    found: list[RenderableType] = []
    for item in host.profile.get("warnings") or []:
        data = item if isinstance(item, Mapping) else {"what": item}
        what = text.clean(data.get("what", "")).rstrip(".")
        line = Text.assemble(("warning: ", "bold yellow"), what)
        if data.get("hint"):
            line.append(f". Hint: {text.clean(data['hint'])}")
        found.append(line)
    return found


def checks(host: HostRun) -> RenderableType:
    """What verify looked at, layer by layer."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in host.verify:
        status = str(check.get("status", ""))
        line = Text(text.clean(check.get("what", "")))
        if check.get("detail"):
            line.append(
                f": {text.clean(check['detail'])}", style="" if status == "failed" else "dim"
            )
        if status in ("failed", "warning") and check.get("hint"):
            line.append(f"\nHint: {text.clean(check['hint'])}")
        grid.add_row(f"  {check.get('id', '')}", styled(status), line)
    return grid


def _indented(parts: Iterable[RenderableType]) -> list[RenderableType]:
    return [Padding(part, (0, 0, 0, 2)) for part in parts]


def mapping(data: Mapping[str, Any], indent: int = 2) -> Iterable[RenderableType]:
    """A nested mapping as indented `key: value` lines."""
    for key, item in data.items():
        if isinstance(item, Mapping):
            if item:
                yield Padding(Text(f"{key}:"), (0, 0, 0, indent))
                yield from mapping(item, indent + 2)
        elif item not in (None, [], ""):
            shown = "yes" if item is True else "no" if item is False else text.value(item)
            if key.endswith("_bytes"):
                shown = text.gib(item) or shown
            yield Padding(Text(f"{key}: {shown}"), (0, 0, 0, indent))
