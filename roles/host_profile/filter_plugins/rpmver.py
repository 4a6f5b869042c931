"""RPM's ordering of package versions (rpmvercmp), for the same rules as in debver.py.

Follows rpm-version(7): letters and digits are compared segment by segment, what stands between
them only separates; `~` sorts before the end of the string, `^` right after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

# A part as a list: digits, letters, and the two signs that sort; everything else only separates.
_SEGMENTS = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")

# What sorts where, from low to high, at one place of the two lists. The end of the string has a
# place of its own: 1~rc1 < 1 < 1^post < 1a < 1.1
_TILDE, _END, _CARET, _LETTERS, _DIGITS = range(5)


def split(version: str) -> tuple[int, str, str]:
    """Epoch, version and release of an EVR; a missing epoch is 0, a missing release is empty."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not re.fullmatch(r"[0-9]+", epoch):
        epoch, rest = "0", version.strip()
    upstream, _, release = rest.partition("-")
    return int(epoch), upstream, release


def _key(part: str) -> list[tuple[int, int, str]]:
    """A list that Python orders as rpm orders the part."""
    key = []
    for segment in _SEGMENTS.findall(part):
        if segment == "~":
            key.append((_TILDE, 0, ""))
        elif segment == "^":
            key.append((_CARET, 0, ""))
        elif segment[0] in "0123456789":
            key.append((_DIGITS, int(segment), ""))
        else:
            key.append((_LETTERS, 0, segment))
    return [*key, (_END, 0, "")]


def compare_part(left: str, right: str) -> int:
    """-1, 0 or 1, as rpmvercmp answers for two versions or two releases."""
    one, other = _key(left), _key(right)
    return (one > other) - (one < other)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 for two EVRs, as rpm orders packages of one name."""
    (epoch, version, release), (other_epoch, *other) = split(left), split(right)
    if epoch != other_epoch:
        return 1 if epoch > other_epoch else -1
    return compare_part(version, other[0]) or compare_part(release, other[1])


def at_least(version: str, minimum: str) -> bool:
    """Does the version meet the minimum? What the minimum leaves out is not compared.

    A minimum without a release is compared with the version alone (6.18.4-100.fc43 meets 6.18.4),
    one without an epoch is compared without it.
    """
    epoch, upstream, release = split(version)
    least_epoch, least_upstream, least_release = split(minimum)
    if ":" in minimum and epoch != least_epoch:
        return epoch > least_epoch
    order = compare_part(upstream, least_upstream)
    if order or not least_release:
        return order >= 0
    return compare_part(release, least_release) >= 0


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rpm_version_at_least": at_least}
