"""The power switch of a guest, and disks that it can start from: what a boot fault needs.

The guest's QEMU is ended as power ends: at once, with what was not written yet. Its disk is opened
so that what the guest has synchronised is on it, unlike in other tests, which may lose all of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from stroke.machine import Process, spawn

from tests.vm.guest import Guest

BOOT_SECONDS = 900.0


@dataclass
class Power:
    """One guest that may be cut off, and started from a kept disk."""

    guest: Guest
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Without arguments: those of the QEMU that runs."""
        if self.arguments:
            return
        words = Path(f"/proc/{self._process.pid}/cmdline").read_bytes().decode().split("\0")
        self.arguments = [word.replace("cache=unsafe", "cache=writeback") for word in words[:-1]]

    @property
    def directory(self) -> Path:
        """Where the sandbox keeps the guest."""
        return self.guest.sandbox.directory

    @property
    def _disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def _process(self) -> Process:
        process = Process.load(self.directory / "qemu.json")
        assert process is not None
        return process

    @property
    def console(self) -> str:
        """What came over the serial line since the console was last begun anew."""
        text = self.guest.sandbox.console.read_bytes().decode(errors="replace")
        return text.replace("\r", "")

    def cut(self) -> None:
        """The power goes."""
        process = self._process
        if process.alive:
            os.kill(process.pid, signal.SIGKILL)
        process.stop()

    def on(self, *more: str) -> None:
        """The power comes back; returns once the guest gives a login. `more`: words for QEMU."""
        log = self.directory / "qemu.log"
        process = spawn([*self.arguments, *more], log)
        process.save(self.directory / "qemu.json")
        self.guest.sandbox.login().wait(process, self.guest.sandbox.console, log, BOOT_SECONDS)

    def keep(self, name: str) -> Path:
        """Shut the guest down in order, and keep its disk to start from."""
        self.guest.run("sudo systemctl poweroff", check=False)
        deadline = time.monotonic() + 300
        while self._process.alive and time.monotonic() < deadline:
            time.sleep(1)
        self.cut()
        kept = self.directory / f"{name}.qcow2"
        self._disk.rename(kept)
        return kept

    def start_from(self, kept: Path, *more: str) -> None:
        """Start anew with what was on a kept disk, which stays as it is."""
        self.cut()
        self._disk.unlink(missing_ok=True)
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", kept, self._disk],
            check=True,
        )
        self.guest.sandbox.console.unlink(missing_ok=True)
        self.on(*more)

    def save_console(self, target: Path) -> None:
        """Keep the console as evidence."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.guest.sandbox.console, target)
