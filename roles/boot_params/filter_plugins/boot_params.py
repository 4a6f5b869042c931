"""Kernel arguments as items of the manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

GRUB = "grub"
# Files that every kernel to come takes its arguments from; boot entries are told by their kernel.
FUTURE = {
    "grub-bls": ("/etc/kernel/cmdline", "/etc/default/grub"),
    "systemd-boot": ("/etc/kernel/cmdline",),
}
DROPIN = "/etc/default/grub.d/90-stroke.cfg"
# The last line of the drop-in, where it chooses a kernel.
PINNED = re.compile(
    r'^GRUB_DEFAULT="\$\{stroke_submenu\}gnulinux-(.+)-advanced-\$stroke_device"$', re.MULTILINE
)
# What entries with $kernelopts stand for; others leave it to whoever set it long ago.
GRUBENV = "/boot/grub2/grubenv"


def boot_layout(facts: Json | None) -> str:
    """How the host keeps its arguments, as gpu_facts saw it; `auto` where nobody looked yet."""
    return str(((facts or {}).get("boot") or {}).get("layout") or "auto")


def _sources(facts: Json) -> list[str]:
    """Files that have to carry every argument: the source for future kernels, and the entries."""
    configured = facts.get("arguments", {}).get("configured", [])
    paths = list(dict.fromkeys(setting["source"] for setting in configured))
    releases = [kernel["release"] for kernel in facts["kernel"]["installed"] if kernel["release"]]
    found = [path for path in paths if path in FUTURE.get(boot_layout(facts), ())]
    known = len(found)
    for release in releases:
        # Without and with a counter of attempts; a second one is another system's on the same disk.
        ends = (f"-{release}.conf", f"-{release}+")
        entries = [path for path in paths if "/loader/entries/" in path and
                   (path.endswith(ends[0]) or ends[1] in path)]  # fmt: skip
        found += entries if len(entries) == 1 else []
    return found + [path for path in paths if path == GRUBENV and len(found) == known]


def _values(facts: Json, path: str, key: str) -> list[str]:
    same = key.replace("-", "_")
    return [
        str(setting["value"] or "")
        for setting in facts["arguments"]["configured"]
        if setting["source"] == path and setting["key"].replace("-", "_") == same
    ]


def kernel_argument_items(
    arguments: list[str], reasons: Json, facts: Json | None = None, absent: Sequence[str] = ()
) -> list[Json]:
    """One item per argument: on the running command line exactly once, with this value.

    Keys in `absent` are items, too: not on it at all.

    On hosts with boot entries it says too what the files have that it has to be in (`sources`).
    """
    items: list[Json] = [
        {"role": "boot_params", "stage": "reboot", "kind": "kernel_arg", "key": key,
         "state": "absent", "reason": reasons.get(f"boot.args.{key}", "")}
        for key in absent
    ]  # fmt: skip
    entries = facts is not None and boot_layout(facts) not in (GRUB, "auto")
    sources = _sources(facts) if facts is not None and entries else []
    for argument in arguments:
        key, _, value = argument.partition("=")
        item: Json = {
            "role": "boot_params",
            "stage": "reboot",
            "kind": "kernel_arg",
            "key": key,
            "value": value,
            "reason": reasons.get(f"boot.args.{key}", ""),
        }
        if facts is not None and sources:
            item["sources"] = {path: _values(facts, path, key) for path in sources}
        items.append(item)
    return items


def differing_arguments(
    facts: Json | None, arguments: list[str], absent: Sequence[str] = ()
) -> list[str]:
    """Arguments that the running system does not have exactly once with this value, or must not."""
    if not facts:
        return []
    words = [str(word) for word in facts["kernel"]["args"]]
    found = []
    for argument in arguments:
        key = argument.partition("=")[0]
        if [word for word in words if word.partition("=")[0] == key] != [argument]:
            found.append(argument)
    return found + [word for word in words if word.partition("=")[0] in absent]


def pinned_kernel(facts: Json | None) -> str:
    """Release that stroke's own drop-in has the menu start; empty where it leaves that to others.

    Told by what the first look at the host has seen of the file.
    """
    seen = ((facts or {}).get("seen") or {}).get("paths", {}).get(DROPIN) or {}
    found = PINNED.search(str(seen.get("content") or ""))
    return found[1] if found else ""


def choose_kernel_by_hand(layout: str, release: str) -> str:
    """What makes a kernel the default where the menu is not GRUB's own."""
    if layout == "systemd-boot":
        return f"sudo bootctl set-default with the entry of {release} in sudo bootctl list"
    return f"sudo grubby --set-default /boot/vmlinuz-{release}"


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "boot_layout": boot_layout,
            "choose_kernel_by_hand": choose_kernel_by_hand,
            "differing_arguments": differing_arguments,
            "kernel_argument_items": kernel_argument_items,
            "pinned_kernel": pinned_kernel,
        }
