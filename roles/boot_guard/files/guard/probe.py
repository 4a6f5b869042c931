"""Whether the boot loader of this host can take a change back by itself. Read-only, prints JSON.

It is also run before anything of the guard is on the host.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import bls
import efivars
import family
import menu
import passphrase
import sdboot
from family import Family
from reading import mount_of, text

STATE = "/var/lib/stroke/boot_guard/state.json"
UNIT = "etc/systemd/system/stroke-boot-guard.service"
GRUB, SYSTEMD_BOOT = "grub", "systemd-boot"
# What GRUB can write a block of (its ext2 is ext2, ext3 and ext4).
WRITABLE = ("ext2", "xfs", "fat")
# Room that two small files and the menu take beside the copies.
SPARE = 1024**2


def grub_probe(target: str, grub: Family) -> str:
    """What GRUB's own tool says of the place of its folder; `?` where it cannot say."""
    try:
        done = subprocess.run(
            [f"{grub.tools}-probe", f"--target={target}", grub.folder],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "?"
    return done.stdout.strip() if done.returncode == 0 else "?"


def loader(root: Path) -> str:
    """What a boot loader said of itself to the firmware; most that use BIOS or GRUB say nothing."""
    return (efivars.read(root, "LoaderInfo") or "").strip()


def known_loader(root: Path) -> str:
    """The boot loader, as far as it is one that can be told to go back; else empty."""
    said = loader(root).lower()
    if said and not said.startswith("grub"):
        return SYSTEMD_BOOT if said.startswith(SYSTEMD_BOOT) else ""
    if text(root, family.of(root).config):
        return GRUB
    places = (root / path.lstrip("/") / "loader/loader.conf" for path in sdboot.FOLDERS)
    return SYSTEMD_BOOT if any(path.is_file() for path in places) else ""


def unknown_loader(root: Path) -> str:
    """Why the boot loader cannot be told to go back; empty where it can."""
    if text(root, "/run/systemd/container"):
        return "it is a container: what runs it decides how it starts"
    if (root / "run/ostree-booted").exists():
        return "ostree manages it, and with it what its boot menu starts"
    if known_loader(root):
        return ""
    said = loader(root)
    if said and not said.lower().startswith("grub"):
        return f"it is started by {said}, whose boot entries stroke does not count"
    return (
        "its boot loader is not known: there is no "
        f"{family.DEBIAN.config} and no {family.FEDORA.config}"
    )


def _journals_data(root: Path, mount: dict[str, str]) -> bool:
    """Whether files are written to the journal first: by an option, or as ext4's own default.

    Defaults (tune2fs -o journal_data) are not among the options of a mount.
    """
    name = Path(mount["device"]).name
    options = text(root, f"/proc/fs/ext4/{name}/options").splitlines()
    return "data=journal" in [*mount["options"].split(","), *options]


def obstacles(root: Path, release: str, command_line: str) -> list[str]:
    """Why this host cannot come back by itself; none means that it can."""
    other = unknown_loader(root)
    if other:
        return [other]
    found = []
    asking = passphrase.needed(root)
    if asking:
        found.append(f"every start of it waits for the passphrase of {' and '.join(asking)}")
    if text(root, "/proc/sys/crypto/fips_enabled").strip() == "1":
        # Its initramfs wants a checksum beside the kernel that was started (dracut, 01fips).
        found.append("it is in FIPS mode, where a copy of its kernel does not start")
    if known_loader(root) == SYSTEMD_BOOT:
        return found + sdboot.obstacles(root, release)
    grub = family.of(root)
    config, place = text(root, grub.config), grub.folder
    if "custom.cfg" not in config:
        found.append("its boot menu does not read custom.cfg (/etc/grub.d/41_custom is missing)")
    if grub.entries:
        found += bls.obstacles(root, release)
        found += bls.led_elsewhere(root, grub_probe("fs_uuid", grub))
    elif bls.COMMAND.search(config):
        found.append("its boot menu is made of boot entries (BLS)")
    mount = mount_of(root, place)
    if mount["mount"] != mount_of(root, "/boot")["mount"]:
        found.append(f"{place} is on another file system than the kernels in /boot")
    custom = text(root, grub.custom)
    if custom and menu.OWN not in custom:
        found.append(f"{grub.custom} is somebody else's")
    abstraction, kind = grub_probe("abstraction", grub), grub_probe("fs", grub)
    if abstraction == "?" or kind == "?":
        found.append(f"{grub.tools}-probe cannot tell where {place} is")
    elif abstraction:
        found.append(f"GRUB cannot write to {place}, which is on {abstraction}")
    elif kind not in WRITABLE:
        found.append(f"GRUB cannot write to {place}, which is {kind}")
    if _journals_data(root, mount):
        found.append(f"the journal of {place} has data, which would undo what GRUB writes")
    if kind == "xfs" and mount["mount"] == "/":
        found.append(f"{place} is on the XFS of /, whose log GRUB cannot read")
    if re.search(r"(^|\s)[^\s]*(['\\]|[^\s=\"]\"[^\s])", command_line):
        found.append("the kernel command line has quotes that GRUB would change")
    for name in (f"vmlinuz-{release}", grub.initrd.format(release)):
        if not (root / "boot" / name).is_file():
            found.append(f"/boot/{name} of the running kernel is missing")
    if not (root / "run/systemd/system").is_dir():
        found.append("it is not run by systemd")
    return found


def running(command_line: str, transaction: str) -> str:
    """Which system of a transaction runs: trial, lkg, or neither."""
    words = command_line.split()
    for name in ("trial", "lkg"):
        if transaction and f"stroke.{name}={transaction}" in words:
            return name
    return ""


def probe(root: Path) -> dict[str, Any]:
    """Everything that a plan has to know."""
    release = text(root, "/proc/sys/kernel/osrelease").strip()
    command_line = text(root, "/proc/cmdline").strip()
    try:
        state = json.loads(text(root, STATE) or "{}")
    except ValueError:
        state = {}
    if known_loader(root) == SYSTEMD_BOOT:
        found = sdboot.summary(root, release)
    else:
        grub = family.of(root)
        names = f"vmlinuz-{release}", grub.initrd.format(release)
        files = [root / "boot" / name for name in names]
        place = os.statvfs(root / "boot") if (root / "boot").is_dir() else None
        found = {
            "open": menu.OWN in text(root, grub.custom),
            "copies": (root / "boot/stroke").is_dir(),
            "boot": "/boot",
            "bytes": sum(path.stat().st_size for path in files if path.is_file()),
            "free": place.f_bavail * place.f_frsize if place else 0,
        }
    return {
        "obstacles": obstacles(root, release, command_line),
        "open": found["open"],
        "leftover": (found["copies"] or (root / UNIT).is_file()) and not found["open"],
        "state": state,
        "running": running(command_line, str(state.get("transaction") or "")),
        "watchdog": (root / "dev/watchdog").exists(),
        "boot": found["boot"],
        "copies_bytes": 0 if found["open"] else SPARE + found["bytes"],
        "boot_free_bytes": found["free"],
    }


if __name__ == "__main__":
    print(json.dumps(probe(Path(sys.argv[1] if len(sys.argv) > 1 else "/"))))
