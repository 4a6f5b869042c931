"""Debian's ordering of package versions, for rules such as `at least 6.18.4`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Parts = tuple[int, str, str]


def split(version: str) -> Parts:
    """Epoch, upstream version and revision, as deb-version(7) cuts them."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version.strip()
    upstream, _, revision = rest.rpartition("-")
    return int(epoch), upstream or revision, revision if upstream else ""


def _weight(character: str) -> int:
    """A tilde sorts before the end of the string, letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _key(part: str) -> list[list[int]]:
    """A list that Python orders as dpkg orders the part: text and numbers in turn."""
    # After each text comes a 0 for its end: greater than a tilde, less than anything else.
    return [
        [*map(_weight, text), 0, int(number or 0)]
        for text, number in re.findall(r"(\D*)(\d*)", part)
    ]


def compare(left: str, right: str) -> int:
    """-1, 0 or 1, as `dpkg --compare-versions` would answer."""
    epoch, upstream, revision = split(left)
    other_epoch, other_upstream, other_revision = split(right)
    one = (epoch, _key(upstream), _key(revision or "0"))
    other = (other_epoch, _key(other_upstream), _key(other_revision or "0"))
    return (one > other) - (one < other)


def at_least(version: str, minimum: str) -> bool:
    """Does the version meet the minimum? What the minimum leaves out is not compared.

    A minimum without a revision is compared with the upstream part (7.2.12-1~bpo13+1 meets
    7.2.12), one without an epoch is compared without it.
    """
    epoch, upstream, revision = split(version)
    least_epoch, least_upstream, least_revision = split(minimum)
    if ":" in minimum and epoch != least_epoch:
        return epoch > least_epoch
    order = compare(f"0:{upstream}", f"0:{least_upstream}")
    if order or not least_revision:
        return order >= 0
    return compare(f"0:0-{revision or 0}", f"0:0-{least_revision}") >= 0


def is_denied(version: str, prefixes: list[str]) -> bool:
    """Is it one of the versions known to be bad? A prefix ends where a number ends."""
    bare = version.partition(":")[2] if re.match(r"\d+:", version) else version
    return any(re.match(re.escape(str(prefix)) + r"(?!\d)", bare) for prefix in prefixes)


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"debian_version_at_least": at_least}
