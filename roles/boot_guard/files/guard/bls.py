"""Boot entries as GRUB of Fedora and RHEL takes them: order, what it puts in, and which one starts.

After the command blscfg, which is Fedora's own (split_cmp, expand_val, create_entry, find_entry in
https://github.com/rhboot/grub2, grub-core/commands/blscfg.c). Read only.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import entries
import grubcfg
import menu
from entries import Entry
from family import FEDORA
from reading import mount_of, text

FOLDER = "/boot/loader/entries"
# blscfg reads entries beside GRUB on the EFI system partition, too, where there are any.
SYSTEM_PARTITION = "/boot/efi"
# The command that makes the menu of boot entries.
COMMAND = re.compile(r"^\s*blscfg\b", re.MULTILINE)
_SET = re.compile(r'\s*set (\w+)="([^"$]*)"\s*$')
_UNLESS = re.compile(r'\s*if \[ -z "\$\{?(\w+)\}?" \]; then\s*$')


def reads_entries(root: Path) -> bool:
    """Whether the menu is made of entries, now and when it is written anew."""
    asked = re.findall(
        r"^\s*GRUB_ENABLE_BLSCFG=[\"']?(\w+)", text(root, "/etc/default/grub"), re.MULTILINE
    )
    return bool(COMMAND.search(text(root, FEDORA.config))) and asked[-1:] in ([], ["true"])


def load(root: Path) -> list[Entry]:
    """The entries of the menu, newest first; GRUB shows those of missing kernels, too."""
    apart = mount_of(root, "/boot")["mount"] == "/boot"
    found = []
    for path in (root / FOLDER.lstrip("/")).glob("*.conf"):
        if not path.name.startswith(".") and path.is_file():
            fields = entries.fields_of(_until_it_ends(text(root, f"{FOLDER}/{path.name}")))
            entry = Entry(path, root / "boot" if apart else root, fields)
            found += [entry] if entry.one("linux") else []
    return sorted(found, key=functools.cmp_to_key(_compare), reverse=True)


def _until_it_ends(written: str) -> str:
    """For GRUB an entry ends where a line has no value: also at one that is empty."""
    lines = written.splitlines()
    ends = (number for number, line in enumerate(lines)
            if len(line.split(None, 1)) < 2 and not line.lstrip().startswith("#"))  # fmt: skip
    return "\n".join(lines[: next(ends, None)])


def name(entry: Entry) -> str:
    """What `saved_entry` calls it."""
    return entry.path.name[: -len(".conf")]


def _title(entry: Entry) -> str:
    return (entry.fields.get("title") or entry.fields["linux"])[0]


def _compare(a: Entry, b: Entry) -> int:
    """By file names, as if they were those of packages: name, version, release."""
    parts = [[*name(entry).rsplit("-", 2), "", ""][:3] for entry in (a, b)]
    orders = [entries.compare_versions(one, other) for one, other in zip(*parts)]
    return next((order for order in orders if order), 0)


def variables(config: str, environment: str) -> dict[str, str]:
    """GRUB's variables when it reads the entries: what grubenv has, then what grub.cfg sets."""
    found = dict(re.findall(r"^(\w+)=(.*)$", environment, re.MULTILINE))
    unless = ""
    for line in COMMAND.split(config)[0].splitlines():
        condition, setting = _UNLESS.match(line), _SET.match(line)
        if condition:
            unless = condition[1]
        elif line.strip() == "fi":
            unless = ""
        elif setting and not (unless == setting[1] and found.get(unless)):
            found[setting[1]] = setting[2]
    return found


def _expanded(line: str, values: dict[str, str]) -> str:
    """A variable that is not set is nothing."""
    return re.sub(r"\$(\w*)", lambda found: values.get(found[1], ""), line)


def _default(shown: list[Entry], config: str, environment: str) -> Entry | None:
    """The entry that starts; None where that is none of these."""
    value = grubcfg.chosen(config, environment)
    if "$" in value:
        return None
    found = next((one for one in shown if value in (name(one), _title(one))), None)
    others = grubcfg.nodes(config)
    if found or grubcfg.nodes(COMMAND.split(config)[0]):
        return found  # with entries of another kind above them nobody counts
    if value.isdecimal() and int(value) < len(shown) + len(others):
        return shown[int(value)] if int(value) < len(shown) else None
    if value.split(">")[0] in [said for one in others for said in (one.name, one.title)]:
        return None
    return next(iter(shown), None)  # as GRUB does with a name that is not there


def stock(root: Path, release: str = "") -> tuple[str, list[str]]:
    """Kernel and words of the entry that starts without us, or of a release's own entry.

    The kernel is empty where that is no entry of this kind, or only the running GRUB knows.
    """
    shown = load(root)
    config, environment = text(root, FEDORA.config), text(root, FEDORA.environment)
    entry = _default(shown, config, environment)
    if release and (entry is None or entry.release != release):
        entry = entries.of_release(root, shown, release)
    if entry is None:
        return "", []
    values = variables(config, environment)
    options = entry.fields.get("options", ["$default_kernelopts"])[0]
    return _kernel(root, entry, values), menu.own_words(_expanded(options, values))


def _kernel(root: Path, entry: Entry, values: dict[str, str]) -> str:
    """The name of a kernel in /boot that starts with its initramfs; else what is odd about it."""
    kernel = entry.files[0]
    initrds = " ".join([values.get("early_initrd", ""), *entry.fields.get("initrd", [])])
    loaded = [Path(path).name for path in _expanded(initrds, values).split()]
    if kernel.parent != root / "boot":
        return entry.one("linux")
    if loaded != [FEDORA.initrd.format(kernel.name.partition("vmlinuz-")[2])]:
        return f"{kernel.name} with {' and '.join(loaded) or 'no initramfs'}"
    if len(entry.fields.get("options", [])) > 1:
        return f"{kernel.name} with several lines of options"
    return kernel.name


def obstacles(root: Path, release: str) -> list[str]:
    """What of the entries keeps this host from coming back by itself, or from a commit."""
    if not reads_entries(root):
        return [f"GRUB in {FEDORA.folder} does not make its menu of boot entries "
                "(blscfg, GRUB_ENABLE_BLSCFG)"]  # fmt: skip
    values = variables(text(root, FEDORA.config), text(root, FEDORA.environment))
    found = []
    if values.get("blsdir"):
        found.append(f"its boot entries are in {values['blsdir']}")
    if list((root / SYSTEM_PARTITION.lstrip("/") / "loader/entries").glob("*.conf")):
        found.append(f"GRUB takes boot entries from {SYSTEM_PARTITION}, too")
    if values.get("boot_counter"):
        found.append("GRUB counts its starts (boot_counter) and may choose another entry by itself")
    if (root / FEDORA.environment.lstrip("/")).is_symlink():
        found.append(f"{FEDORA.environment} is a link, which GRUB follows on one file system only")
    entry = entries.of_release(root, load(root), release)
    kernel = _kernel(root, entry, values) if entry else ""
    if kernel not in ("", f"vmlinuz-{release}"):
        found.append(f"its boot entry of the running kernel starts {kernel}")
    return found


def led_elsewhere(root: Path, uuid: str) -> list[str]:
    """With UEFI, GRUB begins on the system partition: whether it goes on to the menu in /boot.

    What installers write there searches the file system of /boot by its UUID, and takes
    grub2/grub.cfg on it for its menu (configfile), so that custom.cfg is looked for beside that.
    On hosts with RHEL 8 the whole menu is on the system partition, with a custom.cfg of its own.
    """
    if not (root / "sys/firmware/efi").is_dir():
        return []
    places = sorted((root / SYSTEM_PARTITION.lstrip("/") / "EFI").glob("*/grub.cfg"))
    paths = [f"/{place.relative_to(root)}" for place in places]
    beginnings = {path: text(root, path) for path in paths}
    whole = [path for path, script in beginnings.items() if COMMAND.search(script)]
    if whole:
        return [f"GRUB has its boot menu in {whole[0]}"]
    leading = [script for script in beginnings.values()
               if uuid in script and re.search(r"^configfile .*/grub\.cfg$", script, re.MULTILINE)
               and "/grub2" in script]  # fmt: skip
    if leading:
        return []
    return [f"no grub.cfg in {SYSTEM_PARTITION}/EFI leads GRUB to {FEDORA.config}"]
