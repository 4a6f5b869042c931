"""Where a Debian host takes its kernel from, and how package rules become apt's words."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def kernel_archive(
    facts: Json, suite: str, components: list[str], keyring: str, own_file: str
) -> Json:
    """The archive that stroke has to add: its address is the one that the host itself uses.

    `components` is empty when the host's own sources have everything already.
    """
    codename = facts["distribution"]["codename"]
    wanted = suite or codename
    sources = [
        source
        for source in facts["apt"]["sources"]
        if source["enabled"] and "deb" in source["types"] and source["file"] != own_file
    ]
    present = {
        component
        for source in sources
        if wanted in source["suites"]
        for component in source["components"]
    }
    base = next((source for source in sources if codename in source["suites"]), None)
    return {
        "uri": base["uris"][0] if base else None,
        "suite": wanted,
        "components": [name for name in components if name not in present],
        "signed_by": (base or {}).get("signed_by") or keyring,
    }


def package_items(
    packages: list[Json], role: str, reasons: Json, stage: str = "prepare"
) -> list[Json]:
    """Package rules as items of the manifest."""
    return [
        {
            "role": role,
            "stage": stage,
            "kind": "package",
            "name": package["name"],
            "minimum": package.get("minimum") or (package.get("version") or "").rstrip("*") or None,
            "deny": package.get("deny") or [],
            "reason": reasons.get("firmware" if "firmware" in package["name"] else role, ""),
        }
        for package in packages
    ]


def observed_packages(items: list[Json], facts: Json) -> list[Json]:
    """What the facts say of each package item, in the shape that the module observe gives."""
    missing = {"version": None, "held": False}
    return [facts["packages"].get(item["name"]) or missing for item in items]


def package_record(facts: Json, packages: list[Json], kernels: bool = False) -> Json:
    """Versions before stroke's first change: null means that the package was not installed."""
    record = {
        package["name"]: (facts["packages"].get(package["name"]) or {}).get("version")
        for package in packages
    }
    if kernels:
        record |= {kernel["package"]: kernel["version"] for kernel in facts["kernel"]["installed"]}
    return record


def apt_specifiers(packages: list[Json], changes: list[Json]) -> list[str]:
    """The packages that have a pending change, as apt takes them: `name>=1` or `name=1`."""
    pending = {change["what"] for change in changes}
    words = []
    for package in packages:
        if package["name"] not in pending:
            continue
        if package.get("version"):
            words.append(f"{package['name']}={package['version']}")
        elif package.get("minimum"):
            words.append(f"{package['name']}>={package['minimum']}")
        else:
            words.append(str(package["name"]))
    return words


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "kernel_archive": kernel_archive,
            "package_items": package_items,
            "observed_packages": observed_packages,
            "package_record": package_record,
            "apt_specifiers": apt_specifiers,
        }
