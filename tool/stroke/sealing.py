"""The first boot of a new base disk: it writes the boot loader's menu, and proves that it boots."""

from __future__ import annotations

import os
import time

from stroke.accel import choose_accelerator, processors
from stroke.disk import BaseDisk, Progress
from stroke.errors import StrokeError
from stroke.guest_recipe import Recipe
from stroke.machine import Hardware, spawn, tail, watch

_SECONDS = 600.0
_WRITE_OUT_SECONDS = 120.0


def seal(recipe: Recipe, disk: BaseDisk, progress: Progress, *, accel: str) -> None:
    """Boot the disk once with the recipe's one-time init in place of the system's."""
    chosen = choose_accelerator(accel, disk.trial, lambda sentence: None)
    console, log = disk.directory / "console.log", disk.directory / "qemu.log"
    hardware = Hardware(chosen, memory_mib=1024, cpus=processors(chosen), disk=disk.image,
                        console=console)  # fmt: skip
    root = recipe.root_device
    progress("Booting the base disk once, to configure its boot loader")
    # fmt: off
    process = spawn(hardware.arguments(
        "-no-reboot", "-kernel", os.fspath(disk.kernel), "-initrd", os.fspath(disk.initrd),
        "-append", f"root={root} rw console=ttyS0 panic=-1 net.ifnames=0 init=/sbin/stroke-seal",
    ), log)
    # fmt: on
    try:
        sealed = watch(process, console, "stroke-sealed", _SECONDS)
        deadline = time.monotonic() + _WRITE_OUT_SECONDS
        while sealed and process.alive:
            sealed = time.monotonic() < deadline  # its file system is being written out
            time.sleep(0.1)
    finally:
        process.stop()
    if not sealed:
        raise StrokeError(f"the new base disk does not boot: {tail(console)}\n{tail(log)}",
                          code="STK-704")  # fmt: skip
