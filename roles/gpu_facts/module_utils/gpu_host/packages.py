"""Installed packages and kernels, whichever package manager the host has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import dpkg, rpm
from .dpkg import ABSENT, Package
from .files import Host

# Family of the distribution -> its package manager; then the programs, for a family unknown to us.
FAMILIES = {"debian": "apt", "rhel": "dnf", "arch": "pacman", "suse": "zypper"}
PROGRAMS = (
    ("apt", "/usr/bin/apt-get"),
    ("dnf", "/usr/bin/dnf"),
    ("dnf", "/usr/bin/rpm-ostree"),
    ("zypper", "/usr/bin/zypper"),
    ("pacman", "/usr/bin/pacman"),
)
# What facts about runtimes and the driver need on hosts where names must be asked for.
ASKED = ("podman", "docker-ce", "docker-ce-cli", "moby-engine", "amdgpu-dkms-firmware")


class Known(NamedTuple):
    """All that is known of packages: by name, the kernels among them, and whose they are."""

    manager: str | None
    packages: dict[str, Package]
    kernels: list[dict[str, Any]]

    def owners(self, host: Host, files: list[str]) -> dict[str, str | None]:
        """Package of each file; null where none owns it or nobody can be asked."""
        if self.manager == "apt":
            return dpkg.owners(host, self.packages, files)
        return rpm.owners(host, files) if self.manager in ("dnf", "zypper") else {}

    def versions(self) -> dict[str, str]:
        return {name: known.version for name, known in self.packages.items() if known.version}

    def get(self, name: str) -> Package:
        return self.packages.get(name, ABSENT)


def manager(host: Host, family: str) -> str | None:
    named = FAMILIES.get(family)
    return named or next((name for name, path in PROGRAMS if host.exists(path)), None)


def kin(distribution: dict[str, Any]) -> str:
    """Family by the distribution's own account of its relatives."""
    names = {distribution.get("id", ""), *distribution.get("id_like", [])}
    for family, members in (
        ("debian", {"debian", "ubuntu"}),
        ("rhel", {"rhel", "fedora", "centos"}),
        ("arch", {"arch"}),
        ("suse", {"suse", "opensuse", "sles"}),
    ):
        if names & members:
            return family
    return "other"


def known(host: Host, distribution: dict[str, Any], names: Iterable[str]) -> Known:
    """Packages of the host: every one of dpkg's, and of rpm's those that are asked for."""
    which = manager(host, kin(distribution))
    if which == "apt":
        found = dpkg.packages(host)
        return Known(which, found, with_streams(dpkg.kernels(found), distribution))
    if which in ("dnf", "zypper"):
        found, images = rpm.packages(host, {*names, *ASKED})
        return Known(which, found, with_streams(images, distribution))
    return Known(which, {}, [])


def with_streams(
    images: list[dict[str, Any]], distribution: dict[str, Any]
) -> list[dict[str, Any]]:
    """Which line of kernels an image belongs to: told by the version, not by its number.

    Ubuntu marks a kernel of a later release that is offered to an LTS (HWE) with ~<release>,
    Debian one from backports with ~bpo.
    """
    ubuntu = "ubuntu" in {distribution.get("id"), *distribution.get("id_like", [])}
    for image in images:
        version, stream = image["version"], None
        if "~bpo" in version:
            stream = "backports"
        elif ubuntu and re.search(r"-oem$", image["release"]):
            stream = "oem"
        elif ubuntu:
            stream = "hwe" if re.search(r"~\d\d\.\d\d", version) else "ga"
        image["stream"] = stream
    return images


def running(images: list[dict[str, Any]], release: str) -> dict[str, Any] | None:
    """Package of the running kernel; null for one that no package brought."""
    for image in images:
        if release and image["release"] == release:
            return {key: image[key] for key in ("package", "version", "stream")}
    return None
