"""GRUB itself, from Debian's packages, in a machine without an operating system.

`linux` and `initrd` are functions of GRUB's own script language here: they say what they were
given, and start over. What reads entries, chooses and writes is GRUB, and a start takes seconds.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stroke import firmware, gpt
from stroke.host_apt import read_archive
from stroke.paths import built_whole, cache_home, locked
from stroke.process import require, run

from tests.boot.grub import Entry, top
from tests.unit.bls_host import UUID as PLAYED_UUID

# Its GRUB is the first of Debian's that has the command blscfg (2.14, module blsuki).
RELEASE = "forky"
PACKAGES = ("grub-common", "grub-efi-amd64-bin")
MODULES = (
    *("normal", "configfile", "part_gpt", "fat", "ext2", "search", "search_fs_uuid", "loadenv"),
    *("test", "true", "echo", "sleep", "reboot", "blsuki", "serial", "terminal", "minicmd"),
)
ESP_MIB, SYSTEM_MIB = 34, 40
# Longer than any menu's timeout, on an emulated processor beside others.
SECONDS = 90
# What the played hosts call their file system is too short for mke2fs.
UUID = str(uuid.uuid5(uuid.NAMESPACE_DNS, PLAYED_UUID))
BEGINNING = """\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
function linux {{
  if [ -s "$1" ]; then
    echo "<kernel>$1</kernel>"
    shift
    for word in "$@"; do echo "<word>$word</word>"; done
  else
    false
  fi
}}
function initrd {{
  if [ -s "$1" ]; then
    for path in "$@"; do echo "<initrd>$path</initrd>"; done
    echo "<started>"
    reboot
  else
    false
  fi
}}
search --no-floppy --fs-uuid --set=root {uuid}
set prefix=($root){folder}
export prefix
configfile $prefix/grub.cfg
"""


@dataclass(frozen=True)
class Started:
    """What GRUB would have given to the machine, and how often it began anew before that."""

    kernel: str
    initrds: list[str]
    words: list[str]
    passes: int


def start(root: Path, place: Path, passes: int = 3) -> Started:
    """Switch the machine of a played host on, until GRUB has something to start.

    What GRUB saved is in the host's directory then. `place` is for the machine's own files.
    """
    place.mkdir(parents=True, exist_ok=True)
    disk, system = _disk(root, place)
    consoles = []
    for number in range(1, passes + 1):
        consoles.append(_switched_on(disk, place))
        found = _started(consoles[-1], number)
        if found:
            _take_back(root, place, disk, system)
            return found
    raise AssertionError("GRUB started nothing:\n" + "\n".join(consoles))


def named(root: Path, place: Path) -> tuple[str, Entry]:
    """The same as `tests.boot.grub.start` says it: the name, kernel, initramfs, command line."""
    found = start(root, place)
    ours = [word.split("=")[0] for word in found.words if word.startswith("stroke.")]
    name = {"stroke.lkg": "stroke-lkg", "stroke.trial": "stroke-trial"}.get("".join(ours), "stock")
    return name, (found.kernel, " ".join(found.initrds), " ".join(found.words))


def core_image() -> Path:
    """GRUB with all of its modules, as signed images have them; made once."""
    require(["mmdebstrap", "mke2fs", "mkfs.vfat", "mcopy", "debugfs", "qemu-system-x86_64"])
    archive = read_archive()
    tag = hashlib.sha256(repr((RELEASE, PACKAGES, MODULES)).encode()).hexdigest()[:12]
    target = cache_home() / "grub" / f"{RELEASE}-{tag}"
    with locked(target.with_suffix(".lock")):
        if not target.is_dir():
            with built_whole(target) as scratch, tempfile.NamedTemporaryFile("w") as sources:
                sources.write(archive.one_line_sources(RELEASE))
                sources.flush()
                system = scratch / "system"
                run([
                    "mmdebstrap", "--mode=root", "--variant=extract", "--quiet",
                    '--aptopt=APT::Install-Recommends "false"',
                    *(f"--aptopt={setting.rstrip(';')}" for setting in archive.settings),
                    f"--include={','.join(PACKAGES)}", RELEASE, system, sources.name,
                ])  # fmt: skip
                for name in ("lib", "lib64"):
                    (system / name).symlink_to(f"usr/{name}")
                run(["chroot", system, "grub-mkimage", "--format=x86_64-efi", "--output=/core.efi",
                     "--prefix=(hd0,gpt1)/EFI/BOOT", *MODULES])  # fmt: skip
                (system / "core.efi").rename(scratch / "core.efi")
                shutil.rmtree(system)
    return target / "core.efi"


def _disk(root: Path, place: Path) -> tuple[Path, gpt.Partition]:
    """A system partition with GRUB, and the file system that has the host's /boot."""
    disk, mib = place / "disk.raw", 2 + ESP_MIB + SYSTEM_MIB
    esp, system = gpt.partitions(mib, ESP_MIB)
    head, tail = gpt.tables(mib, [esp, system])
    with disk.open("wb") as handle:
        handle.write(head)
        handle.truncate(mib * gpt.MIB)
        handle.seek(-len(tail), 2)
        handle.write(tail)
    tree = place / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(root / "boot", _boot(root, tree), symlinks=True)
    for script in tree.rglob("*.cfg"):
        text = script.read_text().replace(PLAYED_UUID, UUID)
        if tree != _boot(root, tree):  # where Fedora's looks by itself
            text = text.replace("\nblscfg\n", "\nblscfg --path /boot/loader/entries\n")
        script.write_text(text)
    folder = f"/{_folder(root).relative_to(top(root))}"
    beginning = place / "grub.cfg"
    beginning.write_text(BEGINNING.format(uuid=UUID, folder=folder), encoding="utf-8")
    at = f"{disk}@@{esp.start * gpt.SECTOR}"
    run(["mkfs.vfat", "-F", "32", f"--offset={esp.start}", disk, str(esp.length // 2)])
    run(["mmd", "-i", at, "::/EFI", "::/EFI/BOOT"])
    run(["mcopy", "-i", at, core_image(), "::/EFI/BOOT/BOOTX64.EFI"])
    run(["mcopy", "-i", at, beginning, "::/EFI/BOOT/grub.cfg"])
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-d", tree,
         "-E", f"offset={system.start * gpt.SECTOR}", disk, f"{system.length // 2}k"])  # fmt: skip
    return disk, system


def _folder(root: Path) -> Path:
    fedora = root / "boot/grub2"
    return fedora if fedora.is_dir() else root / "boot/grub"


def _boot(root: Path, tree: Path) -> Path:
    return tree / (root / "boot").relative_to(top(root))


def _switched_on(disk: Path, place: Path) -> str:
    variables = firmware.for_guest(place)
    command = [
        "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "256", "-nodefaults",
        "-display", "none", "-no-reboot", "-serial", "stdio", *variables.arguments(),
        "-drive", f"file={firmware.escaped(disk)},format=raw,if=virtio",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True
        )
    except subprocess.TimeoutExpired as still:
        shown = (still.stdout or b"").decode(errors="replace")
        raise AssertionError(f"GRUB waits after {SECONDS} s:\n{shown}") from still
    return done.stdout.decode(errors="replace")


def _started(console: str, passes: int) -> Started | None:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console).replace("\r", "").replace("\n", "")

    def said(name: str) -> list[str]:
        return re.findall(f"<{name}>(.*?)</{name}>", plain)

    if "<started>" not in plain:
        return None
    return Started(said("kernel")[-1], said("initrd"), said("word"), passes)


def _written(root: Path) -> Iterator[Path]:
    """GRUB writes into the blocks of files that are there, and of these only."""
    for path in (_folder(root) / "grubenv", root / "boot/stroke/env"):
        if path.is_file() and path.stat().st_size:
            yield path


def _take_back(root: Path, place: Path, disk: Path, system: gpt.Partition) -> None:
    for path in _written(root):
        copy = place / "taken"
        run(["debugfs", "-R", f"dump /{path.relative_to(top(root))} {copy}",
             f"{disk}?offset={system.start * gpt.SECTOR}"])  # fmt: skip
        path.write_bytes(copy.read_bytes())
