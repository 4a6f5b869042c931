"""Words that systemd takes as they are: nothing of them is a specifier, a variable or a break."""

from __future__ import annotations

import re


def _unsafe(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def systemd_literal(text: str) -> str:
    """Text that neither systemd's specifiers nor its variables change."""
    if _unsafe(text):
        raise ValueError(f"{text!r} has control characters")
    return text.replace("%", "%%").replace("$", "$$")


def systemd_word(text: str) -> str:
    """One word of a command line or of an assignment list, quoted where systemd would split it."""
    return quoted(systemd_literal(text))


def quoted(literal: str) -> str:
    """Text that is a literal already, as one word."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", literal):
        return literal
    escaped = literal.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def numbers(version: str | None, unknown: tuple[int, ...]) -> tuple[int, ...]:
    """The first two numbers of a version; a host that has none yet gets a current one."""
    found = re.findall(r"\d+", version or "")[:2]
    return tuple(int(number) for number in found) or unknown
