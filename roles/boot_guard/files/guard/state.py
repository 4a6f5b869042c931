"""The state of the boot transaction: one JSON file, and where everything of the guard is."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import disk
import family

Json = dict[str, Any]
SCHEMA = "stroke-boot-guard-1"
# In this order; `reverting` is written by the guard before it reboots, `reverted` after it.
PHASES = (
    "held", "armed", "trial", "healthy", "confirmed", "committing", "committed", "reverting",
    "reverted",
)  # fmt: skip


class Places:
    """Paths of one host; tests put them below a directory of their own."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.state = root / "var/lib/stroke/boot_guard/state.json"
        self.modules = root / "var/lib/stroke/boot_guard/modules"
        self.code = root / "usr/local/lib/stroke/boot_guard.py"
        self.boot = root / "boot"
        self.frozen = root / "boot/stroke"
        self.env = root / "boot/stroke/env"
        self.grub = family.of(root)
        self.custom = root / self.grub.custom.lstrip("/")
        self.units = root / "etc/systemd/system"

    def kernel(self, release: str) -> Path:
        return self.boot / f"vmlinuz-{release}"

    def initrd(self, release: str) -> Path:
        return self.boot / self.grub.initrd.format(release)


def say(sentence: str) -> None:
    """To the journal and the console."""
    print(f"stroke boot guard: {sentence}", flush=True)


def now() -> str:
    """The time, as far as a host that just started knows it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(places: Places) -> Json:
    """The state; empty where there is none."""
    try:
        data = json.loads(places.state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def save(places: Places, data: Json, phase: str, why: str = "") -> Json:
    """Go on to a phase."""
    if phase not in PHASES:
        raise ValueError(f"no phase {phase!r}")
    new = {**data, "schema": SCHEMA, "phase": phase, "why": why, "since": now()}
    disk.write(places.state, (json.dumps(new, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    return new
