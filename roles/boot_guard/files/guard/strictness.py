"""What the trial's arguments switch on in a running kernel, and how it was before.

A system that was kept runs on, maybe for months: it is then to be as its next boot will be.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import reading

SYSCTLS = ("panic", "panic_on_oops", "softlockup_panic", "watchdog_thresh")
WATCHDOG = "RuntimeWatchdogUSec"
_MANAGER = (
    "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
)  # fmt: skip


def _systemd(*words: str) -> str:
    """A property of systemd as busctl writes it: `t 0`; empty where nobody answers."""
    verb, *values = words
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(["busctl", verb, *_MANAGER, *values], capture_output=True, text=True,
                              timeout=30, check=False).stdout.strip()  # fmt: skip
    return ""


def read(root: Path) -> dict[str, str]:
    """How the kernel and systemd are now."""
    found = {name: reading.text(root, f"/proc/sys/kernel/{name}").strip() for name in SYSCTLS}
    found[WATCHDOG] = _systemd("get-property", WATCHDOG)
    return {name: value for name, value in found.items() if value}


def restore(root: Path, before: dict[str, str]) -> None:
    """Take back what differs; what cannot be written stays until the next boot."""
    now = read(root)
    for name, value in before.items():
        if now.get(name) == value:
            continue
        if name == WATCHDOG:
            _systemd("set-property", WATCHDOG, *value.split())
            continue
        with contextlib.suppress(OSError):
            (root / "proc/sys/kernel" / name).write_text(f"{value}\n", encoding="ascii")
