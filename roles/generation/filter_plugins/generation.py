"""Going back: which generation is meant, what of it is to be had, and what the host then wants."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

PREVIOUS = "previous"
# What makes a generation another one; the module has the same.
COMPARED = ("kernel", "arguments", "managed_keys", "packages", "images")
# What a boot loader's entry and a package may be called; anything else was not written by stroke.
RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")
BY_HAND = {
    "grub-bls": "sudo grubby --set-default /boot/vmlinuz-{release}",
    "systemd-boot": "sudo bootctl set-default with its entry, as sudo bootctl list names it",
}
# The kernel argument that sets a value of the profile's memory budget.
MEMORY = {"pages": "ttm.pages_limit", "gttsize_mib": "amdgpu.gttsize"}


def _problem(code: str, what: str, hint: str) -> Json:
    return {"code": code, "what": what, "hint": hint}


def _key(argument: str) -> str:
    return argument.partition("=")[0]


def name_of(one: Json) -> str:
    """A generation as sentences call it."""
    return f"generation {one['number']} of {one['at'][:10]}"


def _before_the_newest(every: list[Json]) -> Json:
    """The last state that differs from the newest one; those made by going back count for neither.

    It is the same one after a rollback, so that a second run goes no further.
    """
    forward = [one for one in every if not one.get("back_to")] or every
    newest = forward[-1]
    differ = [one for one in forward if any(one[key] != newest[key] for key in COMPARED)]
    return differ[-1] if differ else {}


def generation_choice(known: Json, wanted: Any) -> Json:
    """`back`, the generation that `wanted` (a number, or `previous`) means, or `problems`."""
    every = known["generations"]
    numbers = [one["number"] for one in every]
    listing = "stroke rollback --list shows what there is"
    if not every:
        what = "nothing was proven on this host yet, so there is no generation to go back to"
        return {"back": {}, "problems": [_problem("STK-451", what, "run stroke provision first")]}
    if str(wanted).strip() == PREVIOUS:
        older = _before_the_newest(every)
        if older:
            return {"back": older, "problems": []}
        what = f"{name_of(every[-1])} is the only one, or the others are the same"
        hint = "the next change makes another one; to name one: stroke rollback --to N"
        return {"back": {}, "problems": [_problem("STK-451", what, hint)]}
    found = next((one for one in every if str(one["number"]) == str(wanted).strip()), None)
    if found is None:
        there = ", ".join(map(str, numbers))
        what = f"there is no generation {str(wanted)[:40]} on this host (there are {there})"
        return {"back": {}, "problems": [_problem("STK-450", what, listing)]}
    return {"back": found, "problems": []}


def _kernel_lacks(one: Json, known: Json, facts: Json) -> Json | None:
    release, running = one["kernel"], facts["kernel"]["running"]
    layout = facts["boot"].get("layout")
    if not RELEASE.match(release):
        return _problem("STK-453", f"{release!r} of {name_of(one)} cannot be a kernel",
                        "choose another generation")  # fmt: skip
    if release not in known["kernels"] and release != running:
        package = f"linux-image-{release}"
        if facts.get("package_manager") != "apt":
            what = f"kernel {release} of {name_of(one)} is no longer installed"
            hint = f"sudo dnf install kernel-{release}, if a repository has it, then run it again"
            return _problem("STK-453", what, hint)
        if known["offered"] and package not in known["offered"]:
            what = (
                f"kernel {release} of {name_of(one)} is no longer there, nor is {package} to be had"
            )
            return _problem("STK-453", what, "choose another generation, or add an archive with it")
    if layout != "grub" and release != running:
        what = (
            f"{name_of(one)} has kernel {release}, and which kernel starts is not stroke's to "
            f"choose with this boot loader ({layout or 'unknown'})"
        )
        by_hand = BY_HAND.get(str(layout), "in its own menu").format(release=release)
        return _problem(
            "STK-456", what, f"make it the default ({by_hand}), reboot, then run it again"
        )
    return None


def _firmware_lacks(one: Json, known: Json) -> list[Json]:
    found = []
    for package in one["packages"]:
        name, version = package["name"], package["version"]
        offered = known["offered"].get(name)
        if known["packages"].get(name) != version and offered and version not in offered:
            found.append(_problem(
                "STK-455",
                f"{name} {version} of {name_of(one)} is no longer in the archives (they have "
                f"{', '.join(offered)})",
                "go back without it: -e '{\"generation_parts\": [\"kernel\", \"arguments\", "
                "\"image\"]}'",
            ))  # fmt: skip
    return found


def _images_lack(one: Json, known: Json) -> list[Json]:
    return [
        _problem(
            "STK-454",
            f"the image of {service} in {name_of(one)} ({image['reference']}) is no longer on the "
            "host, and its name has no digest to pull it by",
            "go back without it (generation_parts), or name it by inference_server_image_archive "
            "and run stroke provision",
        )
        for service, image in one["images"].items()
        if image["id"] not in known["images"] and "@sha256:" not in image["reference"]
    ]


def lacks(one: Json, known: Json, facts: Json, parts: list[str]) -> list[Json]:
    """Why the host cannot go back to a generation; nothing if it can."""
    kernel = _kernel_lacks(one, known, facts) if "kernel" in parts else None
    return [
        *([kernel] if kernel else []),
        *(_firmware_lacks(one, known) if "firmware" in parts else []),
        *(_images_lack(one, known) if "image" in parts else []),
    ]


def generation_list(known: Json, facts: Json, parts: list[str]) -> Json:
    """Every generation, with what the host still has of it, for `stroke rollback --list`."""
    rows = [
        {
            **one,
            "current": one["number"] == known["current"],
            "kernel_there": one["kernel"] in known["kernels"],
            "images_there": all(i["id"] in known["images"] for i in one["images"].values()),
            "lacks": lacks(one, known, facts, parts),
        }
        for one in known["generations"]
    ]
    return {"current": known["current"], "kernel": facts["kernel"]["running"], "rows": rows}


def generation_settings(settings: Json, one: Json, parts: list[str], name: str) -> Json:
    """The user's settings with the images of a generation: its version decides on arguments.

    `name` is that of the service where there is no list of them.
    """
    if not one or "image" not in parts:
        return settings
    servers = settings.get("inference_servers") or []
    images = {service: image["reference"] for service, image in one["images"].items()}
    if servers:
        changed = [server | {"image": images.get(server["name"], server.get("image"))}
                   for server in servers]  # fmt: skip
        return settings | {"inference_servers": changed}
    return settings | ({"inference_server_image": images[name]} if name in images else {})


def generation_profile(
    profile: Json, one: Json, known: Json, facts: Json, parts: list[str], name: str
) -> Json:
    """The profile of a host that goes back: what the generation had in place of what is good now.

    What is not to be had becomes a refusal, and what the catalogue thinks ill of a warning.
    """
    if not one or profile.get("refusals"):
        return profile
    found = lacks(one, known, facts, parts)
    why = f"as {name_of(one)} had it"
    new: Json = profile | {
        "generation": {"number": one["number"], "at": one["at"], "parts": list(parts)},
        "warnings": list(profile["warnings"]),
        "reasons": dict(profile["reasons"]),
        "refusals": found,
    }
    if found:
        return new | {"verdict": "refused"}
    if "kernel" in parts:
        _take_kernel(new, one, known, facts, why)
    if "arguments" in parts:
        _take_arguments(new, one, known, why)
    if "firmware" in parts:
        _take_firmware(new, one, why)
    if "image" in parts:
        _take_images(new, one, known, name, why)
    return new


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _take_kernel(new: Json, one: Json, known: Json, facts: Json, why: str) -> None:
    """The exact release; the package that follows new kernels stays as it is."""
    release, kernel, boot = one["kernel"], dict(new["kernel"]), dict(new["boot"])
    firmware = (new.get("firmware") or {}).get("package")
    rows = []
    for package in kernel["packages"]:
        there = (facts["packages"].get(package["name"]) or {}).get("version")
        if package["name"] == firmware:
            rows.append(package)
        elif there:
            rows.append(package | {"minimum": None, "deny": []})
    if release not in known["kernels"] and release != facts["kernel"]["running"]:
        rows.append({"name": f"linux-image-{release}", "minimum": None, "deny": []})
    kernel["packages"] = rows
    if facts["boot"].get("layout") == "grub":
        boot["default_kernel"] = release
    kernel["release"] = release
    new["kernel"], new["boot"] = kernel, boot
    new["reasons"]["kernel"] = f"{release}, {why}"
    floor = str(kernel.get("install_floor") or "")
    if floor and _numbers(release) < _numbers(floor):
        what = (
            f"kernel {release} of {name_of(one)} is below {floor}, which the catalogue wants by now"
        )
        hint = "it runs because it was asked for; stroke provision goes forward"
        new["warnings"].append(_problem("STK-W03", what, hint))


def _take_arguments(new: Json, one: Json, known: Json, why: str) -> None:
    """The arguments; what is set now and was not then is taken away."""
    boot, memory = dict(new["boot"]), dict(new.get("memory") or {})
    keys = {_key(argument) for argument in one["arguments"]}
    now = next((each for each in known["generations"] if each["number"] == known["current"]), one)
    set_now = [_key(argument) for argument in [*boot["args"], *now["arguments"]]]
    boot["absent_keys"] = sorted(set(set_now) - keys)
    boot["args"], boot["managed_keys"] = list(one["arguments"]), list(one["managed_keys"])
    values = {_key(argument): argument.partition("=")[2] for argument in one["arguments"]}
    for field, argument in MEMORY.items():
        if field in memory:
            number = values.get(argument, "")
            memory[field] = int(number) if number.isdecimal() else None
    new["boot"], new["memory"] = boot, memory
    for key in (*keys, *boot["absent_keys"]):
        new["reasons"][f"boot.args.{key}"] = why


def _take_firmware(new: Json, one: Json, why: str) -> None:
    exact = {package["name"]: package["version"] for package in one["packages"]}
    kernel, firmware = dict(new["kernel"]), dict(new.get("firmware") or {})
    kernel["packages"] = [
        {"name": package["name"], "version": exact[package["name"]]}
        if package["name"] in exact else package
        for package in kernel["packages"]
    ]  # fmt: skip
    if firmware.get("package") in exact:
        firmware["exact"] = exact[firmware["package"]]
        new["reasons"]["firmware"] = f"{firmware['exact']}, {why}"
    new["kernel"], new["firmware"] = kernel, firmware


def _take_images(new: Json, one: Json, known: Json, name: str, why: str) -> None:
    engine, servers = dict(new.get("engine") or {}), dict(new.get("servers") or {})
    kept = all(image["id"] in known["images"] for image in one["images"].values())
    for service, image in one["images"].items():
        chosen = {"image": image["reference"], "image_id": image["id"], "image_archive": None}
        if service in servers:
            servers[service] = servers[service] | chosen
            new["reasons"][f"servers.{service}.engine.image"] = f"{image['reference']}, {why}"
        if service == name or service == next(iter(servers), None):
            engine |= chosen | {"kept": kept}
            new["reasons"]["engine.image"] = f"{image['reference']}, {why}"
    new["engine"], new["servers"] = engine, servers


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "generation_choice": generation_choice,
            "generation_list": generation_list,
            "generation_profile": generation_profile,
            "generation_settings": generation_settings,
        }
