"""Run one virtual machine: start it, find out whether it lives, and end only what we started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stroke.firmware import Firmware, escaped
from stroke.process import missing_tools, which

QEMU = "qemu-system-x86_64"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that we started: its id alone may belong to another one after a reboot."""

    pid: int
    started: str  # boot id and start time in clock ticks since then

    @classmethod
    def of(cls, pid: int) -> Process:
        """Identify a child of ours, which may have ended already but is not collected yet."""
        return cls(pid, _state_and_start(pid)[1])

    @classmethod
    def load(cls, path: Path) -> Process | None:
        """Read back what `save` wrote; nothing usable there means no process."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(data["pid"]), str(data["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Remember the process across runs of stroke."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @property
    def alive(self) -> bool:
        """Whether it still runs, or a thread of it: until then its files are open."""
        state, started = _state_and_start(self.pid)
        ended = state in "ZX" and _threads(self.pid) < 2
        return bool(state) and not ended and started == self.started

    def stop(self, patience: float = 15.0) -> None:
        """End it politely, then by force; a process with another start time is not ours."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
                os.kill(self.pid, signal.SIGCONT)  # a suspended process hears nothing else
            deadline = time.monotonic() + patience
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.05)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


def _state_and_start(pid: int) -> tuple[str, str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return "", ""
    # The command name may hold spaces and parentheses: fields count from its closing one.
    fields = text.rpartition(")")[2].split()
    return fields[0], f"{boot}:{fields[19]}"


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def free_port() -> int:
    """A port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(command: Sequence[str], log: Path, *, cwd: Path | None = None) -> Process:
    """Start a process that outlives this one, deaf to the terminal's Ctrl-C."""
    program = which(command[0])
    if program is None:
        raise missing_tools([command[0]])
    with log.open("ab") as output:
        child = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            start_new_session=True,
        )
    process = Process.of(child.pid)
    child.returncode = 0  # it is meant to outlive this object; stop() collects it
    return process


def tail(path: Path, lines: int = 6) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = path.read_bytes()[-8192:].decode(errors="replace")
    except OSError:
        return "(no output)"
    kept = [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return "\n".join(kept[-lines:]) or "(no output)"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a guest is made of; `arguments` is its QEMU command line."""

    accel: str
    memory_mib: int
    cpus: int
    disk: Path
    seed: Path | None = None
    seed_serial: str = ""
    ssh_port: int | None = None
    console: Path | None = None
    firmware: Firmware | None = None  # none: the BIOS that comes with QEMU

    def arguments(self, *extra: str) -> list[str]:
        """QEMU's command line; the disk's cache may be lost with the host, as all of it may."""
        fast = self.accel == "kvm"
        # fmt: off
        command = [
            QEMU, "-machine", "q35", "-nodefaults", "-display", "none",
            "-accel", "kvm" if fast else "tcg,thread=multi",
            "-cpu", "host" if fast else "max",
            "-smp", str(self.cpus), "-m", f"{self.memory_mib}M",
            # Before QEMU 8.0 the chipset's watchdog is strapped not to reset anything.
            "-global", "ICH9-LPC.noreboot=false",
            "-device", "virtio-rng-pci",
            "-drive", f"file={escaped(self.disk)},if=none,id=disk,cache=unsafe,discard=unmap"
                      + (",format=raw" if self.disk.suffix == ".raw" else ",format=qcow2"),
            # Without an index the firmware may take the seed for the disk to boot from.
            "-device", "virtio-blk-pci,drive=disk,bootindex=1",
        ]
        if self.firmware:
            command += self.firmware.arguments()
        if self.seed:
            command += [
                "-drive", f"file={escaped(self.seed)},if=none,id=seed,format=raw,readonly=on",
                "-device", f"virtio-blk-pci,drive=seed,serial={self.seed_serial}",
            ]
        if self.ssh_port:
            command += [
                "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
            ]
        if self.console:
            command += [
                "-chardev", f"file,id=console,path={escaped(self.console)},append=on",
                "-serial", "chardev:console",
            ]
        # fmt: on
        return [*command, *extra]


def watch(
    process: Process,
    console: Path,
    wanted: str,
    seconds: float,
    *,
    fatal: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until the serial console has shown a pattern; False when it never did."""
    deadline = time.monotonic() + seconds
    while True:
        ended = not process.alive
        text = console.read_bytes().decode(errors="replace") if console.exists() else ""
        if re.search(wanted, text):
            return True
        if ended or fatal() or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
