"""What is wanted of a package, and the refusals that follow from it."""

from __future__ import annotations

import re
from typing import Callable

from .record import Json
from .shell import Trouble

OLD_ARCHIVE = (
    "use a newer release of the distribution, or add an archive; stroke catalog lists both"
)


GONE = (
    "add an archive that has it; to go back to a generation without its firmware: "
    """-e '{"generation_parts": ["kernel", "arguments", "image"]}'"""
)


def older(wanted: list[Json]) -> tuple[str, ...]:
    """What apt has to be told where an exact version is wanted, which may be an older one."""
    exact = [one for one in wanted if one.get("version") and "*" not in str(one["version"])]
    return ("--allow-downgrades",) if exact else ()


def unmet(one: Json, version: str | None, at_least: Callable[[str, str], bool]) -> str:
    """Why a version breaks the rule of a wanted package; empty when it does not."""
    name, minimum = one["name"], one.get("minimum")
    bare = re.sub(r"^\d+:", "", version or "")
    for prefix in one.get("deny") or []:
        if re.match(re.escape(str(prefix)) + r"(?!\d)", bare):
            return f"the archives of the host offer {name} {version}, which is known to be bad"
    if version is None or (minimum and not at_least(version, str(minimum))):
        wanted = f"≥ {minimum}" if minimum else "a version of it"
        return f"the archives of the host offer {version or 'no'} {name}, but {wanted} is wanted"
    return ""


def held(names: list[str], hint: str) -> Trouble:
    return Trouble(
        "STK-415",
        f"{', '.join(names)} would have to change, but somebody holds or excludes it",
        f"if that is no longer wanted, on the host run {hint}; then run stroke again",
    )
