"""What of a running system differs from the wanted one."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]


def _numbers(version: str) -> tuple[int, ...]:
    """The upstream part of a kernel release as numbers: 7.2.12+deb13-amd64 is (7, 2, 12)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def boot_differences(facts: Json, kernel: str, arguments: list[str]) -> list[str]:
    """Sentences, kernel first; none means that no reboot is needed."""
    found = []
    running = facts["kernel"]["running"]
    if kernel and _numbers(running) < _numbers(kernel):
        found.append(f"kernel {running} runs, {kernel} or newer is wanted")
    words = facts["kernel"]["args"]
    for argument in arguments:
        key = argument.partition("=")[0]
        present = [word for word in words if word.partition("=")[0] == key]
        if present != [argument]:
            has = " ".join(present) or f"no {key}"
            found.append(f"the command line has {has}, {argument} is wanted")
    return found


def newest_kernel(facts: Json) -> str:
    """Release of the newest installed kernel: what GRUB starts unless the admin chose otherwise."""
    releases = [kernel["release"] for kernel in facts["kernel"]["installed"]]
    return max(releases, key=_numbers, default=str(facts["kernel"]["running"]))


def boot_files(facts: Json) -> list[str]:
    """The kernel that will start and its initramfs, where its distribution puts them."""
    release = newest_kernel(facts)
    if facts.get("package_manager") != "dnf":
        return [f"/boot/vmlinuz-{release}", f"/boot/initrd.img-{release}"]
    if facts["boot"].get("layout") == "systemd-boot":
        # Its copies are in a folder whose name only kernel-install knows.
        return [f"/usr/lib/modules/{release}/vmlinuz"]
    return [f"/boot/vmlinuz-{release}", f"/boot/initramfs-{release}.img"]


def boot_repair(facts: Json) -> str:
    """What makes a missing initramfs and its boot entry anew."""
    if facts.get("package_manager") == "dnf":
        return "sudo kernel-install add-all"
    if facts["boot"].get("layout") == "systemd-boot":
        return "sudo update-initramfs -c -k all"
    return "sudo update-initramfs -c -k all and sudo update-grub"


def boot_question(facts: Json) -> str:
    """What shows which entry starts next."""
    layout = facts["boot"].get("layout")
    if layout == "systemd-boot":
        return "sudo bootctl list"
    if layout == "grub-bls":
        return "sudo grubby --info=DEFAULT"
    return "grep -E 'GRUB_DEFAULT|saved_entry' /etc/default/grub /boot/grub/grubenv"


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "boot_differences": boot_differences,
            "boot_files": boot_files,
            "boot_question": boot_question,
            "boot_repair": boot_repair,
        }
