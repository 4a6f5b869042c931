"""The end of a plan: what happens at the reboot, what is downloaded, and the room that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import text
from .report import Change, HostRun

HEAD = "bold underline"
NEW_KERNEL = ("install", "upgrade")


def reboot(
    changes: Sequence[Change], boot: Mapping[str, Any] | None = None
) -> list[RenderableType]:
    """When the host reboots, and what that means for who uses it; nothing without a reboot."""
    waiting = [change for change in changes if change.action == "reboot"]
    if not waiting:
        return []
    before = any(change.stage == "prepare" for change in changes)
    when = "once, after the preparation" if before else "once; all it takes is there already"
    lines = [f"{when}; the host serves nothing until it is back"]
    if any(c.role == "kernel" and c.kind == "package" and c.action in NEW_KERNEL for c in changes):
        lines.append("the kernel that runs now stays installed, in the boot menu")
    arguments = [change.what for change in waiting if change.kind == "kernel_arg"]
    if arguments:
        lines.append(f"sets {', '.join(text.clean(name) for name in arguments)}")
    lines += [text.clean(said) for said in (boot or {}).get("sentences") or []]
    return [Text("At the reboot", style=HEAD), *(Text(f"  {line}") for line in lines)]


def budget(host: HostRun) -> list[RenderableType]:
    """The model's memory step by step, and how fast it is going to be; nothing without a model."""
    found = host.profile.get("budget")
    if not isinstance(found, Mapping) or not (found.get("table") or found.get("note")):
        return []
    model = text.clean(found.get("recipe") or "")
    parts: list[RenderableType] = [Text(f"Memory for {model}" if model else "Memory", style=HEAD)]
    parts.append(memory_steps(found))
    speed = host.profile.get("estimate")
    if isinstance(speed, Mapping):
        band = speed["single"]
        parts.append(Text(
            f"  one request: {band['low']:.1f} to {band['high']:.1f} tok/s expected; "
            f"stroke estimate {model} explains it"
        ))  # fmt: skip
    return parts


def memory_steps(found: Mapping[str, Any]) -> RenderableType:
    """A budget as a table, with why the engine does not get its arguments where it does not."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(overflow="fold")
    for row in _mappings(found.get("table")):
        size, words = row.get("bytes"), text.clean(row.get("text") or "")
        shown = f"{size / 2**30:.1f} GiB" if isinstance(size, int) else words
        style = "cyan" if words else "red" if row.get("step") == "missing" else ""
        why = Text(text.clean(row.get("reason") or ""), style="dim")
        step = Text(f"  {text.clean(row.get('step') or '')}", style=style)
        grid.add_row(step, Text(shown, style=style), why)
    note = text.clean(found.get("note") or "")
    return Group(grid, Text(f"  {note}")) if note else grid


def downloads(host: HostRun) -> list[RenderableType]:
    """What comes to the host, with its size or why nobody knows it yet."""
    items = _mappings(host.space.get("downloads"))
    if not items:
        return []
    grid = _grid()
    for item in items:
        size = item.get("bytes")
        why = text.clean(item.get("why") or "")
        known = text.size(size) if size is not None else f"size unknown ({why})"
        grid.add_row(f"  {text.clean(item.get('what', ''))}", Text(known, style="cyan"))
    return [Text("Downloads", style=HEAD), grid]


def room(hosts: Sequence[HostRun]) -> list[RenderableType]:
    """Free space where something goes, host by host."""
    grid = _grid()
    rows = 0
    for host in hosts:
        name = f"{host.name}  " if len(hosts) > 1 else ""
        for place in _mappings(host.space.get("filesystems")):
            needs = _mappings(place.get("needs"))
            total = sum(int(need.get("bytes") or 0) for need in needs)
            free = int(place.get("free_bytes") or 0)
            what = " and ".join(text.clean(need.get("what", "")) for need in needs)
            wanted = f", {text.size(total)} wanted for {what}" if total else ""
            style = "red" if total > free else "cyan"
            mount = text.clean(place.get("mount", ""))
            grid.add_row(f"  {name}{mount}", Text(f"{text.size(free)} free{wanted}", style=style))
            rows += 1
    return [Text("Free space", style=HEAD), grid] if rows else []


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    return grid


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value or [] if isinstance(item, Mapping)]
