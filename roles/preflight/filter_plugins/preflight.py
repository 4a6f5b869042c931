"""What stops a host before the first change: each problem with a code and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Json = dict[str, Any]
MIB = 1024**2
LOADERS = ("grub", "systemd-boot")


def _problem(code: str, what: str, hint: str) -> Json:
    return {"code": code, "what": what, "hint": hint}


def problem_sentence(problem: Json) -> str:
    """A problem as one line."""
    return f"{problem['code']}: {problem['what']}. Hint: {problem['hint']}"


def identity_problems(
    facts: Json, profile: Json, settings: list[Json], refuse_containers: bool
) -> list[Json]:
    """Settings that are wrong, and hosts that stroke cannot work on whatever their state."""
    if settings:
        return list(settings)
    found = []
    environment, boot = facts["environment"], facts["boot"]
    if environment["container"] and refuse_containers:
        found.append(
            _problem(
                "STK-402",
                f"{environment['hostname']} is a container ({environment['virtualization']}), "
                "which has no kernel and no boot loader of its own",
                "run stroke against the host that the container runs on",
            )
        )
    elif environment["ostree"]:
        if not any(refusal["code"] == "STK-411" for refusal in profile.get("refusals", [])):
            found.append(
                _problem(
                    "STK-411",
                    "the host is managed by ostree, which stroke does not change",
                    "set kernel arguments with: sudo rpm-ostree kargs --append-if-missing=…, "
                    "or with a file in /usr/lib/bootc/kargs.d of the image",
                )
            )
    elif boot["loader"] not in LOADERS and not environment["container"]:
        found.append(
            _problem(
                "STK-410",
                f"the boot loader is {boot['loader']}, and stroke handles GRUB and systemd-boot",
                "install one of them, or use the roles without kernel, boot_params and boot_guard",
            )
        )
    return list(profile.get("refusals", [])) + found


def _space(facts: Json, needs: list[Json]) -> list[Json]:
    """Needs are added up per file system: /boot may be a part of /."""
    mounts: dict[str, list[Json]] = {}
    for need in needs:
        place = facts["filesystems"].get(need["path"])
        if place:
            mounts.setdefault(place["mount"], []).append(need | {"free": place["free_bytes"]})
    found = []
    for mount, wanted in mounts.items():
        total, free = sum(need["bytes"] for need in wanted), wanted[0]["free"]
        if total <= free:
            continue
        what = " + ".join(f"{need['bytes'] // MIB} MiB for {need['what']}" for need in wanted)
        code = "STK-403" if mount == "/boot" else "STK-404"
        hint = (
            "remove kernels not needed (apt list --installed 'linux-image-*') or enlarge it"
            if mount == "/boot"
            else f"free space below {mount}, or put a larger disk there"
        )
        found.append(_problem(code, f"{mount} has {free // MIB} MiB free, but needs {what}", hint))
    return found


def unfinished_packages(facts: Json) -> list[str]:
    """Packages that are half installed, and journals of dpkg that apt refuses to work beside."""
    return [*facts["apt"]["broken"], *facts["apt"].get("interrupted", [])]


def preflight_problems(
    facts: Json, profile: Json, changes: list[Json], needs: list[Json], repair: bool = False
) -> list[Json]:
    """No room for what is about to be installed, or a package database that cannot take it.

    `repair`: somebody agreed that unfinished package work is finished first.
    """
    found = []
    packages = [change for change in changes if change["kind"] == "package"]
    needs = [*needs, *kernel_needs(profile, changes)]
    if changes:
        found += _space(facts, needs)
    broken = [] if repair else unfinished_packages(facts)
    holder = facts["apt"]["locked_by"] or facts.get("dnf", {}).get("locked_by")
    if packages and holder:
        found.append(
            _problem(
                "STK-408",
                f"the package database is locked by {holder}, longer than stroke waits",
                "let it end, or see on the host what it waits for, then run stroke again",
            )
        )
    elif packages and broken:
        found.append(
            _problem(
                "STK-407",
                f"the package database is not clean: {', '.join(broken[:5])}",
                "on the host run: sudo dpkg --configure -a && sudo apt-get --fix-broken install; "
                "or let stroke do it: -e preflight_repair_packages=true",
            )
        )
    return found + _held(facts, packages)


def _held(facts: Json, changes: list[Json]) -> list[Json]:
    """A hold, an exclude or a version lock on what has to change; stroke's own are no obstacle."""
    own = {
        name for record in facts["state"]["packages"].values() for name in record.get("holds") or []
    }
    names = sorted(
        change["what"]
        for change in changes
        if facts["packages"].get(change["what"], {}).get("held") and change["what"] not in own
    )
    if not names:
        return []
    lift = (
        "dnf versionlock delete, or take it out of excludepkgs in /etc/dnf/dnf.conf:"
        if facts.get("package_manager") == "dnf"
        else "sudo apt-mark unhold"
    )
    return [
        _problem(
            "STK-415",
            f"{', '.join(names)} would have to change, but somebody holds or excludes it",
            f"if that is no longer wanted, on the host run {lift} {' '.join(names)}",
        )
    ]


def kernel_needs(profile: Json, changes: list[Json]) -> list[Json]:
    """Space that kernel packages take, where any are about to be installed."""
    if not any(c["role"] == "kernel" and c["kind"] == "package" for c in changes):
        return []
    return [
        {"path": path, "bytes": (profile["kernel"][key] or 0) * MIB, "what": what}
        for path, key, what in (
            ("/boot", "boot_free_mib", "the kernel and its initramfs"),
            ("/", "root_free_mib", "kernel modules, firmware and packages"),
        )
    ]


def disk_needs(profile: Json, changes: list[Json], archive_factor: int) -> list[Json]:
    """Space that the image and the models take, where they are about to be brought to the host.

    An archive is on the host beside what is unpacked from it: `archive_factor` times its size.
    """
    kinds = {(change["role"], change["kind"]) for change in changes}
    needs = []
    engine = profile["engine"]
    if ("inference_server", "image") in kinds and not engine.get("kept"):
        if engine["image_archive"]:
            size = Path(engine["image_archive"]).stat().st_size * archive_factor
        else:
            size = engine["definition"].get("disk_gib", 0) * 1024 * MIB
        needs.append(
            {"path": profile["runtime"]["store"], "bytes": size, "what": "the container image"}
        )
    for change in changes:
        for entry in profile["model"]["store"]:
            source = Path(str(entry["source"]))
            named = change["role"] == "model_store" and change["what"].endswith(entry["name"])
            if named and source.is_file():
                needs.append(
                    {
                        "path": "/var/lib/stroke",
                        "bytes": source.stat().st_size,
                        "what": f"the model {entry['name']}",
                    }
                )
    return needs


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "identity_problems": identity_problems,
            "preflight_problems": preflight_problems,
            "problem_sentence": problem_sentence,
            "disk_needs": disk_needs,
            "unfinished_packages": unfinished_packages,
        }
