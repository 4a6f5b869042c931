"""What boots the host and with which settings, read without executing anything."""

from __future__ import annotations

from typing import Any

from .arguments import DEFAULT_GRUB, GRUB_DROPINS, parse_grub_defaults
from .files import Host

OWN_OPTIONS = "/etc/modprobe.d/stroke.conf"
GRUB_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
LOADER_CONFIGS = ("/boot/loader/loader.conf", "/efi/loader/loader.conf",
                  "/boot/efi/loader/loader.conf")  # fmt: skip
# Where Type #1 entries of the Boot Loader Specification live.
ENTRIES = ("/boot/loader/entries", "/efi/loader/entries", "/boot/efi/loader/entries")
EFIVARS = "/sys/firmware/efi/efivars"
SECURE_BOOT = f"{EFIVARS}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
LOADER_INFO = f"{EFIVARS}/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
OSTREE = "/run/ostree-booted"


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


def layout(name: str, defaults: dict[str, str], entries_dir: str | None) -> str | None:
    """How this loader is told of arguments: GRUB of Fedora and RHEL reads entries of the BLS."""
    if name == "systemd-boot":
        return name
    if name != "grub":
        return None
    told = defaults.get("GRUB_ENABLE_BLSCFG", "").lower()
    if told:
        return "grub-bls" if told in ("true", "yes", "1") else "grub"
    return "grub-bls" if entries_dir == ENTRIES[0] else "grub"


def secure_boot(host: Host, firmware: str) -> bool | None:
    if firmware == "bios":
        return False
    data = host.read(SECURE_BOOT, 16)
    return bool(data[-1]) if data and len(data) == 5 else None


def boot(host: Host, option_lines: list[dict[str, str]]) -> dict[str, Any]:
    firmware = "uefi" if host.exists("/sys/firmware/efi") else "bios"
    grub_cfg = next((path for path in GRUB_CONFIGS if host.exists(path)), None)
    entries_dir = next((path for path in ENTRIES if host.exists(path)), None)
    defaults = parse_grub_defaults(host.text(DEFAULT_GRUB) or "")
    name = loader(host, grub_cfg)
    return {
        "loader": name,
        "layout": layout(name, defaults, entries_dir),
        "entries_dir": entries_dir,
        "ostree": host.exists(OSTREE),
        "firmware": firmware,
        "secure_boot": secure_boot(host, firmware),
        "grub_cfg": grub_cfg,
        "default_grub": defaults,
        "grub_dropins": [
            f"{GRUB_DROPINS}/{name}" for name in host.names(GRUB_DROPINS) if name.endswith(".cfg")
        ],
        "foreign_module_options": [line for line in option_lines if line["file"] != OWN_OPTIONS],
    }
