"""Build the sandbox's base disk once, and lay cheap overlays on it."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stroke.accel import Trial
from stroke.errors import StrokeError
from stroke.guest_recipe import ADMIN, BOOT_LABEL, DPKG_OPTIONS, RELEASES, ROOT_LABEL, Recipe
from stroke.paths import built_whole, cache_home, locked
from stroke.process import require, run

_SECTOR = 512
_MIB = 1024 * 1024
_ROOT_MIB = 2560  # as built; the guest grows it to its overlay's size at the first boot
# GRUB reads the file system, so no feature newer than what every release's GRUB knows.
_EXT4 = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "search", "search_label", "normal", "configfile")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BaseDisk:
    """A finished base disk in the cache, with the kernel that it boots."""

    directory: Path

    @property
    def image(self) -> Path:
        """The raw disk; never written again once it is in the cache."""
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        """The kernel of the disk, for boots without its boot loader."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initramfs of that kernel."""
        return self.directory / "initrd.img"

    @property
    def trial(self) -> Trial:
        """The boot that shows whether an accelerator works with this disk."""
        return Trial.of_kernel(self.image, self.kernel, self.initrd)


class Seal(Protocol):
    """The first boot of a new disk; it raises when that does not work."""

    def __call__(self, recipe: Recipe, disk: BaseDisk, progress: Progress) -> None:
        """Boot it and let it configure its boot loader."""


def base_disk(recipe: Recipe, progress: Progress, seal: Seal) -> BaseDisk:
    """The base disk for a recipe: from the cache, else built and sealed by a first boot."""
    target = cache_home() / "disks" / recipe.name
    with locked(target.with_suffix(".lock")):
        if not (target / "disk.raw").is_file():
            with built_whole(target) as scratch:
                disk = BaseDisk(scratch)
                started = time.monotonic()
                _build(recipe, disk, progress)
                seal(recipe, disk, progress)
                progress(f"Base disk ready ({time.monotonic() - started:.0f} s)")
    return BaseDisk(target)


def overlay(base: Path, target: Path, gib: int, boot_mib: int | None, *, ours: bool) -> None:
    """A copy-on-write disk over a base image, as large as the guest was asked to be."""
    info = run(["qemu-img", "info", "--output=json", base]).stdout
    form = "qcow2" if '"format": "qcow2"' in info else "raw"
    # fmt: off
    run([
        "qemu-img", "create", "-q", "-f", "qcow2", "-b", base.resolve(), "-F", form,
        target, f"{gib}G",
    ])
    # fmt: on
    if not ours:
        return  # a cloud image grows itself
    table = partition_table(gib * 1024, boot_mib)
    with tempfile.NamedTemporaryFile() as handle:
        handle.write(boot_sector(_head(base), table))
        handle.flush()
        run(["qemu-io", "-f", "qcow2", "-c", f"write -s {handle.name} 0 512", target])


def _head(image: Path) -> bytes:
    with image.open("rb") as handle:
        return handle.read(440)


def partition_table(disk_mib: int, boot_mib: int | None) -> list[tuple[int, int]]:
    """Start and length in sectors of the partitions: [boot,] root up to the end of the disk."""
    per_mib = _MIB // _SECTOR
    table, start = [], per_mib
    if boot_mib:
        table.append((start, boot_mib * per_mib))
        start += boot_mib * per_mib
    return [*table, (start, disk_mib * per_mib - start)]


def boot_sector(code: bytes, table: list[tuple[int, int]]) -> bytes:
    """An MBR; writing it here spares loop devices, and with them root, for this step."""
    entries = b"".join(
        struct.pack("<B3sB3sII", 0x80 if index == 0 else 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
                    start, length)
        for index, (start, length) in enumerate(table)
    )  # fmt: skip
    return code[:440].ljust(440, b"\0") + b"STRK\0\0" + entries.ljust(64, b"\0") + b"\x55\xaa"


def _build(recipe: Recipe, disk: BaseDisk, progress: Progress) -> None:
    if os.geteuid() != 0:
        raise StrokeError(
            "building the sandbox's base disk needs root (it makes a Debian system with its owners"
            " and device nodes); only this step does",
            code="STK-701",
            hint="run `sudo stroke sandbox up` once, or use a cloud image: --image FILE",
        )
    require(["mmdebstrap", "mke2fs", "qemu-img"])
    version = RELEASES[recipe.release]
    progress(f"Building the base disk for Debian {version} (once, about 2 min)")
    root = disk.directory / "root"
    with tempfile.NamedTemporaryFile("w", suffix=".list") as sources:
        sources.write(recipe.archive.one_line_sources(recipe.release))
        sources.flush()
        # fmt: off
        run([
            "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--quiet",
            "--aptopt=APT::Install-Recommends \"false\"",
            *(f"--aptopt={setting.rstrip(';')}" for setting in recipe.archive.settings),
            *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
            f"--include={','.join(recipe.packages)}",
            recipe.release, root, sources.name,
        ])
        # fmt: on
    try:
        _configure(recipe, root)
        _assemble(recipe, root, disk)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _configure(recipe: Recipe, root: Path) -> None:
    for stale in (*(root / "etc/apt/sources.list.d").iterdir(),
                  root / "etc/apt/apt.conf.d/99mmdebstrap",
                  *(root / "etc/ssh").glob("ssh_host_*")):  # fmt: skip
        stale.unlink(missing_ok=True)
    for path, (content, mode) in recipe.files().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(content, encoding="utf-8")
        target.chmod(mode)
    for certificate in recipe.archive.certificates:
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")

    def inside(*command: str) -> None:
        run(["chroot", root, *command], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    if not recipe.cloud_init:
        inside("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", ADMIN)
        inside("usermod", "--password", "*", ADMIN)  # a key only; "!" would refuse that as well
    # They would take the package lock at a moment of their own choosing.
    inside("systemctl", "disable", "apt-daily.timer", "apt-daily-upgrade.timer")
    inside("systemctl", "enable", "systemd-networkd.service")
    if not recipe.cloud_init:
        inside("systemctl", "enable", "sandbox-seed.service")
    if recipe.archive.certificates:
        inside("update-ca-certificates")
    grub = root / "boot/grub/i386-pc"
    grub.mkdir(parents=True)
    for module in (root / "usr/lib/grub/i386-pc").iterdir():
        if module.suffix in (".mod", ".lst", ".img"):
            shutil.copy(module, grub)
    label, prefix = (BOOT_LABEL, "") if recipe.boot_mib else (ROOT_LABEL, "/boot")
    (grub / "load.cfg").write_text(
        f"search --label {label} --set root\nset prefix=($root){prefix}/grub\n"
    )
    inside("grub-mkimage", "--format=i386-pc", "--output=/boot/grub/i386-pc/core.img",
           "--config=/boot/grub/i386-pc/load.cfg", f"--prefix={prefix}/grub",
           *_GRUB_MODULES)  # fmt: skip


def _assemble(recipe: Recipe, root: Path, disk: BaseDisk) -> None:
    shutil.copy(_only(root, "boot/vmlinuz-*"), disk.kernel)
    shutil.copy(_only(root, "boot/initrd.img-*"), disk.initrd)
    code = (root / "boot/grub/i386-pc/boot.img").read_bytes()
    core = (root / "boot/grub/i386-pc/core.img").read_bytes()
    disk_mib = 1 + (recipe.boot_mib or 0) + _ROOT_MIB
    table = partition_table(disk_mib, recipe.boot_mib)
    with disk.image.open("wb") as handle:
        # boot.img looks for the core image in the very next sector: its default, nothing to patch.
        handle.write(boot_sector(code, table) + core)
        handle.truncate(disk_mib * _MIB)
    trees = [(ROOT_LABEL, root)]
    if recipe.boot_mib:
        boot = disk.directory / "boot"
        (root / "boot").rename(boot)
        (root / "boot").mkdir(mode=0o755)
        trees.insert(0, (BOOT_LABEL, boot))
    for (label, tree), (start, length) in zip(trees, table, strict=True):
        # fmt: off
        run([
            "mke2fs", "-q", "-F", "-t", "ext4", "-O", _EXT4, "-m", "1", "-L", label, "-d", tree,
            "-E", f"offset={start * _SECTOR}", disk.image, f"{length // 2}k",
        ])
        # fmt: on
    shutil.rmtree(disk.directory / "boot", ignore_errors=True)


def _only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise StrokeError(f"expected one {pattern} in the new system, found {len(found)}",
                          code="STK-704")  # fmt: skip
    return found[0]
