"""Which distribution the host has, and whether stroke and AMD know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .findings import Findings, by_id
from .versions import meets

Json = dict[str, Any]


def _any_of(wanted: Any, found: str) -> bool:
    return found in [str(one) for one in (wanted if isinstance(wanted, list) else [wanted])]


def _of_release(wanted: Any, version: str) -> bool:
    """10 means 10 and all of its point releases, 24.04 means 24.04 alone."""
    words = wanted if isinstance(wanted, list) else [wanted]
    return any(version == str(word) or version.startswith(f"{word}.") for word in words)


def matches(rule: Json, facts: Json) -> bool:
    """Do the facts have everything that an entry's `match` names?"""
    found = facts["distribution"]
    tests: dict[str, Callable[[Any], bool]] = {
        "id": lambda wanted: _any_of(wanted, found["id"]),
        "codename": lambda wanted: _any_of(wanted, found["codename"]),
        "version": lambda wanted: _of_release(wanted, found["version_id"]),
        "not_version": lambda wanted: not _of_release(wanted, found["version_id"]),
        "id_like": lambda wanted: (
            wanted == found["id"] or any(word.startswith(str(wanted)) for word in found["id_like"])
        ),
        "ostree": lambda wanted: facts["environment"]["ostree"] is wanted,
    }
    return all(tests[key](wanted) for key, wanted in rule.items())


def choose_distribution(facts: Json, catalog: Json, found: Findings) -> Json | None:
    """The catalogue's entry for the host; a host that cannot work is refused with the way out."""
    host = facts["distribution"]
    entry = next((e for e in catalog["distributions"] if matches(e["match"], facts)), None)
    for refusal in catalog["distribution_refusals"]:
        # A site may describe a release that the shipped catalogue refuses as unknown.
        if matches(refusal["match"], facts) and not (
            entry and not refusal["match"].get("ostree", False)
        ):
            what = refusal["reason"]
            if refusal["code"] == "STK-401":
                name = refusal["name"] if "codename" in refusal["match"] else host["name"]
                what = f"{name or refusal['name']}: {what}"
            found.refuse(refusal["code"], what, refusal["hint"])
            return None
    if entry:
        return dict(entry)
    names = ", ".join(e["name"] for e in catalog["distributions"])
    found.refuse(
        "STK-401",
        f"{host['name'] or host['id'] or 'the host'} is not a distribution that stroke knows",
        f"use one of: {names}",
    )
    return None


def warn_of_community(
    facts: Json, catalog: Json, distribution: Json, gfx: Json, found: Findings
) -> None:
    """Say so where AMD does not test this GPU on this distribution."""
    host = facts["distribution"]
    matrix = by_id(catalog["support_matrix"], gfx["support"])
    for entry in matrix["official"]:
        if entry["distribution"] != distribution["id"]:
            continue
        of_amd = host["id"] in entry.get("ids", [host["id"]])
        if of_amd and meets(host["version_id"], entry.get("minimum"), "upstream"):
            return
    tested = matrix["tested_on"]
    found.warn(
        "STK-W01",
        f"{distribution['name']} is not in AMD's support matrix for {gfx['name']}",
        f"AMD tests this GPU on {tested} only; others are community"
        if tested
        else "AMD tests this GPU on no distribution any more; what is here is community",
    )
