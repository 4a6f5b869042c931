"""In which waves hosts are worked on, and what must never be down at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
# Roles whose changes end in a reboot, or in a service that is started again.
INTERRUPTING = {"kernel", "boot_params", "inference_server"}


def share(value: Any, of: int, name: str) -> int:
    """A number, or a percentage of a number, rounded down."""
    text = str(value).strip()
    found = re.fullmatch(r"([0-9]{1,6})(%?)", text)
    if not found or (found[2] and int(found[1]) > 100):
        raise ValueError(
            f"STK-643: {name} is {text!r}. Hint: give a number of hosts, or a percentage up to 100%"
        )
    return int(found[1]) * of // 100 if found[2] else int(found[1])


def limit_pattern(limit: Any) -> str:
    """What `--limit` says, with the lines of a file in place of `@file`."""
    patterns: list[str] = []
    for word in re.split(r"[,\n]", str(limit or "all")):
        word = word.strip()
        if word.startswith("@"):
            lines = Path(word[1:]).expanduser().read_text(encoding="utf-8").splitlines()
            patterns += [line.strip() for line in lines if line.strip()]
        elif word:
            patterns.append(word)
    return ",".join(patterns)


def wave_sizes(
    groups: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    limited: Sequence[str],
    canary: Any = 0,
    wave: Any = "100%",
) -> list[int]:
    """Sizes for `serial`: the canary, then waves, none of which holds all hosts of a group.

    Hosts keep the inventory's order, as in Ansible. A group of one host is none.
    """
    chosen = set(limited)
    left = [host for host in hosts if host in chosen]
    first = share(canary, len(left), "stroke_canary")
    size = max(1, share(wave, len(left), "stroke_wave"))
    member = _member(groups, left)
    sizes: list[int] = []
    while left:
        room = first if first and not sizes else size
        taken = _fit(left[: max(1, room)], member)
        sizes.append(taken)
        left = left[taken:]
    return sizes or [1]


def _member(
    groups: Mapping[str, Sequence[str]], hosts: Sequence[str]
) -> dict[str, list[tuple[str, int]]]:
    """The groups of each host, with the number of hosts that they have."""
    found: dict[str, list[tuple[str, int]]] = {host: [] for host in hosts}
    for name, members in groups.items():
        if len(members) > 1:
            for host in members:
                if host in found:
                    found[host].append((name, len(members)))
    return found


def _fit(hosts: Sequence[str], member: Mapping[str, list[tuple[str, int]]]) -> int:
    """How many of these may be down together."""
    down: dict[str, int] = {}
    for number, host in enumerate(hosts):
        for group, size in member[host]:
            down[group] = down.get(group, 0) + 1
            if down[group] == size:
                return max(1, number)
    return len(hosts)


def fleet_stop(everyone: Sequence[str], left: Sequence[str], allowed: Any) -> bool:
    """Whether more hosts failed so far than may; they are no longer among those that are left."""
    return len(everyone) - len(left) > share(allowed, len(everyone), "stroke_max_failures")


def serves_now(facts: Json, services: Sequence[str]) -> bool:
    """Whether any of the services runs."""
    units = (facts.get("seen") or {}).get("units") or {}
    return any((units.get(f"{name}.service") or {}).get("active") for name in services)


def interrupts(changes: Sequence[Json], facts: Json, services: Sequence[str]) -> bool:
    """Whether the changes take down a service that runs now."""
    down = any(c["stage"] == "reboot" or c["role"] in INTERRUPTING for c in changes)
    return down and serves_now(facts, services)


def down_together(
    groups: Mapping[str, Sequence[str]],
    batch: Sequence[str],
    lost: Sequence[str],
    variables: Mapping[str, Json],
) -> Json:
    """Group by host, for hosts of this wave whose group would have nobody left that serves.

    Hosts that are not in this wave count as serving, unless they failed in this run.
    """
    down = [host for host in batch if variables[host].get("stroke_interrupts")]
    idle = {host for host in batch if variables[host].get("stroke_serves") is False}
    out = {*down, *lost, *idle}
    found: Json = {}
    for name, members in groups.items():
        if len(members) > 1 and out.issuperset(members):
            whole = set(members)
            found |= {host: name for host in down if host in whole}
    return found


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "limit_pattern": limit_pattern,
            "wave_sizes": wave_sizes,
            "fleet_stop": fleet_stop,
            "interrupts": interrupts,
            "serves_now": serves_now,
            "down_together": down_together,
        }
