"""How the end of a run looks: one table, then what each host has to say for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import fleet, plan_parts, text, views
from .errors import Exit
from .report import HostRun, Run

WIDE = 116
# Stays as long as packages do (role packages): what they were before stroke came.
PACKAGE_RECORDS = "/var/lib/stroke"


def applied(run: Run, width: int) -> RenderableType:
    """Return the final table of provision; one host on a narrow screen gets a list instead."""
    shown = list(run.hosts.values())
    if not shown:
        return Text("No host took part.")
    parts: list[RenderableType] = []
    if len(shown) <= 2 and width < WIDE:
        parts += [part for host in shown for part in (_record(host), Text())]
    else:
        parts += [_table(shown), Text()]
    for host in shown:
        parts += details(host, many=len(shown) > 1)
    if len(shown) > 1:
        parts.append(Text(fleet.sentence(run), style="bold"))
    return Group(*parts)


def _table(hosts: list[HostRun]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("HOST", "RESULT", "KERNEL", "GPU", "SERVES", "ENDPOINT"):
        table.add_column(title, overflow="fold")
    for title in ("CHANGED", "REBOOTED", "TIME"):
        table.add_column(title, no_wrap=True)
    for host in hosts:
        table.add_row(
            host.name,
            views.styled(host.status),
            kernel(host),
            views.gpu(host) or "-",
            serves(host) or "-",
            text.clean(host.endpoint.get("url") or "-"),
            str(host.changed),
            "yes" if host.rebooted else "no",
            text.duration(host.seconds),
        )
    return table


def _record(host: HostRun) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(host.name, style="bold"), views.styled(host.status))
    before = text.clean(host.boot.get("kernel_before") or "")
    now = kernel(host)
    grid.add_row("  kernel", now + (f" (was {before})" if before not in ("", now) else ""))
    for name, value in (
        ("GPU", views.gpu(host)),
        ("serves", serves(host)),
        ("endpoint", text.clean(host.endpoint.get("url") or "")),
    ):
        if value:
            grid.add_row(f"  {name}", value)
    grid.add_row("  changed", text.count(host.changed, "step"))
    kept = ", and the new system is kept" if host.boot.get("outcome") == "committed" else ""
    grid.add_row("  rebooted", f"yes{kept}" if host.rebooted else "no")
    grid.add_row("  time", text.duration(host.seconds))
    return grid


def kernel(host: HostRun) -> str:
    """The kernel that runs now."""
    return text.clean(host.boot.get("kernel_after") or host.facts.get("kernel") or "-")


def serves(host: HostRun) -> str:
    """Model and image, as the profile decided."""
    model = host.profile.get("model") or {}
    engine = host.profile.get("engine") or {}
    name = host.endpoint.get("model") or model.get("served_name") or model.get("name")
    image = engine.get("image") or engine.get("name")
    return " by ".join(text.clean(word) for word in (name, image) if word)


def details(host: HostRun, *, many: bool) -> list[RenderableType]:
    """Problems, failed checks and the answer of the endpoint."""
    parts: list[RenderableType] = []
    if host.lock.get("over"):
        parts.append(Text(f"{host.name} was taken from {text.clean(host.lock['over'])}"))
    found = views.problems(host)
    if found and many:
        parts.append(Text(f"{host.name}:", style="bold"))
    parts += found
    bad = [check for check in host.verify if check.get("status") in ("failed", "warning")]
    if bad:
        kept = HostRun(host.name, verify=tuple(bad))
        parts += [Text(f"{host.name}: checks that did not pass", style="bold"), views.checks(kept)]
    parts += completion(host)
    return parts


def completion(host: HostRun) -> list[RenderableType]:
    """The real answer of the endpoint: the proof that the host serves."""
    answer = host.endpoint.get("completion")
    if not isinstance(answer, dict) or not answer.get("text"):
        return []
    tokens, seconds = answer.get("tokens"), answer.get("seconds")
    figures = [f"{tokens} tokens"] if tokens else []
    figures += [f"{float(seconds):.1f} s"] if isinstance(seconds, (int, float)) else []
    head = Text(f"{host.name} answers", style="bold")
    head.append(f" ({', '.join(figures)}):" if figures else ":")
    lines: list[RenderableType] = [head]
    if answer.get("prompt"):
        lines.append(Text.assemble(("  > ", "dim"), text.clean(answer["prompt"])))
    lines.append(Text.assemble(("  < ", "dim"), text.clean(answer["text"]).strip() or "(empty)"))
    return lines


def verified(run: Run) -> RenderableType:
    """Return what verify found, host by host."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        parts += [views.verdict(host)]
        if host.verify:
            parts.append(views.checks(host))
        parts += [*views.problems(host), *completion(host), Text(_counts(host)), Text()]
    return Group(*parts[:-1]) if parts else Text("No host was looked at.")


def _counts(host: HostRun) -> str:
    words = {"passed": 0, "failed": 0, "warning": 0, "skipped": 0}
    for check in host.verify:
        word = str(check.get("status", "")).partition(" ")[0]
        words[word] = words.get(word, 0) + 1
    said = ", ".join(f"{number} {word}" for word, number in words.items() if number)
    return f"{host.name}: {said}." if said else f"{host.name}: nothing was checked."


def removed(run: Run) -> RenderableType:
    """Return what remove took away and what stayed."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        line = Text.assemble((host.name, "bold"), "  ", views.styled(host.status))
        line.append(
            f"  {text.count(host.changed, 'step')} changed in {text.duration(host.seconds)}"
        )
        parts.append(line)
        parts += [Text(f"  removed {text.clean(item)}") for item in host.removed]
        parts += [Text(f"  left    {text.clean(item)}", style="yellow") for item in host.leftover]
        if host.packages:
            parts += _packages(host)
        parts += views.problems(host)
        if host.exit is Exit.OK and host.boot.get("outcome") == "required":
            parts.append(Text("  The original kernel arguments are back after the next reboot."))
        parts.append(Text())
    return Group(*parts[:-1]) if parts else Text("No host took part.")


def _packages(host: HostRun) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for package in host.packages:
        before = package.get("before")
        grid.add_row(
            f"    {text.clean(package.get('name', ''))}",
            text.value(package.get("after")),
            f"was {text.value(before)}" if before else "was not installed",
        )
    title = f"  {text.count(len(host.packages), 'package')} installed by stroke"
    if PACKAGE_RECORDS in host.leftover:
        title += f"; they stay, {PACKAGE_RECORDS} has their record: stroke remove --packages"
    return [Text(f"{title}:"), grid]


def inspected(run: Run) -> RenderableType:
    """Return what the hosts are and what stroke would make of them, with reasons."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        parts += [views.verdict(host), *views.warnings(host), *views.problems(host)]
        values = {
            key: item
            for key, item in host.profile.items()
            if key in ("memory", "kernel", "firmware", "boot", "rocm", "runtime", "engine", "model")
        }
        parts += views.mapping(values)
        parts += plan_parts.budget(host)
        reasons = host.profile.get("reasons")
        if isinstance(reasons, dict) and reasons:
            parts.append(Text("  because:"))
            parts += views.mapping(reasons, indent=4)
        parts.append(Text())
    return Group(*parts[:-1]) if parts else Text("No host was looked at.")


def captured(file: Path, hosts: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Iterator[str]:
    """Return what is in an archive of hosts, and what was taken out of it."""
    if not hosts:
        yield f"No host could be captured; {file} was not written."
        return
    for name, directory, capture in hosts:
        replaced = capture.get("replaced")
        words = [
            text.count(int(number), kind)
            for kind, number in (replaced.items() if isinstance(replaced, dict) else ())
        ]
        taken = f"; replaced: {', '.join(words)}" if words else ""
        yield text.clean(f"{name} → {directory}/: {capture.get('files', 0)} files{taken}")
    yield f"Written to {file}. Look through it before you attach it: stroke doctor --root DIR"
