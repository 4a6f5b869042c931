"""Kernel arguments as words of a line that keeps its own spacing, quoting and escapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, NamedTuple

# What ends the kernel's part: the rest is for the first program.
END = "--"


class Char(NamedTuple):
    """One character of a line: what it means, how it is written, and in which quotes it stands.

    A quote of the shell means nothing (""), so that a word may be cut out between quotes.
    """

    means: str
    written: str
    quotes: str = ""


class Word(NamedTuple):
    """One argument, with the places in the line of the space before it, its begin and its end."""

    text: str
    space: int
    begin: int
    end: int

    @property
    def key(self) -> str:
        return key_of(self.text)


Line = list[Char]
Codec = Callable[[str], Line]


def key_of(text: str) -> str:
    """The name of an argument; - and _ are one to the kernel, quotes may stand around it all."""
    return text.partition("=")[0].replace('"', "").replace("-", "_")


def plain(written: str) -> Line:
    """A line without quoting of its own, as boot entries have it."""
    return [Char(character, character) for character in written]


def written(line: Line) -> str:
    return "".join(character.written for character in line)


def words(line: Line) -> list[Word]:
    """Arguments as the kernel divides them: at white space, unless double quotes are open."""
    found: list[Word] = []
    quoted = False
    space = 0
    begin: int | None = None
    last = 0
    for index, character in enumerate(line):
        if character.means == "":
            continue
        if character.means.isspace() and not quoted:
            if begin is not None:
                found.append(_word(line, space, begin, last + 1))
                begin, space = None, last + 1
            continue
        begin = index if begin is None else begin
        last = index
        if character.means == '"':
            quoted = not quoted
    if begin is not None:
        found.append(_word(line, space, begin, last + 1))
    return found


def _word(line: Line, space: int, begin: int, end: int) -> Word:
    return Word("".join(character.means for character in line[begin:end]), space, begin, end)


def of_the_kernel(found: list[Word]) -> list[Word]:
    """Words before a lone --."""
    end = next((index for index, word in enumerate(found) if word.text == END), len(found))
    return found[:end]


def arguments(line: Line) -> list[str]:
    return [word.text for word in of_the_kernel(words(line))]


def without(line: Line, unwanted: Callable[[Word], bool]) -> Line:
    """Cut words out, each with the white space before it; quotes of the shell stay."""
    drop: set[int] = set()
    kept_one = False
    for word in of_the_kernel(words(line)):
        if not unwanted(word):
            kept_one = True
            continue
        begin, end = word.space, word.end
        if not kept_one:  # the first word of a line goes with the white space behind it instead
            begin, end = word.begin, _next(line, word.end)
        drop.update(range(begin, end))
    return [c for index, c in enumerate(line) if index not in drop or c.means == ""]


def _next(line: Line, index: int) -> int:
    while index < len(line) and (line[index].means.isspace() or line[index].means == ""):
        index += 1
    return index


def with_added(line: Line, texts: Iterable[str]) -> Line:
    """Put words behind the kernel's last one, quoted like their neighbour."""
    addition = " ".join(texts)
    if not addition:
        return line
    if line and all(character.quotes == "bare" for character in line):
        line = [_OPEN, *(_quote(character) for character in line), _OPEN]
    kernel = of_the_kernel(words(line))
    if kernel:
        index = kernel[-1].end
        return [*line[:index], *_quoted(" " + addition, line[index - 1]), *line[index:]]
    # Nothing but white space and quotes, or nothing before --: the addition comes first.
    index = next((i for i, c in enumerate(line) if c.means), len(line))
    if index < len(line):
        space = "" if line[index].means.isspace() else " "
        return [*line[:index], *_quoted(addition + space, line[index]), *line[index:]]
    index = next((i + 1 for i, c in enumerate(line) if c.quotes in _QUOTES), len(line))
    return [*line[:index], *_quoted(addition, line[index - 1] if line else Char("", "")),
            *line[index:]]  # fmt: skip


_OPEN = Char("", '"', '"')
_QUOTES = ('"', "'")


def _quote(bare: Char) -> Char:
    """A character that stood outside quotes, inside of them; an expansion stays one."""
    if bare.means == "" or bare.written == "$":
        return Char(bare.means, bare.written, '"')
    return Char(bare.means, _escaped(bare.means), '"')


def _escaped(character: str) -> str:
    return "\\" + character if character in '\\"$`' else character


def _quoted(text: str, beside: Char) -> Line:
    if beside.quotes == '"':
        return [Char(character, _escaped(character), '"') for character in text]
    if beside.quotes == "'":
        return [Char(c, "'\\''" if c == "'" else c, "'") for c in text]
    if beside.quotes == "bare":
        return [_OPEN, *_quoted(text, _OPEN), _OPEN]
    return plain(text)


def applied(line: Line, wanted: list[str], keys: Iterable[str]) -> Line:
    """The line with the wanted arguments, each once and last, and none of the other owned keys."""
    owned = {key_of(key) for key in keys} | {key_of(text) for text in wanted}
    return with_added(without(line, lambda word: word.key in owned), wanted)


def undone(line: Line, added: list[str], replaced: list[str]) -> Line:
    """The line without what was added, and with what had been replaced by it."""
    left = without(line, lambda word: word.text in added)
    there = arguments(left)
    return with_added(left, [text for text in replaced if text not in there])
