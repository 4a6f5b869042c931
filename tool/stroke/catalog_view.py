"""How the catalogue looks: an overview, a section as a table, an entry with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import text
from .catalog import Entry

LAST = ("source", "confidence")
LONG = 4000  # characters of a value that nobody reads in a terminal: an engine's arguments
CONFIDENCE = {"high": "green", "medium": "yellow", "low": "red", "derived": "cyan"}


def overview(found: Sequence[Entry]) -> RenderableType:
    """Every section with the names in it."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("SECTION", no_wrap=True)
    table.add_column("ENTRIES", no_wrap=True, justify="right")
    table.add_column("NAMES", overflow="fold")
    for section, group in groupby(found, key=lambda entry: entry.section):
        names = [entry.name for entry in group]
        table.add_row(section, str(len(names)), text.clean(", ".join(dict.fromkeys(names))))
    return Group(table, Text(), Text("Explain one: stroke catalog NAME", style="dim"))


def section(found: Sequence[Entry]) -> RenderableType:
    """One line for each entry of a section."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("NAME", no_wrap=True)
    table.add_column("WHAT", overflow="fold")
    table.add_column("CONFIDENCE", no_wrap=True)
    for entry in found:
        table.add_row(text.clean(entry.name), text.clean(entry.about), _confidence(entry))
    return table


def explained(found: Sequence[tuple[Entry, list[Entry]]]) -> RenderableType:
    """Everything that the catalogue says of an entry, its source last."""
    parts: list[RenderableType] = []
    for entry, users in found:
        parts.append(
            Text.assemble((entry.name, "bold"), f"  {entry.section}", (f"  {_title(entry)}", "dim"))
        )
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value in entry.data.items():
            if key not in LAST and value not in (None, "", [], {}):
                grid.add_row(f"  {key}", Text(text.clean(_words(value))))
        for place, group in groupby(users, key=lambda one: one.section):
            names = ", ".join(one.name for one in group)
            grid.add_row(f"  in {place}", Text(text.clean(names), style="dim"))
        grid.add_row("  source", Text(text.clean(entry.data.get("source", "not stated"))))
        grid.add_row("  confidence", _confidence(entry))
        parts += [grid, Text()]
    return Group(*parts[:-1])


def _title(entry: Entry) -> str:
    about = entry.about
    return text.clean(about) if about != entry.data.get("source") else ""


def _confidence(entry: Entry) -> Text:
    word = str(entry.data.get("confidence", "-"))
    return Text(word, style=CONFIDENCE.get(word, ""))


def _words(value: Any) -> str:
    """A value of any depth in one or several lines."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_inline(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        deep = any(isinstance(item, (Mapping, list)) for item in value)
        words = ("\n" if deep else ", ").join(_inline(item) for item in value)
        return f"{len(value)} entries, which --json has" if len(words) > LONG else words or "none"
    return str(value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inline(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_inline(item) for item in value) or "none"
    return _words(value)
