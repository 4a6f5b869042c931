"""Kernel arguments and module options: those that run, those that wait, and how they disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import doctor_fix as fix
from .doctor_driver import arguments, needs_cwsr
from .doctor_finding import Finding, finding
from .doctor_machine import Machine

Json = dict[str, Any]
GIB, MIB = 2**30, 2**20
OWN = ("/etc/default/grub.d/90-stroke.cfg", "/etc/modprobe.d/stroke.conf")
LIMITS = ("ttm.pages_limit", "amdttm.pages_limit")
# Entries of kernels that do not run may keep what was right for them.
ENTRIES = ("/boot/loader/", "/efi/loader/", "/boot/efi/loader/")


def checks(machine: Machine) -> Iterator[Finding]:
    """What the command line and modprobe.d make of the GPU."""
    if not machine.gpus:
        return
    yield from _nomodeset(machine)
    yield from _without_effect(machine)
    yield from _different(machine)
    if any(machine.is_apu(gpu) for gpu in machine.serving):
        yield from _limits(machine)
        yield from _gttsize(machine)
    yield from _iommu(machine)
    yield from _workaround(machine)
    yield from _waiting(machine)


class Setting:
    """Every value of one argument, with the places that say it."""

    def __init__(self, machine: Machine, key: str) -> None:
        module, _, name = key.partition(".")
        self.key = key
        self.running = [value for word, value in _pairs(arguments(machine)) if word == key]
        self.options = [
            (entry["file"], entry["value"] or "")
            for entry in machine.fact("arguments.modprobe", [])
            if entry["module"] == module and entry["key"] == name
        ]
        self.configured = [
            (entry["source"], entry["value"] or "")
            for entry in machine.fact("arguments.configured", [])
            if entry["key"] == key and not entry["source"].startswith(ENTRIES)
        ]

    @property
    def evidence(self) -> list[str]:
        """One line for each place."""
        lines = [f"/proc/cmdline: {_word(self.key, value)}" for value in self.running]
        lines += [f"{place}: {_word(self.key, value)}" for place, value in self.configured]
        return [*lines, *(f"{place}: {_word(self.key, value)}" for place, value in self.options)]

    @property
    def sources(self) -> list[str]:
        """Files that somebody may edit to change it."""
        return [place for place, _ in (*self.configured, *self.options)]

    @property
    def values(self) -> set[str]:
        """Every value that is set anywhere."""
        places = (*self.configured, *self.options)
        return {*self.running, *(value for _, value in places)}


def _word(key: str, value: str) -> str:
    return f"{key}={value}" if value else key


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        key, _, value = word.partition("=")
        yield key, value


def _managed(machine: Machine, *, obsolete: bool) -> list[Json]:
    entries = machine.catalog.get("boot_arguments", [])
    return [entry for entry in entries if bool(entry.get("obsolete")) is obsolete]


def _nomodeset(machine: Machine) -> Iterator[Finding]:
    found = Setting(machine, "nomodeset")
    unbound = any(machine.driver(gpu) is None for gpu in machine.gpus)
    if not found.evidence or (found.running and unbound):  # then STK-D11 says it
        return
    yield finding(
        "STK-D41",
        "nomodeset keeps amdgpu from taking any GPU"
        + ("" if found.running else ", from the next boot on"),
        found.evidence,
        fix.remove_argument(machine, "nomodeset", found.sources),
    )


def _without_effect(machine: Machine) -> Iterator[Finding]:
    for entry in _managed(machine, obsolete=True):
        found = Setting(machine, entry["key"])
        if found.evidence:
            yield finding(
                "STK-D42",
                f"{entry['key']}: {entry['meaning']}",
                found.evidence,
                fix.remove_argument(machine, entry["key"], found.sources),
            )


def _different(machine: Machine) -> Iterator[Finding]:
    """The last one to be parsed wins, and which one that is depends on the initramfs."""
    keys = [entry["key"] for entry in _managed(machine, obsolete=False)]
    for key in dict.fromkeys([*keys, *LIMITS]):
        found = Setting(machine, key)
        options = {value for _, value in found.options}
        # stroke's drop-in takes the keys that it manages out of what was set before it.
        ours = any(place in OWN for place, _ in found.configured)
        files = set() if ours else {value for _, value in found.configured}
        live = {*found.running, *options}
        if len(live) < 2 and len(files) < 2:
            continue
        yield finding(
            "STK-D43",
            f"{key} is set to {' and to '.join(sorted(found.values))}",
            found.evidence,
            fix.remove_argument(machine, key, [p for p in found.sources if p not in OWN]),
        )


def _limits(machine: Machine) -> Iterator[Finding]:
    """What the GPU may take of the RAM, now and after the next boot."""
    total = machine.fact("memory.total_bytes", 0)
    page = machine.fact("memory.page_size", 4096)
    reserve = (machine.profile.get("memory") or {}).get("reserve_bytes") or 0
    live = machine.fact("parameters", {}).get("ttm.pages_limit")
    wanted = {("/sys/module/ttm/parameters/pages_limit", live)} if live else set()
    for key in LIMITS:
        found = Setting(machine, key)
        places = [("/proc/cmdline", value) for value in found.running]
        for place, value in (*places, *found.configured, *found.options):
            if value.isdecimal() and len(value) < 20:
                wanted.add((place, int(value)))
    for pages in sorted({number for _, number in wanted if total}):
        evidence = [f"{place}: {pages}" for place, number in sorted(wanted) if number == pages]
        size = pages * page
        said = f"{pages} pages of {page} bytes are {size / GIB:.1f} GiB of {total / GIB:.1f} GiB"
        if size > total:
            yield finding(
                "STK-D44", f"the GPU may take all RAM: {said}", evidence, fix.provision(machine)
            )
        elif reserve and size > total - reserve:
            left = (total - size) / GIB
            what = f"only {left:.1f} GiB stay for the system: {said}"
            yield finding("STK-D45", what, evidence, fix.provision(machine))


def _gttsize(machine: Machine) -> Iterator[Finding]:
    parameters = machine.fact("parameters", {})
    size, pages = parameters.get("amdgpu.gttsize"), parameters.get("ttm.pages_limit")
    page = machine.fact("memory.page_size", 4096)
    # -1 and 0 leave the size to the driver.
    if not pages or size is None or size <= 0 or size == pages * page // MIB:
        return
    yield finding(
        "STK-D46",
        f"amdgpu.gttsize gives {size / 1024:.1f} GiB, "
        f"ttm.pages_limit {pages * page / GIB:.1f} GiB: ROCm may see the smaller one",
        [
            f"/sys/module/amdgpu/parameters/gttsize: {size} MiB",
            f"/sys/module/ttm/parameters/pages_limit: {pages} pages of {page} bytes",
        ],
        fix.provision(machine),
    )


def _iommu(machine: Machine) -> Iterator[Finding]:
    if "amd_iommu=off" not in arguments(machine):
        return
    needing = []
    if machine.fact("modules.amdxdna.loaded"):
        needing.append("the NPU driver amdxdna is loaded")
    for what, key in (("VFIO has", "vfio_devices"), ("RDMA has", "rdma_devices")):
        names = machine.fact(f"modules.{key}", [])
        needing += [f"{what} {', '.join(names)}"] if names else []
    if len(machine.serving) > 1:
        needing.append(f"{len(machine.serving)} GPUs serve together")
    if any(str(gpu.get("class") or "").startswith("12") for gpu in machine.serving):
        needing.append("an Instinct accelerator is there")
    if needing:
        found = Setting(machine, "amd_iommu")
        set_by = (*found.configured, *found.options)
        off = [place for place, value in set_by if value == "off" and place not in OWN]
        yield finding(
            "STK-D47",
            "amd_iommu=off breaks what is in use here",
            [*found.evidence, *needing],
            fix.remove_argument(machine, "amd_iommu", off) if off else fix.provision(machine),
        )


def _workaround(machine: Machine) -> Iterator[Finding]:
    found = Setting(machine, "amdgpu.cwsr_enable")
    fixed = [gpu for gpu in machine.serving if needs_cwsr(machine, gpu) and gpu.get("cwsr_size")]
    if found.values == {"0"} and fixed and len(fixed) == len(machine.serving):
        yield finding(
            "STK-D48",
            "amdgpu.cwsr_enable=0 is for kernels without the compute fix; this one has it",
            [*found.evidence, f"cwsr_size in the KFD topology: {fixed[0]['cwsr_size']}"],
            fix.remove_argument(machine, "amdgpu.cwsr_enable", found.sources),
        )


def _waiting(machine: Machine) -> Iterator[Finding]:
    """What stroke or somebody configured, and the running kernel was not started with."""
    for entry in _managed(machine, obsolete=False):
        found = Setting(machine, entry["key"])
        ours = {value for place, value in found.configured if place in OWN}
        if found.configured and (not found.running or (ours and {*found.running} != ours)):
            now = f"with {' and '.join(sorted(found.running))}" if found.running else "without it"
            yield finding(
                "STK-D49",
                f"{entry['key']} is configured, but the running kernel was started {now}",
                found.evidence,
                "sudo reboot" if ours else "sudo update-grub && sudo reboot",
            )
