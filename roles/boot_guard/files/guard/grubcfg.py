"""Which entry of the distribution's own boot menu starts, and with which kernel and arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

import menu

_HEAD = re.compile(r"\s*(menuentry|submenu)\s")
_LINUX = re.compile(r"\s*linux\S*\s+(\S+)\s*(.*)$")
_ID = ("$menuentry_id_option", "--id")


@dataclass
class Node:
    """An entry, or a submenu with entries in it."""

    title: str
    name: str = ""
    kernel: str = ""
    words: list[str] = field(default_factory=list)
    inside: list[Node] | None = None


def _node(line: str) -> Node:
    try:
        words = shlex.split(line.rstrip().removesuffix("{"))
    except ValueError:
        words = line.split()
    names = [after for word, after in zip(words, words[1:]) if word in _ID]
    inside: list[Node] | None = [] if words[0] == "submenu" else None
    return Node(words[1] if len(words) > 1 else "", names[0] if names else "", inside=inside)


def nodes(config: str) -> list[Node]:
    """The menu as GRUB numbers it; functions and conditions around entries do not count."""
    top: list[Node] = []
    # What is open: an entry or a submenu, or nothing of ours (a function).
    levels: list[Node | None] = []
    for line in config.splitlines():
        within = next((node for node in reversed(levels) if node), None)
        if _HEAD.match(line):
            made = _node(line)
            (within.inside if within and within.inside is not None else top).append(made)
            if line.rstrip().endswith("{"):
                levels.append(made)
        elif line.strip() == "}":
            if levels:
                levels.pop()
        elif line.rstrip().endswith("{"):
            levels.append(None)
        elif within and within.inside is None and not within.kernel:
            found = _LINUX.match(line)
            if found:
                words = menu.split(found[2])
                within.kernel = found[1]
                within.words = [word for word in words if not word.startswith("$")]
    return top


def chosen(config: str, environment: str) -> str:
    """What the menu takes for its default: a number, an id or a title, below each other by `>`."""
    values = re.findall(r'^\s*set default="([^"]*)"$', config, re.MULTILINE)
    value = next((value for value in reversed(values) if value != "${next_entry}"), "")
    if value == "${saved_entry}":
        saved = re.search(r"^saved_entry=(.*)$", environment, re.MULTILINE)
        value = (saved[1] if saved else "") or "0"
    return value


def release_entry(config: str, release: str) -> tuple[str, list[str]]:
    """Kernel and words of the entry that 10_linux makes for a release: not that for recovery.

    Both are empty where the menu has none. It is the entry that a drop-in chooses by its name.
    """
    for node in _entries(nodes(config)):
        if node.name.startswith(f"gnulinux-{release}-advanced-"):
            return node.kernel, node.words
    return "", []


def _entries(level: list[Node]) -> Iterator[Node]:
    for node in level:
        if node.inside is None:
            yield node
        else:
            yield from _entries(node.inside)


def default_entry(config: str, environment: str = "") -> tuple[str, list[str]]:
    """Kernel and words of the entry that the distribution's menu starts without us.

    `environment` is the text of grubenv. The kernel is empty where only the running GRUB knows.
    """
    value = chosen(config, environment)
    if not value or "$" in value:
        return "", []
    level: list[Node] | None = nodes(config)
    node: Node | None = None
    for part in value.split(">"):
        if not level:
            return "", []
        if part.isdecimal():
            found = level[int(part) : int(part) + 1]
        else:
            found = [one for one in level if part in (one.name, one.title)]
        node = (found or level)[0]  # as GRUB does with a name that is not there
        level = node.inside
    return (node.kernel, node.words) if node and node.inside is None else ("", [])
