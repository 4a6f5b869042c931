"""The firmware package, and what of it is loaded now."""

from __future__ import annotations

from typing import Any

from . import hostfacts
from .findings import Findings, by_id
from .versions import meets

Json = dict[str, Any]


def choose_firmware(
    facts: Json, catalog: Json, distribution: Json, gfx: Json, serving: list[Json], found: Findings
) -> Json:
    """The firmware part of a profile; an empty minimum: any version will do."""
    rule = by_id(catalog["firmware_rules"], gfx["firmware_rule"])
    package, dated = distribution["firmware"]["package"], distribution["firmware"]["dated"]
    special = next(
        (e for e in rule.get("packages", []) if e["distribution"] == distribution["id"]), None
    )
    minimum, reason = rule["minimum"] if dated else "", rule["minimum_reason"]
    if special:
        minimum, reason = special["minimum"], special["minimum_reason"]
    elif not dated and rule["minimum"]:
        reason = "the date of this distribution's package says nothing; what is loaded is looked at"
    found.reasons["firmware"] = f"{minimum} or newer: {reason}" if minimum else reason
    bad_mes = rule["deny_mes"] if gfx["name"] in rule["deny_mes_gfx"] else []
    deny = list(rule["deny"]) if dated else []
    chosen = {
        "package": package,
        "minimum": minimum,
        "deny": deny,
        "deny_mes": list(rule["deny_mes"]),
        "deny_loaded": list(bad_mes),
        **_installed(facts, package, minimum, deny, distribution["version_kind"]),
    }
    _look_at_loaded(facts, distribution, gfx, serving, rule | {"deny_mes": bad_mes}, chosen, found)
    return chosen


def _installed(facts: Json, package: str, minimum: str, deny: list[str], kind: str) -> Json:
    """The version that is installed, and whether it is good, in the package manager's order."""
    version = hostfacts.package_version(facts, package)
    bad = version.partition(":")[2] or version
    good = bool(version) and meets(version, minimum, kind) and not bad.startswith(tuple(deny))
    return {"installed": version or None, "good": good}


def _loaded_mes(facts: Json, serving: list[Json]) -> int | None:
    """The MES firmware that the GPU runs; None: the kernel does not tell."""
    value = facts["firmware"]["loaded"].get("mes")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return next((gpu["mes_version"] for gpu in serving if gpu["mes_version"]), None)


def _look_at_loaded(
    facts: Json,
    distribution: Json,
    gfx: Json,
    serving: list[Json],
    rule: Json,
    chosen: Json,
    found: Findings,
) -> None:
    firmware = facts["firmware"]
    dkms, overrides = firmware["dkms_package"], firmware["overrides"]
    mes = _loaded_mes(facts, serving)
    rebuild = {
        "initramfs-tools": "sudo update-initramfs -u -k all",
        "dracut": "sudo dracut --force --regenerate-all",
    }[distribution["initramfs"]]
    remove = "sudo apt-get purge" if distribution["package_manager"] == "apt" else "sudo dnf remove"
    way_out = (
        f"{remove} amdgpu-dkms amdgpu-dkms-firmware && {rebuild}, then reboot"
        if dkms
        else f"remove them (sudo rm {' '.join(overrides[:3])}) && {rebuild}, then reboot"
    )
    if mes is not None and (mes & 0xFF) in rule["deny_mes"]:
        what = f"MES firmware {mes & 0xFF:#x} is loaded, which faults on {gfx['name']}"
        if dkms or overrides:
            owner = "amdgpu-dkms-firmware" if dkms else "files in /lib/firmware/updates/amdgpu"
            found.refuse(
                "STK-422", f"{what}, and {owner} would bring it back at every start", way_out
            )
            return
        version = hostfacts.package_version(facts, chosen["package"])
        good = version and meets(version, chosen["minimum"], distribution["version_kind"])
        found.warn(
            "STK-W05",
            what,
            f"{chosen['package']} {version} is good: the initramfs still has the old file; "
            f"{rebuild}, then reboot"
            if good
            else f"stroke provision installs {chosen['package']} {chosen['minimum']} or newer; it "
            "counts after the reboot",
        )
    elif gfx["kind"] == "apu" and (overrides or dkms):
        owner = f"amdgpu-dkms-firmware {dkms}" if dkms else ", ".join(overrides[:3])
        found.warn(
            "STK-W06",
            f"{owner} takes the place of the distribution's firmware",
            way_out,
        )
