"""What each file becomes, and what it was: decided from texts, without writing one."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import documents
from .documents import Document
from .errors import BootConfigError
from .files import Host
from .layouts import GRUB_DEFAULTS, KERNEL_CMDLINE, Source, Sources
from .record import Record
from .words import applied, arguments, key_of, undone, written

FileRecord = dict[str, Any]


class Change(NamedTuple):
    """One file before and after; None: there is no file."""

    path: str
    before: str | None
    after: str | None


class Plan(NamedTuple):
    """Changes in the order in which they are made, and the record that undoes them."""

    changes: list[Change]
    record: Record
    replaced: list[dict[str, str]]


def read(source: Source, text: str) -> Document:
    """Cut a file's text; a refusal names the file."""
    try:
        return source.reader(text)
    except BootConfigError as error:
        raise BootConfigError(f"{source.path}: {error.what}", error.hint, error.code) from error


def _words(document: Document) -> list[str]:
    return [word for value in document.values for word in arguments(document.codec(value))]


def _owned(words: list[str], wanted: list[str], keys: list[str]) -> list[str]:
    owned = {key_of(key) for key in keys} | {key_of(word) for word in wanted}
    return [word for word in words if key_of(word) in owned]


def _satisfied(source: Source, document: Document, wanted: list[str], keys: list[str]) -> bool:
    found = _owned(_words(document), wanted, keys)
    return sorted(found) == sorted(wanted if source.adds else [])


def _values(document: Document, wanted: list[str], keys: list[str]) -> list[str]:
    """The values with the wanted arguments in the one place for them; a new value comes last."""
    values = []
    for index, value in enumerate(document.values):
        here = wanted if index == document.target else []
        owned = [*keys, *wanted]
        values.append(written(applied(document.codec(value), here, owned)))
    if wanted and document.target is None:
        values.append(" ".join(wanted))
    return values


def _known(source: Source, text: str, mine: FileRecord) -> str | None:
    """The text from before stroke, byte by byte, if the file is as one of stroke's runs left it."""
    state: FileRecord | None = mine
    while state is not None:
        suffix = str(state.get("suffix", ""))
        base = text[: -len(suffix)] if suffix and text.endswith(suffix) else text
        document = read(source, base)
        if document.values == state["written"]:
            return document.rendered(mine["original"])
        state = state.get("earlier")  # of a run that was cut off before it came to this file
    return text if read(source, text).values == mine["original"] else None


def original(source: Source, text: str, mine: FileRecord | None, record: Record) -> str:
    """The text from before stroke: exactly, or word by word where somebody changed it since."""
    if mine is not None:
        exact = _known(source, text, mine)
        if exact is not None:
            return exact
        replaced = list(mine.get("replaced", []))
    else:
        # Made since, from the source for future kernels: it would have had what that one had.
        replaced = _replaced_in_source(record) if source.adds else []
    document = read(source, text)
    others = [word for word in _words(document) if word not in record.arguments]
    missing = [word for word in replaced if word not in others]
    return document.rendered([
        written(undone(document.codec(value), record.arguments,
                       missing if index == document.target else []))
        for index, value in enumerate(document.values)
    ])  # fmt: skip


def _replaced_in_source(record: Record) -> list[str]:
    for path in (KERNEL_CMDLINE, GRUB_DEFAULTS):
        if path in record.files:
            return list(record.files[path].get("replaced", []))
    return []


def present(host: Host, found: Sources, old: Record, wanted: list[str], keys: list[str]) -> Plan:
    """Every file with the wanted arguments; what already has them is left as it is."""
    same = old.arguments == wanted and old.keys == keys
    files = {path: mine for path, mine in settled(old).items()
             if any(source.path == path for source in found.found)}  # fmt: skip
    changes: list[Change] = []
    replaced: list[dict[str, str]] = []
    if found.missing is not None:
        files[KERNEL_CMDLINE], change = _create(found.missing, wanted, keys)
        changes.append(change)
    for source in found.found:
        text = host.read(source.path) or ""
        document = read(source, text)
        if (old.empty or same) and _satisfied(source, document, wanted, keys):
            if old.empty:
                files[source.path] = {"original": document.values, "written": document.values}
            replaced += _told(source, files.get(source.path, {}), wanted)
            continue
        base = original(source, text, old.files.get(source.path), old)
        after, mine = _edited(source, base, wanted if source.adds else [], [*keys, *wanted])
        if old.files.get(source.path, {}).get("created"):
            mine["created"] = True
        files[source.path] = mine
        replaced += _told(source, mine, wanted)
        if after != text:
            changes.append(Change(source.path, text, after))
    record = Record({"arguments": wanted, "keys": keys, "files": files})
    return Plan(changes, record, replaced)


def settled(record: Record) -> dict[str, FileRecord]:
    """Its files without what only matters while a run is under way."""
    return {
        path: {key: value for key, value in mine.items() if key != "earlier"}
        for path, mine in record.files.items()
    }


def between(old: Record, new: Record) -> Record:
    """The record while files are written: each may still be as the last run left it."""
    both = Record(vars(new))
    both.arguments += [word for word in old.arguments if word not in new.arguments]
    both.files = {
        path: {**mine, "earlier": old.files[path]} if path in old.files else mine
        for path, mine in new.files.items()
    }
    return both


def _edited(
    source: Source, base: str, wanted: list[str], owned: list[str]
) -> tuple[str, FileRecord]:
    """The new text, proved by reading it again, and how to come back from it."""
    document = read(source, base)
    values = _values(document, wanted, owned)
    after = document.rendered(values)
    again = read(source, after)
    kept = _words(document)
    lost = [word for word in kept if word not in _owned(kept, wanted, owned)]
    if again.values != values or _words_kept(_words(again), wanted, owned) != lost:
        raise BootConfigError(
            f"{source.path}: its arguments cannot be changed without a risk for the others",
            f"write {' '.join(wanted)} into it yourself",
        )
    mine: FileRecord = {
        "original": document.values,
        "written": values[: len(document.places)],
        "replaced": _owned(kept, wanted, owned),
    }
    if len(values) > len(document.places):
        mine["suffix"] = after[len(document.rendered(values[:-1])) :]
    return after, mine


def _words_kept(found: list[str], wanted: list[str], owned: list[str]) -> list[str]:
    mine = _owned(found, wanted, owned)
    return [word for word in found if word not in mine]


def _create(start: str, wanted: list[str], keys: list[str]) -> tuple[FileRecord, Change]:
    source = Source(KERNEL_CMDLINE, documents.cmdline)
    after, mine = _edited(source, start, wanted, [*keys, *wanted])
    return {**mine, "created": True}, Change(KERNEL_CMDLINE, None, after)


def _told(source: Source, mine: FileRecord, wanted: list[str]) -> list[dict[str, str]]:
    """What of the admin's is not there any more; a file that stroke made never had any."""
    if mine.get("created"):
        return []
    now = {key_of(word): word for word in wanted}
    return [
        {"source": source.path, "had": word, "now": now.get(key_of(word), "")}
        for word in mine.get("replaced", [])
        if now.get(key_of(word)) != word
    ]


def absent(host: Host, found: list[Source], record: Record) -> Plan:
    """Every file as it was before stroke."""
    changes = []
    for source in found:
        text = host.read(source.path)
        if text is None:
            continue
        mine = record.files.get(source.path)
        after: str | None = original(source, text, mine, record)
        if mine is not None and mine.get("created"):
            after = None if _known(source, text, mine) is not None else after
        if after != text:
            changes.append(Change(source.path, text, after))
    return Plan(changes, Record(), [])
