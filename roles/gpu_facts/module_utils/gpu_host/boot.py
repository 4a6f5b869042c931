"""What boots the host and with which settings, read without executing anything."""

from __future__ import annotations

import re
import shlex
from typing import Any

from .files import Host

OWN_OPTIONS = "/etc/modprobe.d/stroke.conf"
MODPROBE = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
GRUB_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
LOADER_CONFIGS = ("/boot/loader/loader.conf", "/efi/loader/loader.conf",
                  "/boot/efi/loader/loader.conf")  # fmt: skip
EFIVARS = "/sys/firmware/efi/efivars"
SECURE_BOOT = f"{EFIVARS}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
LOADER_INFO = f"{EFIVARS}/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def parse_grub_defaults(text: str) -> dict[str, str]:
    """GRUB_* assignments of a shell file; computed values stay as they are written."""
    values: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        match = re.match(r"\s*(?:export\s+)?(GRUB_\w+)=(.*)$", line)
        if not match:
            continue
        key, raw = match.group(1), match.group(2).strip()
        if "`" in raw or "$(" in raw:
            values[key] = raw
            continue
        try:
            words = shlex.split(raw, comments=True) if raw[:1].strip() else []
        except ValueError:  # a quote that is closed on a later line or never
            values[key] = raw
            continue
        values[key] = words[0] if words else ""
    return values


def module_options(host: Host) -> list[dict[str, str]]:
    """Options of the GPU modules in files that are not ours; /etc masks the same name below."""
    found = []
    seen: set[str] = set()
    for folder in MODPROBE:
        for name in host.names(folder):
            path = f"{folder}/{name}"
            if not name.endswith(".conf") or name in seen:
                continue
            seen.add(name)
            if path == OWN_OPTIONS:
                continue
            for line in (host.text(path) or "").replace("\\\n", " ").splitlines():
                if re.match(r"\s*options\s+(ttm|amdttm|amdgpu)\s", line):
                    found.append({"file": path, "line": " ".join(line.split())})
    return found


def _loader_info(host: Host) -> str:
    data = host.read(LOADER_INFO, 4096) or b""
    return data[4:].decode("utf-16-le", "replace") if len(data) > 4 else ""


def loader(host: Host, grub_cfg: str | None) -> str:
    """The boot loader: what it says of itself first, then the files that it leaves."""
    info = _loader_info(host).lower()
    if "systemd-boot" in info:
        return "systemd-boot"
    if grub_cfg:
        return "grub"
    if any(host.exists(path) for path in LOADER_CONFIGS):
        return "systemd-boot"
    kernels = [name for name in host.names("/boot") if name.startswith("vmlinuz")]
    return "unknown" if kernels or info else "none"


def secure_boot(host: Host, firmware: str) -> bool | None:
    if firmware == "bios":
        return False
    data = host.read(SECURE_BOOT, 16)
    return bool(data[-1]) if data and len(data) == 5 else None


def boot(host: Host) -> dict[str, Any]:
    firmware = "uefi" if host.exists("/sys/firmware/efi") else "bios"
    grub_cfg = next((path for path in GRUB_CONFIGS if host.exists(path)), None)
    folder = "/etc/default/grub.d"
    return {
        "loader": loader(host, grub_cfg),
        "firmware": firmware,
        "secure_boot": secure_boot(host, firmware),
        "grub_cfg": grub_cfg,
        "default_grub": parse_grub_defaults(host.text("/etc/default/grub") or ""),
        "grub_dropins": [
            f"{folder}/{name}" for name in host.names(folder) if name.endswith(".cfg")
        ],
        "foreign_module_options": module_options(host),
    }
