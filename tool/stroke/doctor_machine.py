"""Everything that doctor looks at, read once: what the checks then judge without touching it."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import role_code
from .doctor_access import Account, Node, account, node
from .doctor_containers import Container, containers
from .doctor_devices import Device, devices
from .doctor_environment import Setting, settings

Json = dict[str, Any]
DKMS_PACKAGES = ("amdgpu-dkms", "amdgpu-dkms-firmware")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: its facts, what the catalogue says to them, and what only it can tell."""

    facts: Json
    profile: Json
    catalog: Json
    account: Account
    live: bool = True
    devices: tuple[Device, ...] = ()
    nodes: tuple[Node, ...] = ()
    settings: tuple[Setting, ...] = ()
    containers: tuple[Container, ...] = ()
    not_read: tuple[str, ...] = ()
    distribution: str = ""
    package_manager: str = ""

    def fact(self, path: str, default: Any = None) -> Any:
        """A fact by its dotted path; a section that could not be read is the default."""
        value: Any = self.facts
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
            if value is None:
                return default
        return value

    @property
    def gpus(self) -> list[Json]:
        """The real AMD GPUs."""
        return [gpu for gpu in self.fact("gpus", []) if not gpu.get("simulated")]

    def gfx_entry(self, gpu: Json) -> Json:
        """What the catalogue says of a GPU's target; empty for one that it does not know."""
        entries = self.catalog.get("gfx", [])
        return next((dict(e) for e in entries if e.get("name") == gpu.get("gfx")), {})

    def product(self, gpu: Json) -> str:
        """Name of a board: by PCI id and revision in the catalogue, else what the host says."""
        mine = [p for p in self.catalog.get("products", []) if p["pci_id"] == gpu.get("pci_id")]
        revision = str(gpu.get("revision") or "").lower()
        exact = [p for p in mine if str(p.get("revision") or "").lower() == revision]
        known = exact[0].get("name") if exact else None
        return str(
            known
            or gpu.get("product")
            or gpu.get("name")
            or self.gfx_entry(gpu).get("product")
            or "unknown product"
        )

    def rule(self, kind: str, name: Any) -> Json:
        """A rule of the catalogue by its id."""
        return next((dict(r) for r in self.catalog.get(kind, []) if r.get("id") == name), {})

    @property
    def serving(self) -> list[Json]:
        """The GPUs that the profile serves from; without a profile, those of the catalogue."""
        slots = self.profile.get("serving_gpus")
        if slots:
            return [gpu for gpu in self.gpus if gpu.get("slot") in slots]
        excluded = {entry.get("slot") for entry in self.profile.get("excluded_gpus") or []}
        known = [gpu for gpu in self.gpus if self.gfx_entry(gpu)]
        return [gpu for gpu in known if gpu.get("slot") not in excluded]

    def driver(self, gpu: Json) -> str | None:
        """The driver that a GPU is bound to; facts say, else udev."""
        if gpu.get("driver"):
            return str(gpu["driver"])
        mine = (d for d in self.devices if d.subsystem == "pci" and d.slot == gpu.get("slot"))
        return next((device.driver for device in mine if device.driver), None)

    def kernel_is_too_old(self, rule: Json) -> bool:
        """Whether the running kernel is below its minimum, as the profile judges its stream."""
        running = (self.profile.get("kernel") or {}).get("running")
        if running:
            return bool(running.get("state") == "old")
        minimum = rule.get("minimum")  # no profile: a system that stroke does not work on
        return bool(minimum) and _numbers(self.fact("kernel.running", "")) < _numbers(str(minimum))

    def is_apu(self, gpu: Json) -> bool:
        """Whether a GPU shares the system's RAM: the catalogue says, else the host."""
        return bool(self.gfx_entry(gpu).get("apu", gpu.get("apu")))


def read(root: Path) -> Machine:
    """This machine, or the one whose files lie below a directory."""
    catalog = role_code.catalog()
    environment = dict(os.environ)
    who = account(environment)
    facts = role_code.facts(root, catalog, who.name, DKMS_PACKAGES)
    host = role_code.host(root)
    live = bool(host.live)
    home = _home(who) if live else None
    seen, deaf = devices(who) if live else ([], [])
    boxes, silent = containers(host, home)
    variables = _variables(catalog)
    places = ["/dev/kfd", *(gpu["render_node"] for gpu in facts["gpus"] if gpu["render_node"])]
    nodes = [node(place, who) for place in places] if live else []
    return Machine(
        live=live,
        facts=facts,
        profile=role_code.profile(facts, catalog),
        catalog=catalog,
        account=who,
        devices=tuple(seen),
        nodes=tuple(found for found in nodes if found),
        settings=settings(host, variables, environment if live else {}, home),
        containers=tuple(boxes),
        not_read=(*facts.get("unreadable", []), *host.unreadable, *deaf, *silent),
        distribution=_distribution(root),
        package_manager=_package_manager(facts),
    )


def _numbers(version: str) -> tuple[int, ...]:
    """The upstream numbers of a kernel release."""
    upstream = re.split(r"[-+~]", version)[0]
    return tuple(int(part) for part in re.findall(r"\d{1,9}", upstream)) or (999,)


def _home(who: Account) -> str | None:
    try:
        return pwd.getpwuid(who.uid).pw_dir
    except KeyError:
        return None


def _variables(catalog: Json) -> set[str]:
    """Names of variables that engines do not take any more."""
    engines = catalog.get("engines", {}).values()
    return {name for engine in engines for name in engine.get("removed", {}) if name[:1] != "-"}


def _distribution(root: Path) -> str:
    """The system's own name; empty for an os-release that is broken (facts have what is left)."""
    import distro

    try:
        if root == Path("/"):
            return distro.name(pretty=True)
        return distro.LinuxDistribution(
            include_lsb=False, include_uname=False, include_oslevel=False, root_dir=str(root)
        ).name(pretty=True)
    except (OSError, ValueError):
        return ""


def _package_manager(facts: Json) -> str:
    """The program that installs packages here; the facts know, else the distribution's family."""
    if facts.get("package_manager"):
        return str(facts["package_manager"])
    family = (facts.get("distribution") or {}).get("family")
    return {"debian": "apt", "rhel": "dnf"}.get(str(family), "")
