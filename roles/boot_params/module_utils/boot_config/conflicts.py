"""Other places that set what stroke owns, and that a boot loader or modprobe would still obey."""

from __future__ import annotations

import re

from .files import Host
from .layouts import GRUB, SYSTEMD_BOOT

OWN_OPTIONS = "/etc/modprobe.d/stroke.conf"
OWN_DROPIN = "90-stroke.cfg"
DROPINS = "/etc/default/grub.d"
MODPROBE = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d",
            "/usr/lib/modprobe.d", "/lib/modprobe.d")  # fmt: skip
# dracut and ukify put these into what they build; tuned into $tuned_params of each entry.
CMDLINE_FOLDERS = ("/etc/kernel/cmdline.d", "/etc/cmdline.d")
TUNED = "/etc/tuned/bootcmdline"

Setting = dict[str, str]


def _settings(text: str, keys: list[str], source: str) -> list[Setting]:
    """Owned keys as whole words of a text, whatever quoting is around them."""
    found = []
    for key in keys:
        name = "[-_]".join(re.escape(part) for part in re.split("[-_]", key))
        for match in re.finditer(rf"(?<![\w.\-]){name}(?:=([^\s\"'\\]*))?(?![\w.\-])", text):
            found.append({"source": source, "key": key, "value": match.group(1) or ""})
    return found


def _lines(host: Host, path: str, begin: str = "") -> str:
    """Lines of a file that are no comments, of those the ones with a variable's name in front."""
    text = (host.read(path) or "").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    wanted = re.compile(rf"(?:export\s+)?{begin}")
    return "\n".join(line for line in lines if line[:1] != "#" and wanted.match(line))


def _dropins(host: Host) -> list[str]:
    return [f"{DROPINS}/{name}" for name in host.names(DROPINS)
            if name.endswith(".cfg") and name != OWN_DROPIN]  # fmt: skip


def replaced_by_dropin(host: Host, keys: list[str]) -> list[Setting]:
    """What the GRUB drop-in takes out of the files that are read before it."""
    before = [path for path in _dropins(host) if path < f"{DROPINS}/{OWN_DROPIN}"]
    return [
        setting
        for path in ["/etc/default/grub", *before]
        for setting in _settings(_lines(host, path, "GRUB_CMDLINE_LINUX"), keys, path)
    ]


def duplicates(host: Host, layout: str, keys: list[str]) -> list[Setting]:
    """Owned keys in files that are not stroke's to change and that still have a say."""
    found: list[Setting] = []
    for path in _dropins(host):
        if layout != GRUB or path > f"{DROPINS}/{OWN_DROPIN}":
            found += _settings(_lines(host, path, "GRUB_CMDLINE_LINUX"), keys, path)
    if layout != GRUB:
        found += _settings(_lines(host, TUNED, "TUNED_BOOT_CMDLINE"), keys, TUNED)
    if layout == SYSTEMD_BOOT:
        for folder in CMDLINE_FOLDERS:
            for name in host.names(folder):
                if name.endswith(".conf"):
                    path = f"{folder}/{name}"
                    found += _settings(_lines(host, path), keys, path)
    return found + module_options(host, keys)


def module_options(host: Host, keys: list[str]) -> list[Setting]:
    """Options of modprobe.d for module.parameter keys; a file in /etc masks its name below."""
    found = []
    seen: set[str] = set()
    owned = {key.replace("-", "_"): key for key in keys}
    for folder in MODPROBE:
        for name in host.names(folder):
            path = f"{folder}/{name}"
            if not name.endswith(".conf") or name in seen:
                continue
            seen.add(name)
            if path == OWN_OPTIONS:
                continue
            for line in _lines(host, path, r"options\s").splitlines():
                module, *options = line.split()[1:] or [""]
                for option in options:
                    parameter, _, value = option.partition("=")
                    key = owned.get(f"{module}.{parameter}".replace("-", "_"))
                    if key:
                        found.append({"source": path, "key": key, "value": value.strip("\"'")})
    return found
