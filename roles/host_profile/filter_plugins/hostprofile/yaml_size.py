"""How large a YAML text becomes once its aliases are written out: a few lines can be gigabytes."""

from __future__ import annotations

from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Ten thousand hosts with a hundred values each; more is no inventory and no catalogue.
NODES = 2_000_000
# Deeper than people nest, and not so deep that a parser runs out of stack.
DEPTH = 100


def too_large(text: str) -> str:
    """Why a text must not be loaded; empty where it may. Raises yaml.YAMLError for what is no YAML.

    Counts in one pass over the events, without building anything.
    """
    known: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            total += known.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                known[event.anchor] = 1
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            total += 1
            open_nodes.append((event.anchor, total - 1))
            if len(open_nodes) > DEPTH:
                return f"it is nested more than {DEPTH} deep"
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = open_nodes.pop()
            if anchor:
                known[anchor] = total - before
        if total > NODES:
            return f"its aliases make more than {NODES} values of it"
    return ""
