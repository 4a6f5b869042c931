"""Does a driver run each GPU, may the user open it, are kernel and firmware fit for it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import doctor_fix as fix
from .doctor_finding import Finding, finding
from .doctor_machine import DKMS_PACKAGES, Machine

Json = dict[str, Any]
LOW_BYTE = 0xFF  # the version that the MES bulletins speak of


def checks(machine: Machine) -> Iterator[Finding]:
    """Everything between the PCI bus and a process that opens the device."""
    yield from _bound(machine)
    yield from _compute(machine)
    yield from _access(machine)
    yield from _kernel(machine)
    yield from _firmware(machine)
    yield from _dkms(machine)


def title(gpu: Json) -> str:
    """A GPU as findings name it."""
    name = gpu.get("gfx") or f"PCI id 1002:{gpu.get('pci_id')}"
    return f"{name} at {gpu.get('slot')}"


def _bound(machine: Machine) -> Iterator[Finding]:
    left = any(machine.driver(gpu) == "amdgpu" for gpu in machine.serving)
    for gpu in machine.gpus:
        driver = machine.driver(gpu)
        where = f"/sys/bus/pci/devices/{gpu.get('slot')}"
        if driver == "vfio-pci":
            if left:  # one for the virtual machine, one for the host: on purpose
                continue
            yield finding(
                "STK-D12",
                f"{title(gpu)} is bound to vfio-pci: a virtual machine may use it, the host not",
                [f"{where}/driver → vfio-pci"],
                "take its id out of vfio-pci's `ids=` in /etc/modprobe.d or the kernel arguments",
            )
        elif driver is None:
            why, evidence, mend = _unbound(machine)
            what = f"{title(gpu)} has no driver{why}"
            yield finding("STK-D11", what, [f"{where}/driver is missing", *evidence], mend)


def _unbound(machine: Machine) -> tuple[str, list[str], str]:
    """Why amdgpu did not take a GPU: cause, evidence, command."""
    words = arguments(machine)
    kernel = machine.fact("kernel.running", "")
    if "nomodeset" in words:
        sources = configured(machine, "nomodeset")
        mend = fix.remove_argument(machine, "nomodeset", sources)
        return ": nomodeset forbids it", ["/proc/cmdline: nomodeset", *sources], mend
    for word in words:
        key, _, value = word.partition("=")
        if key in ("modprobe.blacklist", "module_blacklist") and "amdgpu" in value.split(","):
            mend = fix.remove_argument(machine, key, configured(machine, key))
            return ": a kernel argument forbids it", [f"/proc/cmdline: {word}"], mend
    barred = machine.fact("arguments.blacklisted", [])
    files = sorted({entry["file"] for entry in barred if entry["module"] == "amdgpu"})
    if files:
        mend = f"sudoedit {' '.join(files)}, then: {fix.initramfs(machine)} && sudo reboot"
        return ": it is blacklisted", [f"{name}: keeps amdgpu from loading" for name in files], mend
    if machine.fact("modules.amdgpu.available") is False:
        why = f": kernel {kernel} comes without the module amdgpu"
        return why, [f"no amdgpu.ko below /lib/modules/{kernel}"], fix.provision(machine)
    if not machine.fact("modules.amdgpu.loaded"):
        mend = "sudo modprobe amdgpu; then read: sudo dmesg | grep -i amdgpu"
        return ": the module amdgpu is not loaded", ["/sys/module/amdgpu is missing"], mend
    why = ", although amdgpu is loaded: kernel or firmware do not know it"
    return why, [f"kernel {kernel}"], "sudo dmesg | grep -i amdgpu   # says what it missed"


def _compute(machine: Machine) -> Iterator[Finding]:
    bound = [gpu for gpu in machine.serving if machine.driver(gpu) == "amdgpu"]
    if bound and machine.live and not any(node.path == "/dev/kfd" for node in machine.nodes):
        yield finding(
            "STK-D13",
            "the driver runs, but there is no /dev/kfd, which ROCm computes through",
            ["/dev/kfd is missing", f"kernel {machine.fact('kernel.running')}"],
            "sudo dmesg | grep -i kfd   # and use a kernel with CONFIG_HSA_AMD",
        )
        return
    for gpu in bound:
        said = gpu.get("said")
        if said and not said.get("kfd"):
            yield finding(
                "STK-D13",
                f"the kernel does not offer {title(gpu)} for compute",
                ["no node of it in /sys/class/kfd/kfd/topology/nodes"],
                "sudo dmesg | grep -i kfd   # often PCIe atomics that the slot does not have",
            )


def _access(machine: Machine) -> Iterator[Finding]:
    who = machine.account
    if who.uid == 0:
        return
    closed = [node for node in machine.nodes if not node.openable]
    waiting = [node for node in closed if node.openable_after_login]
    ownerless = [node for node in closed if node.gid == 0 and not node.openable_after_login]
    missing = [node for node in closed if node not in waiting and node not in ownerless]
    if missing:
        groups = ",".join(sorted({node.group for node in missing}))
        yield finding(
            "STK-D21",
            f"{who.name} may not open {_paths(missing)}",
            [str(node) for node in missing],
            f"sudo usermod --append --groups {groups} {who.name}, then log out and in",
        )
    if waiting:
        groups = ", ".join(sorted({node.group for node in waiting}))
        yield finding(
            "STK-D22",
            f"{who.name} is in {groups}, but this session began before that",
            [str(node) for node in waiting],
            "log out and in (over SSH: close every connection; in tmux: tmux kill-server)",
        )
    if ownerless:
        yield finding(
            "STK-D23",
            f"no group owns {_paths(ownerless)}, so only root may open it",
            [str(node) for node in ownerless],
            fix.provision(machine),
        )


def _paths(nodes: list[Any]) -> str:
    return " and ".join(node.path for node in nodes)


def needs_cwsr(machine: Machine, gpu: Json) -> bool:
    """Whether this GPU needs the kernel fix that cwsr_size in the KFD topology proves.

    Those are the targets for which the catalogue tells fixed kernels from others.
    """
    rows = machine.catalog.get("kernel_rocm", [])
    return any(gpu.get("gfx") in row["gfx"] and row["fixed"] != row["unfixed"] for row in rows)


def _kernel(machine: Machine) -> Iterator[Finding]:
    running = machine.fact("kernel.running", "")
    one_of_each = {gpu.get("gfx"): gpu for gpu in reversed(machine.serving)}
    for gpu in one_of_each.values():
        rule = machine.rule("kernel_rules", machine.gfx_entry(gpu).get("kernel_rule"))
        in_topology = (gpu.get("said") or {}).get("kfd") or gpu.get("source") == "kfd"
        if needs_cwsr(machine, gpu) and in_topology:
            if not gpu.get("cwsr_size"):
                yield finding(
                    "STK-D32",
                    f"kernel {running} lacks the compute fix for {title(gpu)}: "
                    "memory faults and hangs under load",
                    [f"no cwsr_size in the KFD topology of {gpu.get('slot')}"],
                    fix.provision(machine),
                )
        elif machine.kernel_is_too_old(rule):
            floor = (machine.profile.get("kernel") or {}).get("minimum") or rule["minimum"]
            yield finding(
                "STK-D31",
                f"kernel {running} is older than {floor}, which {title(gpu)} needs",
                [f"/proc/sys/kernel/osrelease: {running}", str(rule.get("minimum_reason", ""))],
                fix.provision(machine),
            )


def _firmware(machine: Machine) -> Iterator[Finding]:
    supplier = (machine.profile.get("firmware") or {}).get("package") or "linux-firmware"
    overrides = list(machine.fact("firmware.overrides", []))
    shadow = machine.fact("firmware.dkms_package")
    for gpu in machine.serving:
        rule = machine.rule("firmware_rules", machine.gfx_entry(gpu).get("firmware_rule"))
        loaded = gpu.get("mes_version")
        denied = rule.get("deny_mes") or []
        if gpu.get("gfx") not in (rule.get("deny_mes_gfx") or [gpu.get("gfx")]):
            denied = []
        if loaded is not None and loaded & LOW_BYTE in denied:
            mend = f"{fix.update(machine, supplier)} && {fix.initramfs(machine)} && sudo reboot"
            if shadow:
                mend = fix.purge(machine, DKMS_PACKAGES)
            yield finding(
                "STK-D33",
                f"{title(gpu)} runs MES firmware {loaded & LOW_BYTE:#04x}: "
                f"{rule.get('deny_reason', 'known to be bad')}",
                [f"fw_version/mes_fw_version: {loaded:#010x}", *overrides[:3]],
                mend,
            )
    if overrides and any(machine.is_apu(gpu) for gpu in machine.serving):
        number = machine.fact("firmware.override_count", len(overrides))
        more = f" and {number - 3} more" if number > 3 else ""
        package = [f"amdgpu-dkms-firmware {shadow}"] if shadow else []
        yield finding(
            "STK-D34",
            "files in /lib/firmware/updates hide the distribution's firmware for the GPU",
            [", ".join(overrides[:3]) + more, *package],
            fix.purge(machine, ["amdgpu-dkms-firmware"])
            if shadow
            else f"sudo rm -r /lib/firmware/updates/amdgpu && {fix.initramfs(machine)}",
        )


def _dkms(machine: Machine) -> Iterator[Finding]:
    if not any(machine.is_apu(gpu) for gpu in machine.serving):
        return
    version = machine.fact("modules.amdgpu.dkms_version")
    packages = machine.fact("packages", {})
    present = {n: (packages.get(n) or {}).get("version") for n in DKMS_PACKAGES}
    installed = [f"{name} {found}" for name, found in present.items() if found]
    mend = fix.purge(machine, DKMS_PACKAGES)
    if version or machine.fact("modules.amdgpu.flavour") == "dkms":
        yield finding(
            "STK-D35",
            f"the driver is amdgpu-dkms {version or ''}".rstrip()
            + ", which AMD does not support on an APU: it builds against few kernels and brings "
            "firmware of its own",
            [f"/sys/module/amdgpu/version: {version}", *installed],
            mend,
        )
    elif installed:
        yield finding(
            "STK-D36",
            "amdgpu-dkms is installed on an APU; its driver does not run, but the next kernel "
            "may load it",
            installed,
            mend,
        )


def arguments(machine: Machine) -> list[str]:
    """The running kernel's arguments, as whole tokens."""
    return list(machine.fact("arguments.running") or machine.fact("kernel.args", []))


def configured(machine: Machine, key: str) -> list[str]:
    """Files that set a kernel argument for the next boot."""
    entries = machine.fact("arguments.configured", [])
    return sorted({entry["source"] for entry in entries if entry["key"] == key})
