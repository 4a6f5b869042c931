"""Whether the boot loader of this host can take a change back by itself. Read-only, prints JSON.

Stands alone: it is also run before anything of the guard is on the host.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

STATE = "/var/lib/stroke/boot_guard/state.json"
CUSTOM = "/boot/grub/custom.cfg"
CONFIG = "/boot/grub/grub.cfg"
UNIT = "etc/systemd/system/stroke-boot-guard.service"
LOADER_INFO = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
OWN = "Managed by stroke (role boot_guard)"
# What GRUB can write a block of (its ext2 is ext2, ext3 and ext4).
WRITABLE = ("ext2", "xfs", "fat")
# Room that two small files and the menu take beside the copies.
SPARE = 1024**2


def text(root: Path, path: str) -> str:
    """A file as text; empty where there is none."""
    try:
        return (root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def grub_probe(target: str, path: str) -> str:
    """What GRUB's own tool says of the place of a path; `?` where it cannot say."""
    try:
        done = subprocess.run(
            ["grub-probe", f"--target={target}", path],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "?"
    return done.stdout.strip() if done.returncode == 0 else "?"


def mount_of(root: Path, path: str) -> dict[str, str]:
    """The mount that a path is on, with its options."""
    best = {"mount": "", "type": "", "options": ""}
    for line in text(root, "/proc/self/mounts").splitlines():
        fields = line.split(" ")
        place = fields[1].rstrip("/")
        if f"{path}/".startswith(f"{place}/") and len(fields[1]) >= len(best["mount"]):
            best = {"mount": fields[1], "type": fields[2], "options": fields[3]}
    return best


def loader(root: Path) -> str:
    """What a boot loader said of itself to the firmware; most that use BIOS or GRUB say nothing."""
    try:
        data = (root / LOADER_INFO.lstrip("/")).read_bytes()[4:]
    except OSError:
        return ""
    return data.decode("utf-16-le", "replace").rstrip("\0").strip()


def other_loader(root: Path) -> str:
    """Why the host is not one that GRUB starts as on Debian; empty where it is."""
    if text(root, "/run/systemd/container"):
        return "it is a container: what runs it decides how it starts"
    said = loader(root)
    if said and not said.lower().startswith("grub"):
        return f"it is started by {said}, whose boot entries stroke does not count"
    if text(root, CONFIG):
        return ""
    if text(root, "/boot/grub2/grub.cfg"):
        return "its GRUB takes its boot menu from boot entries (BLS), as on Fedora and RHEL"
    for place in ("/boot", "/efi", "/boot/efi"):
        if (root / place.lstrip("/") / "loader/loader.conf").is_file():
            return "it is started by systemd-boot, whose boot entries stroke does not count"
    return f"its boot loader is not known: there is no {CONFIG}"


def obstacles(root: Path, release: str, command_line: str) -> list[str]:
    """Why this host cannot come back by itself; none means that it can."""
    other = other_loader(root)
    if other:
        return [other]
    config = text(root, CONFIG)
    found = []
    if "custom.cfg" not in config:
        found.append("its boot menu does not read custom.cfg (/etc/grub.d/41_custom is missing)")
    if re.search(r"^\s*blscfg\b", config, re.MULTILINE):
        found.append("its boot menu is made of boot entries (BLS)")
    if mount_of(root, "/boot/grub")["mount"] != mount_of(root, "/boot")["mount"]:
        found.append("/boot/grub is on another file system than the kernels in /boot")
    custom = text(root, CUSTOM)
    if custom and OWN not in custom:
        found.append(f"{CUSTOM} is somebody else's")
    abstraction, kind = grub_probe("abstraction", "/boot/grub"), grub_probe("fs", "/boot/grub")
    if abstraction == "?" or kind == "?":
        found.append("grub-probe cannot tell where /boot/grub is")
    elif abstraction:
        found.append(f"GRUB cannot write to /boot/grub, which is on {abstraction}")
    elif kind not in WRITABLE:
        found.append(f"GRUB cannot write to /boot/grub, which is {kind}")
    mount = mount_of(root, "/boot/grub")
    if "data=journal" in mount["options"].split(","):
        found.append("the journal of /boot/grub has data, which would undo what GRUB writes")
    if kind == "xfs" and mount["mount"] == "/":
        found.append("/boot/grub is on the XFS of /, whose log GRUB cannot read")
    if re.search(r"(^|\s)[^\s]*(['\\]|[^\s=\"]\"[^\s])", command_line):
        found.append("the kernel command line has quotes that GRUB would change")
    for name in (f"vmlinuz-{release}", f"initrd.img-{release}"):
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
    open_now = OWN in text(root, CUSTOM)
    leftover = (root / "boot/stroke").is_dir() or (root / UNIT).is_file()
    files = [root / "boot" / f"{name}-{release}" for name in ("vmlinuz", "initrd.img")]
    place = os.statvfs(root / "boot") if (root / "boot").is_dir() else None
    return {
        "obstacles": obstacles(root, release, command_line),
        "open": open_now,
        "leftover": leftover and not open_now,
        "state": state,
        "running": running(command_line, str(state.get("transaction") or "")),
        "watchdog": (root / "dev/watchdog").exists(),
        "copies_bytes": 0 if open_now else SPARE + sum(
            path.stat().st_size for path in files if path.is_file()),
        "boot_free_bytes": place.f_bavail * place.f_frsize if place else 0,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(probe(Path(sys.argv[1] if len(sys.argv) > 1 else "/"))))
