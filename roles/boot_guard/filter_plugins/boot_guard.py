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


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"boot_differences": boot_differences, "newest_kernel": newest_kernel}
