"""A host that systemd-boot starts: its partitions, entries and variables. Read only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import efivars
import entries
import menu
from entries import Entry
from reading import mount_of

# Where the EFI system partition and the extended boot partition are mounted.
FOLDERS = ("/efi", "/boot/efi", "/boot")
LKG, TRIAL, PATTERN = "stroke-lkg.conf", "stroke-trial", "stroke-*"
COPIES = "stroke"
# LoaderFeatures: https://systemd.io/BOOT_LOADER_INTERFACE/
NEEDED = {2: "takes its default from the system", 3: "starts an entry once",
          4: "counts how often it tried an entry", 8: "sorts its entries by a key"}  # fmt: skip
# Variables that a transaction changes, or lets the loader change.
VARIABLES = (efivars.DEFAULT, efivars.LAST)


def partitions(root: Path) -> list[Path]:
    """Partitions that the loader reads, as far as they are mounted where everybody mounts them."""
    return [
        root / path.lstrip("/")
        for path in FOLDERS
        if (root / path.lstrip("/") / "loader").is_dir()
        and mount_of(root, path)["mount"] in ("", path)
    ]


def configuration(root: Path) -> dict[str, list[str]]:
    """loader.conf, which is on the EFI system partition only."""
    for top in partitions(root):
        path = top / "loader/loader.conf"
        if path.is_file():
            return entries.fields_of(path.read_text(encoding="utf-8", errors="replace"))
    return {}


def own(path: Path) -> bool:
    """Whether an entry is of a boot transaction, or half of one that a cut has left."""
    if path.name.startswith("stroke-") and path.name.endswith(".conf.new"):
        return True
    return path.is_file() and menu.OWN in path.read_text(encoding="utf-8", errors="replace")


def own_entries(root: Path, pattern: str = PATTERN) -> list[Path]:
    """The entries of a transaction, whatever the loader has made of their names."""
    found = [path for top in partitions(root) for path in (top / "loader/entries").glob(pattern)]
    return [path for path in sorted(found) if own(path)]


def stock(root: Path) -> list[Entry]:
    """The entries that are not of a transaction, in the loader's order."""
    found = [entry for top in partitions(root) for entry in entries.load(top)]
    return entries.ordered(entry for entry in found if not own(entry.path))


def default(root: Path, before: dict[str, str | None]) -> Entry | None:
    """What the loader would start if there were no transaction."""
    return entries.default(
        stock(root), variable=before.get(efivars.DEFAULT), last=before.get(efivars.LAST),
        configured=configuration(root).get("default", [""])[-1],
    )  # fmt: skip


def of_release(root: Path, release: str) -> Entry | None:
    """The entry of a kernel."""
    return entries.of_release(root, stock(root), release)


def running(root: Path, release: str) -> Entry | None:
    """The entry that the running kernel was started by, or one of the same kernel."""
    # The loader tells the name from before it counted.
    selected = entries.without_counter((efivars.read(root, "LoaderEntrySelected") or "").lower())
    for entry in stock(root):
        if entry.one("linux") and entries.without_counter(entry.id) == selected and (
            entry.release in ("", release)
        ):  # fmt: skip
            return entry
    return of_release(root, release)


def opened(root: Path) -> bool:
    """Whether the loader starts the last known good system by default."""
    return efivars.read(root, efivars.DEFAULT) == LKG and bool(own_entries(root, LKG))


def _waits(root: Path) -> bool:
    told = (efivars.read(root, "LoaderConfigTimeout") or
            configuration(root).get("timeout", [""])[-1])  # fmt: skip
    return told == "menu-force"


def obstacles(root: Path, release: str) -> list[str]:
    """Why this host cannot come back by itself."""
    mount = mount_of(root, efivars.FOLDER)
    if mount["mount"] != efivars.FOLDER:
        return [f"systemd-boot cannot be told what to start: no {efivars.FOLDER} is mounted"]
    if "ro" in mount["options"].split(","):
        return ["systemd-boot cannot be told what to start: EFI variables are mounted read-only"]
    can = efivars.features(root)
    missing = [what for bit, what in NEEDED.items() if not can >> bit & 1]
    if missing:
        return [f"its systemd-boot is too old: not one that {', '.join(missing)}"]
    found = []
    images = [
        path for top in partitions(root) for path in (top / "EFI/Linux").glob("*.[eE][fF][iI]")
    ]
    if images:
        found.append(f"a unified kernel image is in its boot menu ({images[0].name}): kernel and "
                     "arguments in one file, which stroke does not make")  # fmt: skip
    first = efivars.read(root, "LoaderEntryPreferred") or configuration(root).get("preferred")
    if first:
        found.append(
            "systemd-boot is told to prefer an entry to its default (bootctl set-preferred)"
        )
    if _waits(root):
        found.append("the menu of systemd-boot waits for a key (timeout menu-force)")
    entry = running(root, release)
    if entry is None:
        found.append(f"systemd-boot has no entry of the running kernel {release}")
    else:
        found += _place(root, entry)
    if not (root / "run/systemd/system").is_dir():
        found.append("it is not run by systemd")
    return found


def _place(root: Path, entry: Entry) -> list[str]:
    """What keeps copies and entries from being put where the running kernel's are."""
    path = folder(root, entry)
    mount = mount_of(root, path)
    found = []
    if mount["type"] not in ("", "vfat", "msdos"):
        found.append(f"systemd-boot may be unable to write to {path}, which is {mount['type']}")
    if "ro" in mount["options"].split(","):
        found.append(f"{path} is mounted read-only")
    for name in entry.files:
        if not name.is_file():
            found.append(f"{name.name} of the running kernel is missing on {path}")
    foreign = [path for path in (entry.top / "loader/entries").glob(PATTERN) if not own(path)]
    if foreign or ((entry.top / COPIES).exists() and not (entry.top / COPIES).is_dir()):
        found.append(f"{(foreign or [entry.top / COPIES])[0].name} on {path} is somebody else's")
    return found


def folder(root: Path, entry: Entry) -> str:
    """Where the partition of an entry is mounted on the host."""
    return f"/{entry.top.relative_to(root)}"


def summary(root: Path, release: str) -> dict[str, Any]:
    """What a plan has to know: whether a transaction is open, and the room for copies."""
    entry = running(root, release)
    place = os.statvfs(entry.top) if entry else None
    return {
        "open": opened(root),
        "copies": any((top / COPIES).is_dir() for top in partitions(root)),
        "boot": folder(root, entry) if entry else "",
        "bytes": sum(path.stat().st_size for path in entry.files if path.is_file()) if entry else 0,
        "free": place.f_bavail * place.f_frsize if place else 0,
    }
