"""Find out whether KVM really works here: /dev/kvm being there is no proof."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stroke.errors import StrokeError
from stroke.machine import QEMU, Hardware, spawn, tail, watch
from stroke.paths import cache_home
from stroke.process import missing_tools, which

_SECONDS = 30.0
_DEVICE = Path("/dev/kvm")
_TROUBLE = re.compile(r"kvm", re.IGNORECASE)
# Before this version an emulated guest with several processors dies once in a while by
# "Oops: int3": https://bugzilla.redhat.com/show_bug.cgi?id=2216496
_SOUND_EMULATION = (8, 1)


@dataclass(frozen=True, slots=True)
class Trial:
    """A short boot that proves the accelerator: what to boot, and what it must then say."""

    disk: Path
    proof: str
    arguments: tuple[str, ...] = ()

    @classmethod
    def of_kernel(cls, disk: Path, kernel: Path, initrd: Path) -> Trial:
        """A kernel with its initramfs: a program runs in it within two seconds under KVM."""
        # fmt: off
        return cls(disk, r"Run /init as init process", (
            "-kernel", os.fspath(kernel), "-initrd", os.fspath(initrd),
            "-append", "console=ttyS0 panic=-1 break=top",
        ))
        # fmt: on

    @classmethod
    def of_image(cls, disk: Path) -> Trial:
        """A cloud image by its own boot loader: whichever sign of life comes first."""
        return cls(disk, r"Linux version|systemd\[1\]|login: ")


def choose_accelerator(wanted: str, trial: Trial, progress: Callable[[str], None]) -> str:
    """`kvm` or `tcg`, said with the reason; the verdict of a probe is kept."""
    if wanted == "tcg":
        progress("Emulating the processor (TCG): asked for")
        return "tcg"
    verdict, reason = _verdict(trial, progress)
    if wanted == "kvm" and verdict != "kvm":
        raise StrokeError(f"KVM does not work here: {reason}", code="STK-702",
                          hint="use --accel tcg: ten times slower, works everywhere")  # fmt: skip
    name = "Using KVM" if verdict == "kvm" else "Emulating the processor (TCG), ten times slower"
    progress(f"{name}: {reason}")
    return verdict


def processors(accel: str) -> int:
    """How many processors a guest gets that nobody has chosen them for."""
    return 2 if accel == "kvm" or _qemu_version() >= _SOUND_EMULATION else 1


def _qemu_version() -> tuple[int, ...]:
    """Major and minor; an old one where QEMU does not say them."""
    program = which(QEMU)
    if program is None:
        raise missing_tools([QEMU])
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=_SECONDS)  # fmt: skip
    found = re.search(r"version (\d+)\.(\d+)", told.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _verdict(trial: Trial, progress: Callable[[str], None]) -> tuple[str, str]:
    if not _DEVICE.exists():
        return "tcg", f"there is no {_DEVICE}"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg", f"this user may not open {_DEVICE} (group kvm)"
    kind = "kernel" if trial.arguments else "image"
    key = f"{os.uname().release} {kind} {trial.disk.stat().st_size}"
    memory = cache_home() / "kvm.json"
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["verdict"]), str(known["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    progress(f"Trying KVM with the guest's own {kind}")
    verdict, reason = probe(trial)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps({"key": key, "verdict": verdict, "reason": reason}) + "\n")
    return verdict, reason


def probe(trial: Trial) -> tuple[str, str]:
    """Boot for some seconds under KVM, writing nothing to the disk."""
    with tempfile.TemporaryDirectory(prefix="stroke-kvm-") as name:
        console, log = Path(name, "console.log"), Path(name, "qemu.log")
        hardware = Hardware(accel="kvm", memory_mib=1024, cpus=2, disk=trial.disk, console=console)
        process = spawn(hardware.arguments("-snapshot", "-no-reboot", *trial.arguments), log)
        try:
            alive = watch(process, console, trial.proof, _SECONDS,
                          fatal=lambda: "KVM internal error" in tail(log, 200))  # fmt: skip
        finally:
            process.stop()
        if alive:
            return "kvm", "the guest boots in it"
        return "tcg", f"{_DEVICE} is there, but {_complaint(tail(log, 200))}"


def _complaint(log: str) -> str:
    for line in log.splitlines():
        if _TROUBLE.search(line):
            # QEMU's assertions begin with program, file and line.
            message = re.sub(r"^.*kvm\.c:\d+: ", "", line.strip())
            return f"a probe boot in it failed ({message[:70]})"
    return f"a probe boot in it did not finish within {_SECONDS:.0f} s"
