"""Hosts that should be alike and are not: those of one group with the same GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .report import HostRun, Run

# What is compared, and the word for it. Kernel arguments are compared as a set.
ASPECTS = ("kernel", "firmware", "ROCm", "image", "arguments")


@dataclass(frozen=True, slots=True)
class Odd:
    """One aspect in which hosts of one kind differ."""

    kind: str
    aspect: str
    usual: str
    hosts: int
    others: Mapping[str, tuple[str, ...]]

    def sentence(self) -> str:
        """`strix_halo (gfx1151): kernel 7.2.12 on 5 of 6, but 6.19.1 on box3`."""
        if self.usual:
            number = self.hosts - sum(len(names) for names in self.others.values())
            head = f"{self.aspect} {self.usual} on {number} of {self.hosts}, but "
        else:
            head = f"{self.aspect} differs: "
        parts = [f"{value} on {_few(names)}" for value, names in self.others.items()]
        return f"{self.kind}: {head}{'; '.join(parts)}"

    def data(self) -> dict[str, Any]:
        """The same for the report."""
        return {"kind": self.kind, "aspect": self.aspect, "usual": self.usual or None,
                "hosts": self.hosts,
                "others": {value: list(names) for value, names in self.others.items()}}  # fmt: skip


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def values(host: HostRun) -> dict[str, str]:
    """What is compared of a host; what is not known of it is left out."""
    state = host.state
    services = [one for one in state.get("services") or [] if isinstance(one, Mapping)]
    images = sorted({str(one["image_id"])[:12] for one in services if one.get("image_id")})
    packages = state.get("versions") or {}
    arguments = state.get("arguments")
    firmware = state.get("firmware") or packages.get("firmware")
    found = {
        "kernel": str(host.facts.get("kernel") or ""),
        "firmware": str(firmware or ""),
        "ROCm": str(packages.get("rocm") or state.get("rocm") or ""),
        "image": ", ".join(images),
        "arguments": " ".join(sorted(map(str, arguments))) or "none"
        if isinstance(arguments, list)
        else "",
    }
    return {aspect: value for aspect, value in found.items() if value}


def odd(run: Run) -> list[Odd]:
    """Every difference among hosts of one group and GPU; a host in many groups counts in each."""
    kinds: dict[str, dict[str, HostRun]] = {}
    for host in run.hosts.values():
        gpu = str(host.facts.get("gpu") or "")
        for group in host.state.get("groups") or []:
            kinds.setdefault(f"{group} ({gpu or 'no GPU'})", {})[host.name] = host
    found: dict[tuple[str, tuple[str, ...]], Odd] = {}
    for kind, hosts in kinds.items():
        if len(hosts) < 2:
            continue
        for one in _differences(kind, hosts):
            # The same hosts under another group's name would say the same again.
            found.setdefault((one.aspect, tuple(sorted(hosts))), one)
    return list(found.values())


def _same_memory(hosts: Mapping[str, HostRun], name: str) -> bool:
    """Whether a host has as much memory as most of these, to 4 GiB."""
    sizes = {one: round((host.facts.get("memory_bytes") or 0) / 2**32)
             for one, host in hosts.items()}  # fmt: skip
    return sizes[name] == Counter(sizes.values()).most_common(1)[0][0]


def _differences(kind: str, hosts: Mapping[str, HostRun]) -> Iterator[Odd]:
    known = {name: values(host) for name, host in hosts.items()}
    for aspect in ASPECTS:
        having = {name: value[aspect] for name, value in known.items() if aspect in value}
        if aspect == "arguments":  # the limit of the memory follows from the memory
            having = {name: value for name, value in having.items() if _same_memory(hosts, name)}
        counted = Counter(having.values())
        if len(counted) < 2:
            continue
        value, number = counted.most_common(1)[0]
        usual = value if number * 2 > len(having) else ""
        others: dict[str, tuple[str, ...]] = {}
        for name, other in having.items():
            if other != usual:
                others[other] = (*others.get(other, ()), name)
        yield Odd(kind, aspect, usual, len(having), others)
