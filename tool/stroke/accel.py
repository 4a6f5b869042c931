"""Find out whether KVM really works here: /dev/kvm being there is no proof."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from stroke.disk import BaseDisk, Progress
from stroke.errors import StrokeError
from stroke.machine import Hardware, spawn, tail, watch
from stroke.paths import cache_home

# The kernel has decompressed itself, set up memory and processors, and runs a program.
_PROOF = "Run /init as init process"
_SECONDS = 30.0


def choose_accelerator(wanted: str, disk: BaseDisk, progress: Progress) -> str:
    """`kvm` or `tcg`, said with the reason; the verdict of a probe is kept for this kernel."""
    if wanted == "tcg":
        progress("Emulating the processor (TCG): asked for")
        return "tcg"
    verdict, reason = _verdict(disk, progress)
    if wanted == "kvm" and verdict != "kvm":
        raise StrokeError(f"KVM does not work here: {reason}", code="STK-702",
                          hint="use --accel tcg: ten times slower, works everywhere")  # fmt: skip
    name = "Using KVM" if verdict == "kvm" else "Emulating the processor (TCG)"
    progress(f"{name}: {reason}")
    return verdict


def _verdict(disk: BaseDisk, progress: Progress) -> tuple[str, str]:
    device = Path("/dev/kvm")
    if not device.exists():
        return "tcg", "there is no /dev/kvm"
    if not os.access(device, os.R_OK | os.W_OK):
        return "tcg", "/dev/kvm may not be opened by this user (group kvm)"
    key = f"{os.uname().release} {disk.kernel.stat().st_size}"
    memory = cache_home() / "kvm.json"
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["verdict"]), str(known["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    progress("Trying KVM with the guest's own kernel")
    verdict, reason = probe(disk)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps({"key": key, "verdict": verdict, "reason": reason}) + "\n")
    return verdict, reason


def probe(disk: BaseDisk) -> tuple[str, str]:
    """Boot the kernel for some seconds under KVM, without touching the disk."""
    with tempfile.TemporaryDirectory(prefix="stroke-kvm-") as name:
        console, log = Path(name, "console.log"), Path(name, "qemu.log")
        hardware = Hardware(accel="kvm", memory_mib=1024, cpus=2, disk=disk.image, console=console)
        # fmt: off
        process = spawn(hardware.arguments(
            "-snapshot", "-no-reboot", "-kernel", os.fspath(disk.kernel),
            "-initrd", os.fspath(disk.initrd),
            "-append", "console=ttyS0 panic=-1 rdinit=/init break=top",
        ), log)
        # fmt: on
        try:
            if watch(process, console, _PROOF, _SECONDS,
                     fatal=lambda: "KVM internal error" in tail(log, 200)):  # fmt: skip
                return "kvm", "the guest's kernel boots in it"
        finally:
            process.stop()
        for line in tail(log, 200).splitlines():
            if "kvm" in line.lower():
                last = line.strip().rpartition("kvm.c:")[2][:60]
                return "tcg", f"/dev/kvm is there, but a probe boot in it failed ({last})"
        return "tcg", f"/dev/kvm is there, but a probe boot did not finish in {_SECONDS:.0f} s"
