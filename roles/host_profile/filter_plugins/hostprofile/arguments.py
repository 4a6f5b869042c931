"""An engine's command line against its own parser: what it accepts, refuses, and has removed.

The catalogue's section engine_arguments is made from the real parsers by
tests/contract/parser_list.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .findings import Findings
from .versions import meets, within

Json = dict[str, Any]
ARGS, ENV = "inference_server_extra_args", "inference_server_extra_env"
NUMBER = re.compile(r"-\.?\d")


@dataclass(frozen=True, slots=True)
class Parser:
    """What one version of an engine accepts; without `exact` the newest version that is known."""

    engine: str
    version: str
    exact: bool
    flags: dict[str, Json]  # every spelling → its entry
    names: frozenset[str]  # environment variables
    prefix: str  # of the variables that are the engine's own
    equals: bool  # --flag=value is a way to write --flag value
    gone: dict[str, str]  # arguments and variables of older versions → first listed without them
    versions: list[str]  # that are listed

    def split(self, word: str, values: list[str]) -> tuple[str, list[str]]:
        """A flag and its values, whether or not the first is in the same word."""
        flag, equals, value = word.partition("=") if self.equals else (word, "", "")
        return flag, [value, *values] if equals else values

    def entry(self, flag: str) -> Json | None:
        """The entry of a flag: both engines read _ as -, and vLLM --a.b as a part of --a's JSON."""
        plain = flag.replace("_", "-") if flag.startswith("--") else flag
        if re.match(r"-O\d?$|-O\.", flag) and "--compilation-config" in self.flags:
            return {"flag": flag, "value": "optional"}  # vLLM's parser rewrites it first
        return self.flags.get(plain) or self.flags.get(plain.split(".")[0])


def spellings(entry: Json) -> list[str]:
    """Every way to write a flag; a switch has its --no- form."""
    words = [entry["flag"], *entry.get("also", [])]
    return words + ["--no-" + entry["flag"][2:]] * (entry.get("value") == "switch")


def _listed(versions: list[str], version: str | None) -> str | None:
    """The newest listed version of the same minor release that is not newer; None: not listed."""
    if not version:
        return None
    minor = ".".join(version.split(".")[:2])
    same = [v for v in versions if ".".join(v.split(".")[:2]) == minor]
    return next((v for v in reversed(same) if meets(version, v, "upstream")), None)


def parser_of(catalog: Json, engine: str, version: str | None) -> Parser | None:
    """The parser of an engine's version; None for an engine that the catalogue has no list of."""
    known = catalog["engine_arguments"].get(engine)
    if known is None:
        return None
    listed = _listed(known["versions"], version)
    at = listed or known["versions"][-1]
    flags: dict[str, Json] = {}
    gone: dict[str, str] = {}
    names: set[str] = set()
    for entry in known["arguments"]:
        if within(at, entry.get("from"), entry.get("until")):
            flags |= {word: entry for word in spellings(entry)}
        elif entry.get("until") and meets(at, entry["until"], "upstream"):
            gone |= {word: entry["until"] for word in spellings(entry)}
    for entry in known["environment"]:
        if within(at, entry.get("from"), entry.get("until")):
            names |= set(entry["names"])
        elif entry.get("until") and meets(at, entry["until"], "upstream"):
            gone |= dict.fromkeys(entry["names"], entry["until"])
    gone = {name: since for name, since in gone.items() if name not in flags and name not in names}
    own = version if listed and version else at
    # fmt: off
    return Parser(engine, own, listed is not None, flags, frozenset(names), known["prefix"],
                  known["equals"], gone, known["versions"])
    # fmt: on


def groups(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with the words after it; what stands before the first has the flag ''."""
    flag, values = "", list[str]()
    for word in words:
        if word.startswith("-") and len(word) > 1 and not NUMBER.match(word):
            yield flag, values
            flag, values = word, []
        else:
            values.append(word)
    yield flag, values


def _value_problem(entry: Json, flag: str, given: list[str]) -> str | None:
    kind = entry.get("value", "one")
    if kind in ("none", "switch"):
        return f"{flag} takes no value" if given else None
    if not given:
        return None if kind == "optional" else f"{flag} needs a value"
    if len(given) > 1 and kind != "many":
        return f"{flag} takes one value and has {len(given)}"
    # A part of a JSON value is not one of the whole value's choices.
    choices: list[str] = [] if "." in flag else entry.get("choices", [])
    wrong = [value for value in given if choices and value not in choices]
    return (
        f"{flag} cannot be {wrong[0]!r:.40}; it is one of {', '.join(choices)}" if wrong else None
    )


def _problem(code: str, what: str, hint: str, sure: bool = True) -> Json:
    return {"code": code, "what": what, "hint": hint, "sure": sure}


def _unknown(parser: Parser, name: str, where: str, among: Iterator[str], sure: bool) -> Json:
    near = difflib.get_close_matches(name, sorted(set(among)), n=3, cutoff=0.6)
    hint = (
        f"did you mean {', '.join(near)}?" if near else f"{parser.engine}'s own help has them all"
    )
    what = f"{name} {where}: {parser.engine} {parser.version} does not know it"
    return _problem("STK-430", what, hint, sure)


def removal(parser: Parser, name: str) -> str:
    """When a name went, as exactly as the listed versions say it: in 0.18.0."""
    since = parser.gone[name]
    before = parser.versions[parser.versions.index(since) - 1]
    minors = [[int(part) for part in version.split(".")[:2]] for version in (before, since)]
    if minors[1] == [minors[0][0], minors[0][1] + 1]:
        return f"in {parser.engine} {since}"
    return f"between {parser.engine} {before} and {since}"


def _removed(parser: Parser, name: str, where: str, advice: dict[str, str]) -> Json:
    since = parser.gone[name]
    what = f"{name} {where}: removed {removal(parser, name)}"
    what += f"; the image has {parser.version}" if parser.exact else ""
    hint = advice.get(name) or "leave it out"
    if not parser.exact:
        hint += f"; if the image is older, say so: inference_server_engine_version below {since}"
    return _problem("STK-431", what, hint)


def argument_problems(
    parser: Parser, words: list[Any], environment: Json, advice: dict[str, str]
) -> Iterator[Json]:
    """What of a user's words and variables this parser does not take: code, what, hint, and sure.

    `advice` says what takes the place of a removed name. Not sure: the image's version is not
    known, so that the newest one was asked. No value that could be a secret is told.
    """
    where = f"in {ARGS}"
    for number, (word, values) in enumerate(groups([str(word) for word in words])):
        flag, given = parser.split(word, values)
        entry = parser.entry(flag) if flag else None
        if flag and entry is None:
            plain = flag.replace("_", "-")
            if plain in parser.gone:
                yield _removed(parser, plain, where, advice)
            elif plain not in advice:  # the role refuses it
                yield _unknown(parser, flag, where, iter(parser.flags), parser.exact)
            continue
        if entry is None:
            if values:
                what = f"{ARGS} does not begin with an argument"
                yield _problem("STK-432", what, "arguments begin with - or --", parser.exact)
            continue
        if trouble := _value_problem(entry, flag, given):
            hint = "one list entry per word; --name=value is one word, too"
            yield _problem("STK-432", f"{trouble} ({where}, argument {number})", hint, parser.exact)
    for name in map(str, environment):
        if name in parser.gone:
            yield _removed(parser, name, f"in {ENV}", advice)
        elif name.startswith(parser.prefix) and name not in parser.names and name not in advice:
            # The engine ignores it, and an image may have been built with more.
            yield _unknown(parser, name, f"in {ENV}", iter(parser.names), sure=False)


def _taken(parser: Parser, words: list[str], dropped: list[str]) -> list[str]:
    """The words without arguments that this version does not take."""
    kept: list[str] = []
    for word, values in groups(words):
        flag, given = parser.split(word, values)
        entry = parser.entry(flag)
        if not flag:
            kept += values
        elif entry and _value_problem(entry, flag, given) is None:
            kept += [word, *values]
        else:
            dropped.append(flag)
    return kept


def fit(catalog: Json, engine: Json, found: Findings) -> None:
    """Make an engine's definition one that its version accepts, and check the user's additions."""
    parser = parser_of(catalog, engine["name"], engine["version"])
    if parser is None:
        return
    definition, dropped = dict(engine["definition"]), list[str]()

    def variables(values: Json) -> Json:
        own = {n for n in values if n.startswith(parser.prefix) and n not in parser.names}
        dropped.extend(sorted(own))
        return {name: value for name, value in values.items() if name not in own}

    definition["arguments"] = _taken(parser, definition["arguments"], dropped)
    definition["environment"] = variables(definition["environment"])
    definition["variants"] = {
        name: variant
        | {
            "arguments": _taken(parser, variant["arguments"], dropped),
            "environment": variables(variant["environment"]),
        }
        for name, variant in definition["variants"].items()
    }
    # What this version still takes is the user's to give.
    taken = {name for name in definition["removed"] if parser.entry(name) or name in parser.names}
    advice = definition["removed"]
    definition["removed"] = {n: why for n, why in advice.items() if n not in taken}
    engine["definition"] = definition
    said = "as the image has it" if parser.exact else "the newest one known; the image's is not"
    found.reasons["engine.arguments"] = f"checked against {parser.engine} {parser.version}, {said}"
    if dropped:
        left = ", ".join(dict.fromkeys(dropped))
        found.reasons["engine.arguments"] += f"; it does not take {left}, so they are left out"
    words = found.settings.get(ARGS) or []
    for problem in argument_problems(parser, words, found.settings.get(ENV) or {}, advice):
        if problem["sure"]:
            found.refuse(problem["code"], problem["what"], problem["hint"])
        else:
            found.warn("STK-W30", problem["what"], problem["hint"])
