"""The engine's arguments as pairs: what is said twice is said by the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Pair = tuple[str, list[str]]


def flag_of(word: str, aliases: Mapping[str, str]) -> str:
    """The usual spelling of an argument's name: aliases resolved, and - for _ in long ones."""
    name = word.split("=", 1)[0]
    if name in aliases:
        return aliases[name]
    return name.replace("_", "-") if name.startswith("--") else name


def pairs(words: Sequence[str], aliases: Mapping[str, str]) -> Iterator[Pair]:
    """Name of each argument with the words that say it, values included."""
    name, said = "", list[str]()
    for word in map(str, words):
        # -1 and the like are values; everything else with a dash begins an argument.
        if re.match(r"--?[A-Za-z]", word):
            if said:
                yield name, said
            name, said = flag_of(word, aliases), [word]
        else:
            said.append(word)
    if said:
        yield name, said


def given(words: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Name → value of each argument; the last one counts, and one without a value has an empty."""
    found = {}
    for name, said in pairs(words, aliases):
        _, equals, value = said[0].partition("=")
        found[name] = value if equals else (said[1] if len(said) > 1 else "")
    return found


def without(words: Sequence[str], names: set[str], aliases: Mapping[str, str]) -> list[str]:
    """The words that are left when the arguments of these names are taken out."""
    return [word for name, said in pairs(words, aliases) if name not in names for word in said]
