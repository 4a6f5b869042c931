"""Commands that mend a finding on this machine's kind of system."""

from __future__ import annotations

from collections.abc import Iterable

from .doctor_machine import Machine


def provision(machine: Machine) -> str:
    """Let stroke do it; where it refuses this system, what it asks for first."""
    refusals = machine.profile.get("refusals") or []
    return str(refusals[0]["hint"]) if refusals else "stroke provision"


def update(machine: Machine, package: str) -> str:
    """Bring one package to its newest version."""
    if machine.package_manager == "dnf":
        return f"sudo dnf upgrade {package}"
    if machine.package_manager == "apt":
        return f"sudo apt-get install {package}"
    return f"update {package} with the package manager of this system"


def purge(machine: Machine, packages: Iterable[str]) -> str:
    """Take packages away, and build the initramfs again so that nothing of them stays in it."""
    names = " ".join(packages)
    if machine.package_manager == "dnf":
        return f"sudo dnf remove {names} && sudo dracut --force --regenerate-all && sudo reboot"
    if machine.package_manager == "apt":
        return f"sudo apt-get purge {names} && sudo update-initramfs -u -k all && sudo reboot"
    return f"remove {names} with the package manager of this system, rebuild the initramfs, reboot"


def initramfs(machine: Machine) -> str:
    """Build the initramfs of every kernel again."""
    if machine.package_manager == "dnf":
        return "sudo dracut --force --regenerate-all"
    return "sudo update-initramfs -u -k all"


def remove_argument(machine: Machine, key: str, sources: Iterable[str]) -> str:
    """Take a kernel argument away where the boot loader of this machine has it from."""
    files = sorted(set(sources))
    options = [name for name in files if "/modprobe.d/" in name]
    if options:
        edited = " ".join(options)
        return f"sudoedit {edited} (take out {key}), then: {initramfs(machine)} && sudo reboot"
    if machine.fact("environment.ostree"):
        return f"sudo rpm-ostree kargs --delete-if-present={key} && sudo reboot"
    layout = machine.fact("boot.layout") or machine.fact("boot.loader")
    if layout == "grub-bls":
        return f"sudo grubby --update-kernel=ALL --remove-args={key} && sudo reboot"
    places = [name for name in files if name.startswith("/etc/")]
    if layout == "systemd-boot":
        edited = " ".join(places) or "/etc/kernel/cmdline"
        return f"sudoedit {edited} (take out {key}), then: sudo kernel-install add-all"
    edited = " ".join(places) or "/etc/default/grub"
    return f"sudoedit {edited} (take out {key}), then: sudo update-grub && sudo reboot"
