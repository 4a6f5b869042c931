"""Is a version good enough? Each kind of version is compared in its own order, never as text.

Kinds: `dpkg` and `rpm` for packages, `upstream` for what a project itself counts (kernels that no
stream of a distribution made, ROCm, engines).
"""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Callable
from pathlib import Path

Compare = Callable[[str, str], int]
AtLeast = Callable[[str, str], bool]

# The two stand beside the other plugins, for the manifest, which loads them by their path, too.
_PLUGINS = Path(__file__).parents[1]
_debian = runpy.run_path(os.fspath(_PLUGINS / "debver.py"))
_rpm = runpy.run_path(os.fspath(_PLUGINS / "rpmver.py"))


def number(release: str) -> str:
    """The upstream number at the start of a release or a version: 6.17.9-061709 → 6.17.9."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", release)
    return found[1] if found else ""


def _upstream(version: str) -> list[int]:
    """Numbers without trailing zeros: 7.0 is 7, and both are less than 7.0.1."""
    found = [int(part) for part in number(version).split(".") if part]
    while found and not found[-1]:
        found.pop()
    return found


def _upstream_at_least(version: str, minimum: str) -> bool:
    """A release candidate is older than its release."""
    candidate = bool(re.search(r"[-~.]?rc\d", version)) and not re.search(r"rc\d", minimum)
    have, least = _upstream(version), _upstream(minimum)
    return have > least or (have == least and not candidate)


_AT_LEAST: dict[str, AtLeast] = {
    "dpkg": _debian["at_least"],
    "rpm": _rpm["at_least"],
    "upstream": _upstream_at_least,
}


def meets(version: str | None, minimum: str | None, kind: str) -> bool:
    """No minimum is met by everything, no version meets no minimum."""
    if not minimum:
        return True
    return bool(version) and _AT_LEAST[kind](str(version), str(minimum))


def within(version: str, least: str | None, below: str | None) -> bool:
    """`least` ≤ version < `below`, as upstream numbers; a missing bound is none."""
    return meets(version, least, "upstream") and not (below and meets(version, below, "upstream"))
