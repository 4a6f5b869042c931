"""Build the sandbox's base disk once, and lay cheap overlays on it."""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from stroke import gpt
from stroke.accel import Trial
from stroke.errors import StrokeError
from stroke.guest_recipe import ESP_MIB, RELEASES, Recipe
from stroke.namespace import as_root
from stroke.paths import built_whole, cache_home, locked
from stroke.process import require, run

SECTOR = 512
MIB = 1024 * 1024
ESP_TOOLS = ("mkfs.vfat", "mcopy")

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
                _build(recipe, scratch, progress)
                seal(recipe, disk, progress)
                progress(f"Base disk ready ({time.monotonic() - started:.0f} s)")
    return BaseDisk(target)


def overlay(
    base: Path, target: Path, gib: int, boot_mib: int | None, *, ours: bool, esp: bool = False
) -> None:
    """A copy-on-write disk over a base image, as large as asked for, and never smaller than it."""
    info = json.loads(run(["qemu-img", "info", "--output=json", base]).stdout)
    size = max(gib * 1024 * MIB, info["virtual-size"])
    # fmt: off
    run([
        "qemu-img", "create", "-q", "-f", "qcow2", "-b", base.resolve(), "-F", info["format"],
        target, str(size),
    ])
    # fmt: on
    if not ours:
        return  # a cloud image grows itself
    if esp:
        disk_mib = size // MIB
        head, tail = gpt.tables(disk_mib, gpt.partitions(disk_mib, ESP_MIB))
        _put(target, head, 0)
        _put(target, tail, disk_mib * MIB - len(tail))
        return
    table = partition_table(size // MIB, boot_mib)
    _put(target, boot_sector(_head(base), table), 0)


def _put(target: Path, data: bytes, offset: int) -> None:
    with tempfile.NamedTemporaryFile() as handle:
        handle.write(data)
        handle.flush()
        command = f"write -s {handle.name} {offset} {len(data)}"
        run(["qemu-io", "-f", "qcow2", "-c", command, target])


def _head(image: Path) -> bytes:
    with image.open("rb") as handle:
        return handle.read(440)


def partition_table(disk_mib: int, boot_mib: int | None) -> list[tuple[int, int]]:
    """Start and length in sectors of the partitions: [boot,] root up to the end of the disk."""
    per_mib = MIB // SECTOR
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


def _build(recipe: Recipe, directory: Path, progress: Progress) -> None:
    require(["mmdebstrap", "mke2fs", "unshare", *(ESP_TOOLS if recipe.esp else ())])
    prefix = as_root()
    progress(f"Building the base disk for Debian {RELEASES[recipe.release]} (once, about 2 min)")
    order = {"recipe": asdict(recipe), "directory": os.fspath(directory)}
    package = os.pathsep.join(
        [os.fspath(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    try:
        done = run(
            [*prefix, sys.executable, "-m", "stroke.disk_build"],
            check=False,
            env={"PYTHONPATH": package.rstrip(os.pathsep)},
            stdin=json.dumps(order, default=os.fspath),
        )
    finally:
        run([*prefix, "rm", "-rf", directory / "root"], check=False)
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise StrokeError(f"the base disk could not be built: {said}", code="STK-704")
