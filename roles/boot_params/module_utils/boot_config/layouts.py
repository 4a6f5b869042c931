"""Where a host keeps its kernel arguments: boot entries now, and the source for future kernels."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import documents
from .documents import Document, Reader
from .errors import BootConfigError
from .files import Host
from .words import arguments

GRUB = "grub"
GRUB_BLS = "grub-bls"
SYSTEMD_BOOT = "systemd-boot"
LAYOUTS = (GRUB, GRUB_BLS, SYSTEMD_BOOT)

KERNEL_CMDLINE = "/etc/kernel/cmdline"
VENDOR_CMDLINE = "/usr/lib/kernel/cmdline"
GRUB_DEFAULTS = "/etc/default/grub"
GRUBENV = "/boot/grub2/grubenv"
ENTRY_FOLDERS = {
    GRUB_BLS: ("/boot/loader/entries",),
    SYSTEMD_BOOT: ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries"),
}
_GRUB_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
_LOADER_INFO = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# Added by kernel-install to each entry, or good for one kernel or one boot only.
_OF_ONE_ENTRY = {"systemd.machine_id", "initrd", "BOOT_IMAGE", "stroke.lkg", "stroke.trial"}


class Source(NamedTuple):
    """One file with arguments, and whether it gets new ones or only loses what stroke owns."""

    path: str
    reader: Reader
    adds: bool = True


class Sources(NamedTuple):
    """Everything that holds arguments of this system, future kernels' source first."""

    found: list[Source]
    # Entries of another system on the same partition, and those for rescue: left alone.
    others: list[str]
    # There is no source for future kernels: the text that makes one.
    missing: str | None = None


def refuse_ostree(host: Host) -> None:
    """A host whose tree is deployed as a whole keeps its arguments with the deployment."""
    if not host.exists("/run/ostree-booted") and not host.exists("/sysroot/ostree/repo"):
        return
    by_rpm = host.exists("/usr/bin/rpm-ostree")
    command = (
        "sudo rpm-ostree kargs --append-if-missing=<argument> --delete-if-present=<old argument>"
        if by_rpm
        else 'kargs = ["<argument>"] in /usr/lib/bootc/kargs.d/10-stroke.toml of the image, '
        "then sudo bootc upgrade"
    )
    raise BootConfigError("ostree manages the host, and with it the kernel arguments", command)


def detect(host: Host) -> str:
    """The layout of a host, from what the boot loader leaves behind."""
    # Four bytes of attributes, then UTF-16.
    info = (host.read(_LOADER_INFO) or "").replace("\0", "").lower()
    if "systemd-boot" in info:
        return SYSTEMD_BOOT
    config = next((path for path in _GRUB_CONFIGS if host.exists(path)), None)
    entries = any(name.endswith(".conf") for name in host.names(ENTRY_FOLDERS[GRUB_BLS][0]))
    if config and entries and _reads_entries(host, config):
        return GRUB_BLS
    if config == _GRUB_CONFIGS[1]:
        raise BootConfigError(
            "GRUB does not read boot entries here, and its configuration has no drop-ins",
            "sudo grub2-switch-to-blscfg, then run stroke again", "STK-410",
        )  # fmt: skip
    if config is None and any(
        host.exists(folder.replace("entries", "loader.conf"))
        for folder in ENTRY_FOLDERS[SYSTEMD_BOOT]
    ):
        return SYSTEMD_BOOT
    return GRUB


def _reads_entries(host: Host, config: str) -> bool:
    text = host.read(GRUB_DEFAULTS) or ""
    asked = re.findall(r"^\s*GRUB_ENABLE_BLSCFG=[\"']?(\w+)", text, re.MULTILINE)
    if asked:
        return bool(asked[-1] == "true")
    return re.search(r"^\s*blscfg\b", host.read(config) or "", re.MULTILINE) is not None


def sources(host: Host, layout: str) -> Sources:
    """The files of a layout with boot entries."""
    entries, others = _entries(host, layout)
    if not entries:
        raise _no_entry(host, layout)
    found = []
    if layout == GRUB_BLS and host.read(GRUB_DEFAULTS) is not None:
        # grub2-mkconfig writes the entries anew from here.
        found.append(Source(GRUB_DEFAULTS, documents.grub_defaults))
    if host.read(KERNEL_CMDLINE) is not None:
        # After it: a line that is older has the next kernel's installation run grub2-mkconfig
        # (20-grub.install), and what an admin has in an entry only would be lost.
        found.append(Source(KERNEL_CMDLINE, documents.cmdline))
    missing = None if found else _start(host, entries[-1])
    if any(not source.adds for source in entries):
        found.append(Source(GRUBENV, documents.grubenv))
    return Sources(found + entries, others, missing)


def _entries(host: Host, layout: str) -> tuple[list[Source], list[str]]:
    """Boot entries of this system in the order of their kernels, and the paths of all others."""
    tokens = [token for token in (
        (host.read("/etc/kernel/entry-token") or "").strip(),
        (host.read("/etc/machine-id") or "").strip(),
    ) if token]  # fmt: skip
    named, with_modules, others = [], [], []
    for folder in ENTRY_FOLDERS[layout]:
        for name in host.names(folder):
            path = f"{folder}/{name}"
            # Those of an open boot transaction (role boot_guard) keep what they were made with.
            if not name.endswith(".conf") or name.startswith("stroke-"):
                continue
            text = host.read(path) or ""
            if _is_rescue(name, text) or not _field(text, "linux"):
                others.append(path)
            elif name.startswith(tuple(f"{token}-" for token in tokens)) or (
                _field(text, "machine-id") in tokens
            ):
                named.append(path)
            elif _has_modules(host, text):
                with_modules.append(path)
            else:
                others.append(path)
    # Images are made with entries of a machine id that no host has: its kernels say whose they are.
    chosen = named or with_modules
    others += [path for path in with_modules if path not in chosen]
    chosen.sort(key=lambda path: _numbers(_field(host.read(path) or "", "version")))
    return [_entry_source(host, path) for path in chosen], sorted(others)


def _entry_source(host: Host, path: str) -> Source:
    words = _arguments(documents.entry(host.read(path) or ""))
    return Source(path, documents.entry, adds="$kernelopts" not in words)


def _arguments(document: Document) -> list[str]:
    return [word for value in document.values for word in arguments(document.codec(value))]


def _field(text: str, key: str) -> str:
    match = re.search(rf"^[ \t]*{key}[ \t]+([^\r\n]*?)[ \t]*\r?$", text, re.MULTILINE)
    return match.group(1) if match else ""


def _is_rescue(name: str, text: str) -> bool:
    return "-0-rescue" in name or _field(text, "version").startswith("0-rescue")


def _has_modules(host: Host, text: str) -> bool:
    version = _field(text, "version")
    return bool(version) and any(
        host.exists(f"{folder}/{version}") for folder in ("/usr/lib/modules", "/lib/modules")
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _start(host: Host, newest: Source) -> str:
    """What kernel-install is given from now on: the vendor's line, else the newest entry's."""
    vendor = host.read(VENDOR_CMDLINE)
    if vendor is not None:
        return " ".join(vendor.split()) + "\n"
    words = _arguments(documents.entry(host.read(newest.path) or ""))
    return " ".join(word for word in words if word.partition("=")[0] not in _OF_ONE_ENTRY) + "\n"


def _no_entry(host: Host, layout: str) -> BootConfigError:
    folders = ENTRY_FOLDERS[layout]
    images = [
        f"{folder.replace('loader/entries', 'EFI/Linux')}/{name}"
        for folder in folders
        for name in host.names(folder.replace("loader/entries", "EFI/Linux"))
        if name.lower().endswith(".efi")
    ]
    if images:
        return BootConfigError(
            f"the kernel arguments are inside of the unified kernel image {images[-1]}",
            "set layout=bls in /etc/kernel/install.conf, then sudo kernel-install add-all",
        )
    return BootConfigError(
        f"no boot entry of this system is in {' or '.join(folders)}", "see: sudo bootctl list",
        "STK-410",
    )  # fmt: skip
