"""Going back to what was proven before: the plan and the run of provision, with a generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import text, views
from .commands import provision
from .errors import Exit
from .report import HostRun, Run

if TYPE_CHECKING:
    from .session import Session


def rollback(session: Session) -> tuple[Run, Exit]:
    """List the generations, or plan, ask, apply and say how to stay there."""
    if session.options.listed:
        run = session.play("generations", "Looking at the hosts")
        session.console.result(generations(run))
        return run, run.exit
    run, code = provision(session)
    if code is Exit.OK and not session.options.check:
        _say_how_to_stay(session, run)
    return run, code


def _say_how_to_stay(session: Session, run: Run) -> None:
    """The inventory decides: without a word in it the next provision goes forward again."""
    numbers = {back(host).get("number") for host in run.hosts.values()} - {None}
    number = str(numbers.pop()) if len(numbers) == 1 else "N"
    session.console.hint(
        "The next stroke provision goes forward again. To stay, set in the inventory:",
        f"stroke_generation: {number}",
    )


def back(host: HostRun) -> Mapping[str, Any]:
    """The generation that a host goes back to, as its profile says; empty without one."""
    found = host.profile.get("generation")
    return found if isinstance(found, Mapping) else {}


def generations(run: Run) -> RenderableType:
    """What each host can go back to."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        parts += [*([Text()] if parts else []), Text(host.name, style="bold")]
        parts += views.problems(host)
        rows = host.generations.get("rows")
        if rows:
            parts += [_table(rows), *_lacks(rows)]
        elif rows is not None:
            parts.append(Text("  nothing was proven here yet: run stroke provision first"))
    return Group(*parts) if parts else Text("No host was looked at.")


def _table(rows: list[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for title in ("N", "WHEN (UTC)", "BACK"):
        table.add_column(title, no_wrap=True)
    for title in ("KERNEL", "ARGUMENTS", "FIRMWARE", "IMAGE"):
        table.add_column(title, overflow="fold")
    for row in rows:
        gone = "" if row["kernel_there"] else " (gone)"
        table.add_row(
            "*" if row["current"] else "",
            str(row["number"]),
            text.clean(str(row["at"])[:16].replace("T", " ")),
            _possible(row),
            text.clean(f"{row['kernel']}{gone}"),
            text.clean(" ".join(row["arguments"]) or "-"),
            text.clean(", ".join(str(p["version"]) for p in row["packages"]) or "-"),
            text.clean(_images(row)),
        )
    return table


def _possible(row: Mapping[str, Any]) -> Text:
    if row["current"]:
        return Text("current", style="cyan")
    return Text("no", style="yellow") if row["lacks"] else Text("yes", style="green")


def _images(row: Mapping[str, Any]) -> str:
    """By service where there are several; without the registry, which makes lines long."""
    images = row["images"]
    gone = "" if row["images_there"] else " (gone)"
    several = len(images) > 1
    said = [
        (f"{service}: " if several else "") + str(image["reference"]).rpartition("/")[2]
        for service, image in images.items()
    ]
    return f"{', '.join(said)}{gone}" if said else "-"


def _lacks(rows: list[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Why a generation cannot be gone back to, and what would help."""
    for row in rows:
        for lack in row["lacks"] if not row["current"] else []:
            line = Text(f"{row['number']}: {lack['code']}: {text.clean(lack['what'])}")
            yield line.append(f". {text.clean(lack['hint'])}" if lack["hint"] else "", style="dim")
