"""Kernel arguments and module options: those that run and those that wait for the next boot."""

from __future__ import annotations

import re
import shlex
from typing import Any

from .files import Host, kernel_arguments

MODPROBE = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
MODULES = ("amdgpu", "ttm", "amdttm")
DEFAULT_GRUB = "/etc/default/grub"
GRUB_DROPINS = "/etc/default/grub.d"
GRUB_KEYS = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
GRUBENV = ("/boot/grub2/grubenv", "/boot/grub/grubenv")
CMDLINE = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")
CMDLINE_DROPINS = "/etc/kernel/cmdline.d"
# A machine with more entries than this has a boot partition full of something else.
ENTRIES = 64


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


def pairs(source: str, text: str) -> list[dict[str, Any]]:
    """Tokens as key and value (null without =); what is a variable of the loader is left out."""
    found = []
    for token in kernel_arguments(text):
        key, separator, value = token.partition("=")
        if not key.startswith("$"):
            found.append({"source": source, "key": key, "value": value if separator else None})
    return found


def _grub(host: Host) -> list[dict[str, Any]]:
    dropins = (f"{GRUB_DROPINS}/{name}" for name in host.names(GRUB_DROPINS))
    found = []
    for path in (DEFAULT_GRUB, *(path for path in dropins if path.endswith(".cfg"))):
        values = parse_grub_defaults(host.text(path) or "")
        for key in GRUB_KEYS:
            found += pairs(path, values.get(key, ""))
    return found


def options(text: str) -> str:
    """The lines `options` of a boot entry; several of them are joined by the loader."""
    return " ".join(re.findall(r"^options[ \t]+(.*)$", text, re.MULTILINE))


def configured(host: Host, entries_dir: str | None) -> list[dict[str, Any]]:
    """Arguments of every place that a boot loader or a kernel package reads, in that order."""
    found = _grub(host)
    for path in CMDLINE:
        text = host.text(path)
        if text is not None:
            found += pairs(path, " ".join(text.split()))
            break  # /etc replaces /usr/lib
    for name in host.names(CMDLINE_DROPINS):
        if name.endswith(".conf"):
            found += pairs(
                f"{CMDLINE_DROPINS}/{name}", host.text(f"{CMDLINE_DROPINS}/{name}") or ""
            )
    for path in GRUBENV:
        match = re.search(r"^kernelopts=(.*)$", host.text(path, 4096) or "", re.MULTILINE)
        found += pairs(path, match.group(1)) if match else []
    # Those of an open boot transaction (role boot_guard) are nobody's configuration.
    names = [name for name in (host.names(entries_dir) if entries_dir else [])
             if name.endswith(".conf") and not name.startswith("stroke-")]  # fmt: skip
    if len(names) > ENTRIES:
        host.cannot(str(entries_dir), f"{len(names)} entries, the first {ENTRIES} are read")
    for name in names[:ENTRIES]:
        path = f"{entries_dir}/{name}"
        found += pairs(path, options(host.text(path, 64 * 1024) or ""))
    return found


def _files(host: Host) -> list[str]:
    """Files of modprobe; one in /etc masks its namesake below /run and /usr/lib."""
    chosen: dict[str, str] = {}
    for folder in MODPROBE:
        for name in host.names(folder):
            if name.endswith(".conf"):
                chosen.setdefault(name, f"{folder}/{name}")
    return list(chosen.values())


def modprobe(host: Host) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, str]]]:
    """Options of the GPU modules, the same as whole lines, and what keeps one from loading."""
    settings, lines, barred = [], [], []
    for path in _files(host):
        for raw in (host.text(path) or "").replace("\\\n", " ").splitlines():
            words = raw.split()
            if len(words) < 2 or words[1] not in MODULES:
                continue
            if words[0] == "options":
                lines.append({"file": path, "line": " ".join(words)})
                for word in words[2:]:
                    key, separator, value = word.partition("=")
                    settings.append(
                        {
                            "file": path,
                            "module": words[1],
                            "key": key,
                            "value": value if separator else None,
                        }
                    )
            elif words[0] == "blacklist" or (words[0] == "install" and "modprobe" not in raw):
                barred.append({"file": path, "module": words[1]})
    return settings, lines, barred


def arguments(
    host: Host,
    running: list[str],
    entries_dir: str | None,
    options_found: tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, str]]],
) -> dict[str, Any]:
    return {
        "running": running,
        "configured": host.guarded("configured arguments", [], configured, host, entries_dir),
        "modprobe": options_found[0],
        "blacklisted": options_found[2],
    }
