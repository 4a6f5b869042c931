"""Words for people: durations, sizes, counts, and text that is safe to print."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ANSI = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)?)")


def clean(text: Any) -> str:
    """Return text from a host without what could steer the terminal."""
    return _CONTROL.sub("", _ANSI.sub("", str(text)).replace("\r\n", "\n").replace("\r", "\n"))


def duration(seconds: float) -> str:
    """Return `4 s`, `3 min 20 s`, `1 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def clock(seconds: float) -> str:
    """Return `0:07`, `12:40`, `1:02:03` for a display that counts."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int, one: str, many: str = "") -> str:
    """Return `1 host`, `3 hosts`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def gib(size: Any) -> str:
    """Return a number of bytes in GiB."""
    if not isinstance(size, (int, float)) or size <= 0:
        return ""
    value = size / 2**30
    return f"{value:.0f} GiB" if value >= 10 else f"{value:.1f} GiB"


def size(number: Any) -> str:
    """Return a number of bytes in the unit that people would use for it."""
    if not isinstance(number, (int, float)) or number < 0:
        return "unknown"
    if number >= 2**30:
        return gib(number)
    return f"{number / 2**20:.0f} MiB" if number >= 2**20 else f"{number / 2**10:.0f} KiB"


def value(item: Any) -> str:
    """Return one side of `before → after`."""
    if item is None or item == "":
        return "none"
    if isinstance(item, (list, tuple)):
        return ", ".join(value(part) for part in item) or "none"
    text = clean(item)
    return text if "\n" not in text else f"{len(text.splitlines())} lines"
