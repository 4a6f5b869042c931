"""Distribution, environment, kernel, memory, devices and space of a host."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import PurePosixPath
from typing import Any

from . import lock, packages
from .boot import ENTRIES
from .files import Host, kernel_arguments, records

DMI = "/sys/class/dmi/id"
SESSIONS = "/run/systemd/sessions"
DISPLAY_MANAGER = "/etc/systemd/system/display-manager.service"
STATE = "/var/lib/stroke/packages"
BOOT_STATE = "/var/lib/stroke/boot_guard/state.json"
# The private boot menu or entry of the role boot_guard: a boot transaction is open with it.
BOOT_MENUS = ("/boot/grub/custom.cfg", "/boot/grub2/custom.cfg",
              *(f"{folder}/stroke-lkg.conf" for folder in ENTRIES))  # fmt: skip
BOOT_MARK = "Managed by stroke (role boot_guard)"
CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"

# sys_vendor or product_name -> the word systemd-detect-virt uses for it.
VENDORS = (
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("xen", "xen"),
    ("virtual machine", "microsoft"),
    ("bochs", "bochs"),
    ("parallels", "parallels"),
)


def distribution(host: Host) -> dict[str, Any]:
    """The fields of os-release that choices depend on; testing has no VERSION_ID."""
    text = host.text("/etc/os-release") or host.text("/usr/lib/os-release") or ""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, raw = line.strip().partition("=")
        if not separator or key.startswith("#"):
            continue
        try:
            values[key] = " ".join(shlex.split(raw))
        except ValueError:
            values[key] = raw.strip("\"'")
    codename = values.get("VERSION_CODENAME") or (host.line("/etc/debian_version") or "")
    if "VERSION_CODENAME" not in values:
        codename = codename.split("/")[0] if re.match(r"[a-z]+(/sid)?$", codename) else ""
    found = {
        "id": values.get("ID", ""),
        "version_id": values.get("VERSION_ID", ""),
        "codename": codename,
        "name": values.get("PRETTY_NAME", values.get("NAME", "")),
        "id_like": values.get("ID_LIKE", "").split(),
        "variant_id": values.get("VARIANT_ID", ""),
    }
    return {**found, "family": packages.kin(found)}


def _container(host: Host) -> str | None:
    told = host.line("/run/systemd/container")
    if told:
        return told
    if host.exists("/run/.containerenv"):
        return "podman"
    return "docker" if host.exists("/.dockerenv") else None


def _machine(host: Host) -> str:
    words = " ".join(
        host.line(f"{DMI}/{name}") or "" for name in ("sys_vendor", "product_name")
    ).lower()
    clocks = (host.line(CLOCKS) or "").split()
    if "qemu" in words or "kvm" in words:
        return "kvm" if "kvm-clock" in clocks else "qemu"
    for word, name in VENDORS:
        if word in words:
            return name
    if "kvm-clock" in clocks:
        return "kvm"
    flags = re.search(r"^flags\s*:(.*)$", host.text("/proc/cpuinfo", 8192) or "", re.MULTILINE)
    return "vm-other" if flags and "hypervisor" in flags.group(1).split() else "none"


def environment(host: Host) -> dict[str, Any]:
    container = _container(host)
    return {
        "virtualization": container or _machine(host),
        "container": container is not None,
        "ostree": host.exists("/run/ostree-booted"),
        "root": os.geteuid() == 0,
        "hostname": host.line("/proc/sys/kernel/hostname") or host.line("/etc/hostname") or "",
        "architecture": host.line("/proc/sys/kernel/arch") or os.uname().machine,
    }


def kernel(host: Host, known: packages.Known) -> dict[str, Any]:
    cmdline = host.line("/proc/cmdline") or ""
    release = host.line("/proc/sys/kernel/osrelease") or ""
    return {
        "running": release,
        "boot_id": host.line("/proc/sys/kernel/random/boot_id") or "",
        "cmdline": cmdline,
        "args": kernel_arguments(cmdline),
        "installed": known.kernels,
        "running_package": packages.running(known.kernels, release),
    }


def _node(host: Host, path: str) -> dict[str, Any] | None:
    found = host.stat(path)
    if found is None:
        return None
    return {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "gid": found.st_gid}


def devices(host: Host) -> dict[str, Any]:
    nodes = [name for name in host.names("/dev/dri") if name.startswith("renderD")]
    render = {f"/dev/dri/{name}": _node(host, f"/dev/dri/{name}") for name in nodes}
    return {"kfd": _node(host, "/dev/kfd"), "render": render}


def groups(host: Host) -> dict[str, int | None]:
    known = {
        fields[0]: int(fields[2])
        for fields in records(host.text("/etc/group") or "")
        if len(fields) >= 3 and fields[2].isdecimal()
    }
    return {"render": known.get("render"), "video": known.get("video")}


def _mounts(host: Host) -> list[str]:
    text = host.text("/proc/self/mounts") or ""
    fields = (line.split() for line in text.splitlines())
    points = [words[1].replace("\\040", " ") for words in fields if len(words) > 1]
    return sorted(points, key=len, reverse=True)


def filesystems(host: Host, paths: list[str]) -> dict[str, Any]:
    """Space where each path is or would be made: that of its nearest existing parent."""
    result: dict[str, Any] = {}
    points = _mounts(host) if paths else []
    for path in paths:
        place = PurePosixPath(os.path.normpath("/" + path.lstrip("/")))
        while place.name and host.stat(os.fspath(place)) is None:
            place = place.parent
        try:
            space = os.statvfs(host.at(os.fspath(place)))
        except OSError as error:
            host.cannot(path, error)
            continue
        real = os.path.realpath(place) if host.live else os.fspath(place)
        over = (point for point in points if real == point or real.startswith(f"{point}/"))
        result[path] = {
            "total_bytes": space.f_blocks * space.f_frsize,
            "free_bytes": space.f_bavail * space.f_frsize,
            "mount": next(over, "/"),
        }
    return result


def desktop(host: Host) -> dict[str, Any]:
    """Display manager that is enabled, and graphical sessions of people who are logged in now."""
    sessions = None
    if host.exists(SESSIONS):
        texts = (host.text(f"{SESSIONS}/{name}", 8192) or "" for name in host.names(SESSIONS)
                 if name.isalnum())  # fmt: skip
        graphical = re.compile(r"^TYPE=(?:x11|wayland|mir)$", re.MULTILINE)
        sessions = sum(
            1 for text in texts if graphical.search(text) and "CLASS=user\n" in f"{text}\n"
        )
    return {"display_manager": host.link(DISPLAY_MANAGER), "sessions": sessions}


def boot_transaction(host: Host) -> dict[str, Any] | None:
    """The last boot transaction as its guard wrote it down, and which system of it runs."""
    text = host.text(BOOT_STATE)
    if text is None:
        return None
    try:
        data = json.loads(text)
        systems = {name: str((data.get(name) or {}).get("release") or "") for name in
                   ("trial", "lkg")}  # fmt: skip
    except (ValueError, AttributeError) as error:
        host.cannot(BOOT_STATE, f"not the state of a boot transaction: {error}")
        return None
    words = (host.line("/proc/cmdline") or "").split()
    token = data.get("transaction")
    found = {key: str(data.get(key) or "") for key in ("phase", "why", "since")}
    return {
        **found,
        "trial": systems["trial"],
        "last_known_good": systems["lkg"],
        "running": next((name for name in systems if f"stroke.{name}={token}" in words), ""),
        "open": any(BOOT_MARK in (host.text(path) or "") for path in BOOT_MENUS),
    }


def state(host: Host) -> dict[str, Any]:
    """What stroke wrote down here: versions of before, the boot transaction, who has the host."""
    before: dict[str, Any] = {}
    for name in host.names(STATE):
        if not name.endswith(".json"):
            continue
        try:
            value = json.loads(host.text(f"{STATE}/{name}") or "")
        except ValueError as error:
            host.cannot(f"{STATE}/{name}", f"not JSON: {error}")
            continue
        if isinstance(value, dict):
            before[name[: -len(".json")]] = value
        else:
            host.cannot(f"{STATE}/{name}", "not a JSON object")
    return {
        "packages": before,
        "boot": boot_transaction(host),
        "lock": lock.look(host.root),
    }
