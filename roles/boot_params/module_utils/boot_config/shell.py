"""Assignments in /etc/default/grub, a shell file that belongs to the admin."""

from __future__ import annotations

import re

from .errors import BootConfigError
from .words import Char, Line

VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
_ASSIGNMENT = re.compile(r"(?<![\w$])(GRUB_CMDLINE_LINUX(?:_DEFAULT)?)\+?=")
# Anything of the shell behind a dollar sign but the plain name of a variable.
_COMPUTED = re.compile(r"\$\(|\$\{(?!\w+\})")
_ENDS = " \t\r\n;&|#"
_QUOTES = "\"'"


def lex(text: str, begin: int = 0) -> tuple[Line, int]:
    """One word of the shell from a place on, and where it ends.

    An expansion of a variable stays as it is written; a command in the word cannot be understood.
    """
    line: Line = [Char("", "", "bare")]
    index = begin
    quotes = ""
    while index < len(text):
        here = text[index]
        if not quotes and here in _ENDS and (here != "#" or index == begin):
            return line, index
        pair = text[index : index + 2]
        if quotes != "'" and (here == "`" or (here == "$" and _COMPUTED.match(text, index))):
            raise BootConfigError(
                "the kernel arguments in it are computed", "write them as plain words"
            )
        if here in _QUOTES and quotes in ("", here):
            quotes = "" if quotes else here
            line.append(Char("", here, here))
        elif here == "\\" and quotes != "'" and len(pair) == 2:
            escapes = quotes == "" or pair[1] in '\\"$`\n'
            if pair[1] == "\n":
                line.append(Char("", pair, quotes or "bare"))
            elif escapes:
                line.append(Char(pair[1], pair, quotes or "bare"))
            else:
                line += [Char("\\", "\\", quotes), Char(pair[1], pair[1], quotes)]
            index += 1
        else:
            line.append(Char(here, here, quotes or "bare"))
        index += 1
    if quotes:
        raise BootConfigError("a quote is never closed", "see: bash -n /etc/default/grub")
    return line, index


def word(text: str) -> Line:
    """A whole value, as it is written behind the equals sign."""
    line, end = lex(text)
    if end != len(text):
        raise BootConfigError(f"{text[end:][:20]!r} stands behind a value", "quote the value")
    return line


def assignments(text: str) -> list[tuple[str, int, int]]:
    """Name, begin and end of the value of each assignment to the kernel's arguments."""
    found: list[tuple[str, int, int]] = []
    for match in _ASSIGNMENT.finditer(text):
        if found and match.start() < found[-1][2]:
            continue  # text inside of a value
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if re.search(r"(^|\s)#", before):
            continue
        if before.strip() not in ("", "export"):
            raise BootConfigError(
                f"{match.group(1)} is not set on a line of its own", "put it on one"
            )
        found.append((match.group(1), match.end(), lex(text, match.end())[1]))
    return found
