"""Which kernel the host gets, from which stream of its distribution, and how new it has to be."""

from __future__ import annotations

from typing import Any

from . import hostfacts
from .findings import Findings, by_id
from .gpus import product
from .running import floors, judge, release_is_older
from .versions import meets, number

Json = dict[str, Any]


def _order(distribution: Json, rule: Json, now: Json, found: Findings) -> list[Json]:
    """The streams to try: the one asked for alone, else the running one, then the best first."""
    streams: list[Json] = distribution["kernel"]["streams"]
    asked = found.settings.get("host_profile_kernel_stream")
    if asked:
        named = [stream for stream in streams if stream["name"] == asked]
        if not named:
            found.refuse(
                "STK-303",
                f"host_profile_kernel_stream: {asked} is no kernel stream of "
                f"{distribution['name']}",
                f"use one of: {', '.join(stream['name'] for stream in streams)}",
            )
        return named or streams
    prefer = rule.get("prefer", [])
    ranked = sorted(streams, key=lambda s: prefer.index(s["name"]) if s["name"] in prefer else 99)
    return sorted(ranked, key=lambda stream: stream["name"] != now["stream"])


def _lacks(stream: Json, wanted: Json, host: Json, proven: bool) -> str | None:
    """Why no kernel of the stream will do; None: it will."""
    if release_is_older(host, wanted):
        return f"{host['name'] or host['version_id']} is older than {wanted['release']}"
    if not meets(stream["available"], wanted["install_floor"], wanted["kind"]):
        return f"{stream['name']} has {number(stream['available'])}"
    if wanted["proven"] and not proven:
        return f"{stream['name']} has {number(stream['available'])}, and shows no cwsr_size"
    return None


def _package(stream: Json, facts: Json) -> str:
    """The stream's package, under the name that the host has installed already."""
    for name in [stream["package"], *stream.get("aliases", [])]:
        if hostfacts.package_version(facts, name):
            return str(name)
    return str(stream["package"])


def _check_asked(asked: str, rule: Json, wanted: Json, found: Findings) -> None:
    """kernel_minimum may go below the floor for stability, with a warning, not below the other."""
    if not meets(asked, wanted["minimum"], wanted["kind"]):
        found.refuse(
            "STK-303",
            f"kernel_minimum: {asked} is below {wanted['minimum']}: {rule['minimum_reason']}",
            "leave kernel_minimum out, or set it higher",
        )
    elif not meets(asked, wanted["install_floor"], wanted["kind"]):
        found.warn(
            "STK-W03",
            f"kernel_minimum: {asked} is below {wanted['install_floor']}: "
            f"{rule['install_floor_reason']}",
            "leave kernel_minimum out",
        )


def _meets_asked(now: Json, found: Findings) -> bool | None:
    """Is the running kernel one that kernel_minimum allows? None: nobody has set it."""
    asked = found.settings.get("kernel_minimum")
    return meets(now["version"], str(asked), now["kind"]) if asked else None


def _refuse(
    distribution: Json, gfx: Json, rule: Json, wanted: Json, why: list[str], found: Findings
) -> None:
    found.refuse(
        "STK-421",
        f"no kernel of {distribution['name']} is good for {gfx['name']}, which needs "
        f"{wanted['install_floor']} or newer ({'; '.join(why)}): {rule['install_floor_reason']}",
        f"boot a kernel at or above {rule['install_floor']} on it, then run stroke again; or use "
        "Debian 13, Ubuntu 24.04 or 26.04",
    )


def choose_kernel(
    facts: Json,
    catalog: Json,
    distribution: Json,
    gfx: Json,
    serving: list[Json],
    found: Findings,
) -> Json:
    """The kernel part of a profile, without the firmware package."""
    rule = by_id(catalog["kernel_rules"], gfx["kernel_rule"])
    boards = [product(gpu, catalog) for gpu in serving]
    dkms = hostfacts.driver_flavour(facts) == "dkms" and not gfx["apu"]
    now = judge(facts, catalog, rule, distribution, serving, dkms)
    why: list[str] = []
    chosen: tuple[Json, Json] | None = None
    between: tuple[Json, Json] | None = None
    for stream in _order(distribution, rule, now, found):
        wanted = floors(rule, distribution, stream["name"], boards)
        if dkms and rule.get("with_dkms"):
            wanted |= {"minimum": rule["with_dkms"], "install_floor": rule["with_dkms"]}
        lack = _lacks(stream, wanted, facts["distribution"], now["proven"])
        if lack is None:
            chosen = (stream, wanted)
            break
        why.append(lack)
        if not wanted["proven"] and not wanted["release"] and between is None:
            good = meets(stream["available"], wanted["minimum"], wanted["kind"])
            between = (stream, wanted) if good else None
    keep = chosen is None and now["state"] == "good"
    stream, wanted = chosen or between or (distribution["kernel"]["streams"][0], {})
    wanted = wanted or floors(rule, distribution, None, boards)
    floor = str(found.settings.get("kernel_minimum") or wanted["install_floor"])
    if keep:
        floor = str(found.settings.get("kernel_minimum") or number(now["release"] or ""))
        found.warn(
            "STK-W04",
            f"no stream of {distribution['name']} has a kernel for {gfx['name']} "
            f"({'; '.join(why)}); the running {now['release']} is good and stays",
            "stroke does not keep this kernel up to date: whoever installed it does",
        )
    elif chosen is None and between:
        floor = str(wanted["minimum"])
        found.warn(
            "STK-W03",
            f"the newest kernel of {distribution['name']} is below {wanted['install_floor']}: "
            f"{rule['install_floor_reason']}",
            "boot a newer kernel on it, or use a newer release of the distribution",
        )
    elif chosen is None:
        _refuse(distribution, gfx, rule, wanted, why, found)
    elif found.settings.get("kernel_minimum"):
        _check_asked(floor, rule, wanted, found)
    suite, several = stream.get("suite"), len(distribution["kernel"]["streams"]) > 1
    package = _package(stream, facts)
    where = f"from {suite or package}" if suite or several else "from the distribution"
    found.reasons["kernel"] = f"{floor} or newer {where}: {rule['install_floor_reason']}"
    found.reasons["kernel.minimum"] = rule["minimum_reason"]
    if keep:
        found.reasons["kernel"] = f"the running {now['release']}, from outside the distribution"
    _say_what_runs(now, keep or chosen is not None, found)
    return {
        "minimum": str(wanted["minimum"]),
        "install_floor": floor,
        "packages": [] if keep else [{"name": package, "minimum": floor, "deny": []}],
        "stream": stream["name"],
        "suite": suite,
        "components": list(stream["components"]),
        "keyring": distribution["keyring"],
        "pin_packages": list(stream.get("pin_packages", [])),
        "boot_free_mib": distribution["boot_free_mib"],
        "root_free_mib": distribution["root_free_mib"],
        "version_kind": distribution["version_kind"],
        "initramfs": distribution["initramfs"],
        "repositories": [],
        "running": now | {"asked_met": _meets_asked(now, found)},
        "proof": rule.get("proof"),
        "stable": keep or chosen is not None,
    }


def _say_what_runs(now: Json, stable: bool, found: Findings) -> None:
    words = {
        "good": "good",
        "unstable": "below the floor for stability",
        "old": "too old",
        "unknown": "not known",
    }
    how = "it shows cwsr_size" if now["proven"] else f"compared as {now['kind']} version"
    found.reasons["kernel.running"] = (
        f"{now['release'] or 'the running kernel'} is {words[now['state']]} "
        f"({how}, floor {now['floor']})"
    )
