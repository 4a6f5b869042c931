"""Package rules as the manifest has them, and what of them a transaction still leaves open."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ABSENT: Json = {"version": None, "held": False}


def _exact(package: Json) -> Json:
    """The one version that will do, if the rule names one; a pattern is a minimum only."""
    version = str(package.get("version") or "")
    return {"version": version} if version and "*" not in version else {}


def package_items(
    packages: list[Json],
    role: str,
    reasons: Json | None = None,
    version_kind: str = "dpkg",
    stage: str = "prepare",
) -> list[Json]:
    """Package rules as items of the manifest; a reason is found by package, kind or role."""
    why = reasons or {}

    def reason(name: str) -> str:
        general = "firmware" if "firmware" in name else role
        return str(why.get(name) or why.get(general) or "")

    return [
        {
            "role": role,
            "stage": stage,
            "kind": "package",
            "name": package["name"],
            "minimum": package.get("minimum") or (package.get("version") or "").rstrip("*") or None,
            **_exact(package),
            "deny": package.get("deny") or [],
            "version_kind": version_kind,
            "reason": reason(package["name"]),
        }
        for package in packages
    ]


def observed_packages(items: list[Json], facts: Json) -> list[Json]:
    """What the facts say of each package item, in the shape that the module observe gives."""
    return [facts["packages"].get(item["name"]) or ABSENT for item in items]


def packages_after(items: list[Json], facts: Json, rows: list[Json]) -> list[Json]:
    """The same after a transaction, from the rows that it gave back."""
    now = {row["name"]: {"version": row["after"], "held": False} for row in rows}
    return [now.get(item["name"]) or facts["packages"].get(item["name"]) or ABSENT
            for item in items]  # fmt: skip


def pending_packages(packages: list[Json], changes: list[Json]) -> list[Json]:
    """Those of the packages that have a pending change."""
    names = {change["what"] for change in changes}
    return [package for package in packages if package["name"] in names]


def package_work(changes: list[Json], facts: Json, record: str, hold: list[str]) -> bool:
    """Is there anything to do for a record: a change, a hold, or a transaction that was cut off?"""
    known = facts["state"]["packages"].get(record) or {}
    unfinished = known.get("open") or known.get("initramfs")
    missing = [name for name in hold if not (facts["packages"].get(name) or ABSENT)["held"]]
    over = [name for name in known.get("holds") or [] if name not in hold]
    return bool(changes or unfinished or missing or over)


def package_shortage(changes: list[Json]) -> str:
    """Why a host cannot have what is wanted, after its archives gave what they have."""
    said = "; ".join(
        f"{change['what']} {change['before'] or 'is not there'}, {change['after']} is wanted"
        for change in changes
    )
    return (
        f"STK-401: the archives of the host have nothing new enough: {said}. "
        "Hint: use a newer release of the distribution, or add an archive; see stroke catalog"
    )


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "package_items": package_items,
            "observed_packages": observed_packages,
            "packages_after": packages_after,
            "pending_packages": pending_packages,
            "package_work": package_work,
            "package_shortage": package_shortage,
        }
