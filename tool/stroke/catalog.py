"""What the catalogue says: its entries by name, where each comes from, and who refers to it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import role_code, version
from .errors import Exit, StrokeError

Json = dict[str, Any]
SCHEMA = "stroke/catalog/1"
# What an entry of a list is called by, the best first; the others are names of it, too.
NAMES = ("id", "key", "reference", "pci_id", "name", "repository", "kind")
ABOUT = ("product", "name", "meaning", "what", "minimum_reason", "reason", "image", "uri")
PCI = "1002:"
SITE = "site"  # what a merged catalogue says of the site's own files


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of one section."""

    section: str
    name: str
    data: Mapping[str, Any]

    @property
    def names(self) -> set[str]:
        """Every word that means this entry, in lower case."""
        values = (self.data.get(key) for key in NAMES)
        return {self.name.lower(), *(v.lower() for v in values if isinstance(v, str) and v)}

    @property
    def about(self) -> str:
        """What the entry is, in the words of the catalogue."""
        for key in ABOUT:
            value = self.data.get(key)
            if isinstance(value, str) and value and value != self.name:
                return value
        plain = {k: v for k, v in self.data.items() if k not in (*NAMES, "source", "confidence")}
        said = (f"{k} {v}" for k, v in plain.items() if isinstance(v, (str, int)) and v != "")
        return ", ".join(said)


def entries(known: Mapping[str, Any]) -> list[Entry]:
    """Every entry: of lists by their id, of maps by their key; a section that is one entry too."""
    found: list[Entry] = []
    for section, content in known.items():
        if section == SITE:
            continue
        if isinstance(content, list):
            for number, item in enumerate(content):
                if isinstance(item, Mapping):
                    found.append(Entry(section, _name(item, number), item))
        elif isinstance(content, Mapping):
            parts = {k: v for k, v in content.items() if isinstance(v, Mapping) and "source" in v}
            found += [Entry(section, str(key), item) for key, item in parts.items()]
            if not parts:
                found.append(Entry(section, section, content))
    return found


def _name(item: Mapping[str, Any], number: int) -> str:
    for key in NAMES:
        if isinstance(item.get(key), str) and item[key]:
            revision = item.get("revision") if key == "pci_id" else None
            return f"{item[key]}:{revision.lower()}" if revision else str(item[key])
    return f"#{number + 1}"


def find(known: Mapping[str, Any], name: str) -> tuple[str, list[Entry]]:
    """The entries that a word means, and how to show them: as `entry` or as `section`."""
    listed = entries(known)
    word = name.strip().lower()
    device = word.removeprefix(PCI).removeprefix("0x")
    if exact := [entry for entry in listed if {word, device} & entry.names]:
        return ("section" if len(exact) > 2 else "entry"), exact
    if members := [entry for entry in listed if entry.section.lower() == word]:
        return "section", members
    worded = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    if products := [e for e in listed if worded.search(str(e.data.get("name", "")).lower())]:
        return ("section" if len(products) > 2 else "entry"), products
    names = {one.lower(): one for entry in listed for one in (entry.name, entry.section)}
    names |= {one: one for entry in listed for one in entry.names if one not in names}
    near = difflib.get_close_matches(word, names, n=4, cutoff=0.55)
    near += [one for one in sorted(names) if word and word in one and one not in near]
    hint = f"did you mean {', '.join(names[one] for one in near[:4])}? " if near else ""
    raise StrokeError(
        f"the catalogue has no {name}", code="STK-107", hint=f"{hint}All names: stroke catalog"
    )


def used_by(known: Mapping[str, Any], entry: Entry) -> list[Entry]:
    """Entries that name this one in one of their fields."""
    others = (one for one in entries(known) if one != entry)
    return [one for one in others if entry.name in set(_texts(one.data, top=True))]


def _texts(value: Any, *, top: bool = False) -> Iterator[str]:
    """Every short text in an entry; what it calls itself does not count."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not (top and key in (*NAMES, "source", "confidence")):
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def document(known: Mapping[str, Any], name: str | None) -> Json:
    """What `--json` prints."""
    found = entries(known) if name is None else find(known, name)[1]
    return {
        "schema": SCHEMA,
        "stroke": version(),
        "name": name,
        "entries": [
            {
                "section": entry.section,
                "name": entry.name,
                "used_by": [f"{one.section}/{one.name}" for one in used_by(known, entry)]
                if name
                else [],
                "data": dict(entry.data),
            }
            for entry in found
        ],
    }


def catalog(name: str | None, *, as_json: bool, site: str = "") -> Exit:
    """Run the command; `site` is a directory with entries that add to the shipped ones."""
    from . import catalog_view as view
    from .console import Console

    console = Console(as_json=as_json)
    known = role_code.catalog(site)
    if problems := (known.get(SITE) or {}).get("problems"):
        raise StrokeError(f"{site}: {problems[0]}", code="STK-304")
    if name is None:
        console.result(view.overview(entries(known)))
    else:
        kind, found = find(known, name)
        if kind == "section":
            console.result(view.section(found))
        else:
            console.result(view.explained([(one, used_by(known, one)) for one in found]))
    if as_json:
        console.document(document(known, name))
    return Exit.OK
