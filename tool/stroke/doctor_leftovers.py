"""What earlier attempts left behind: variables in profiles, repositories of other releases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from .doctor_finding import Finding, finding
from .doctor_machine import Machine

SESSION = "this session"
DRIVER = re.compile(r"/amdgpu(-install)?/")
VERSION = re.compile(r"/(?:rocm|apt|el\d+|rhel\d+)/(?:apt/|[a-z]+\d*/)?(\d+(?:\.\d+){1,2})(?:/|$)")


def checks(machine: Machine) -> Iterator[Finding]:
    """Leftovers of a host that has a GPU which the catalogue knows."""
    if machine.serving:
        yield from _variables(machine)
    if machine.gpus:
        yield from _repositories(machine)


def _variables(machine: Machine) -> Iterator[Finding]:
    removed: dict[str, str] = {}
    for engine in machine.catalog.get("engines", {}).values():
        removed |= engine.get("removed", {})
    for name in sorted({setting.name for setting in machine.settings}):
        mine = [setting for setting in machine.settings if setting.name == name]
        files = sorted({setting.place for setting in mine} - {SESSION})
        edit = f"sudoedit {' '.join(files)} (take out {name}), then log out and in"
        yield finding(
            "STK-D51",
            f"{name}={mine[0].value}: {removed.get(name, 'not meant for this GPU')}",
            [f"{setting.place}: {name}={setting.value}" for setting in mine],
            edit if files else f"unset {name}   # and take it out of what sets it",
        )


@dataclass(frozen=True, slots=True)
class Repository:
    """One enabled package source."""

    uri: str
    file: str
    name: str

    @property
    def version(self) -> tuple[int, ...]:
        """The ROCm release in its path; empty where there is none."""
        found = VERSION.search(urlsplit(self.uri).path + "/")
        return tuple(int(part) for part in found[1].split(".")) if found else ()


def repositories(machine: Machine) -> list[Repository]:
    """The enabled sources of apt and dnf."""
    found = [
        Repository(uri, source["file"], uri)
        for source in machine.fact("apt.sources", [])
        if source.get("enabled")
        for uri in source.get("uris", [])
    ]
    found += [
        Repository(uri, source["file"], source.get("id", uri))
        for source in machine.fact("dnf.repositories", [])
        if source.get("enabled")
        for uri in source.get("baseurl", [])
    ]
    return found


def _repositories(machine: Machine) -> Iterator[Finding]:
    channels = [c for c in machine.catalog.get("rocm_channels", []) if c.get("uri")]
    hosts = {urlsplit(channel["uri"]).hostname for channel in channels}
    known = [Repository(channel["uri"], "", "").version for channel in channels]
    oldest = min((version for version in known if version), default=())
    apu = any(machine.is_apu(gpu) for gpu in machine.serving)
    mine = [one for one in repositories(machine) if urlsplit(one.uri).hostname in hosts]
    stale = {one: _stale(one, oldest, apu) for one in mine}
    for one, why in stale.items():
        if why:
            yield finding(
                "STK-D52", f"{one.uri}: {why}", [f"{one.file}: {one.name}"], _without(machine, one)
            )
    releases = {one: one.version for one, why in stale.items() if one.version and not why}
    if len(set(releases.values())) > 1:
        newest = max(releases.values())
        old = [one for one, version in releases.items() if version != newest]
        names = sorted({".".join(map(str, version)) for version in releases.values()})
        yield finding(
            "STK-D52",
            f"repositories of ROCm {' and '.join(names)} are enabled together: "
            "their packages replace each other",
            [f"{one.file}: {one.uri}" for one in releases],
            _without(machine, old[0]),
        )


def _stale(one: Repository, oldest: tuple[int, ...], apu: bool) -> str:
    """Why a repository of AMD's should not be enabled; empty if nothing speaks against it."""
    path = urlsplit(one.uri).path + "/"
    if DRIVER.search(path):
        return "it offers amdgpu-dkms, which is not for APUs" if apu else ""
    if one.version and one.version[:2] < oldest[:2]:
        floor = ".".join(map(str, oldest[:2]))
        return f"older than ROCm {floor}, the oldest release that stroke works with"
    return ""


def _without(machine: Machine, one: Repository) -> str:
    if machine.package_manager == "dnf":
        return f"sudo dnf config-manager --set-disabled {one.name}"
    return f"sudo rm {one.file} && sudo apt-get update"
