"""The lock of a host: who changes it now, when that one last gave a sign, and whether it still may.

Times are the host's uptime and its boot id, never its clock, which a run may find a year off.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PATH = "/var/lib/stroke/lock"
# The run that let the host go last. In memory: after a boot nothing was let go.
RELEASED = "/run/stroke/released"
LIMIT = 64 * 1024
OWNER = ("user", "controller", "machine", "boot", "pidns", "pid", "started", "run")


def at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def words(path: Path) -> str:
    """The stripped content of a small file; nothing where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(LIMIT).strip()
    except OSError:
        return ""


def stored(root: Path) -> Json | None:
    """The lock as it lies there; what is no lock of ours counts as one without an owner."""
    path = at(root, PATH)
    if not path.is_file():
        return None
    try:
        found = json.loads(words(path))
    except ValueError:
        found = None
    found = found if isinstance(found, dict) else {}
    kept: Json = {name: str(found.get(name) or "")[:200] for name in OWNER}
    names = found.get("names")
    kept["names"] = [str(name) for name in names] if isinstance(names, list) else []
    kept["boot_id"] = str(found.get("boot_id") or "")
    session = found.get("session")
    kept["session"] = [str(word) for word in session] if isinstance(session, list) else []
    for name in ("taken", "renewed"):
        number = found.get(name)
        kept[name] = float(number) if isinstance(number, (int, float)) else 0.0
    return kept


def uptime(root: Path) -> float:
    try:
        return float(words(at(root, "/proc/uptime")).split()[0])
    except (IndexError, ValueError):
        return 0.0


def boot_id(root: Path) -> str:
    return words(at(root, "/proc/sys/kernel/random/boot_id"))


def process(root: Path, pid: str) -> tuple[str, str, str]:
    """Name, parent and start time of a process; empty where there is none."""
    text = words(at(root, f"/proc/{pid}/stat")) if pid.isdecimal() else ""
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return (name, fields[1], fields[19]) if len(fields) > 19 else ("", "", "")


def session(root: Path) -> list[str]:
    """The SSH session that this process belongs to, as pid and start time; none on a local run."""
    pid = str(os.getpid())
    for _ in range(32):
        name, parent, started = process(root, pid)
        if name.startswith("sshd"):
            return [pid, started]
        if parent in ("", "0", "1"):
            return []
        pid = parent
    return []


def alive(root: Path, found: list[str]) -> bool:
    return len(found) == 2 and process(root, found[0])[2] == found[1]


def stamp(root: Path) -> str:
    """What changes whenever another run takes or lets go of the host."""
    held = stored(root)
    return f"{words(at(root, RELEASED))}:{held['run'] if held else ''}"


def look(root: Path) -> Json:
    """Who holds the host, with ages in seconds; `held` is null where nobody does."""
    held, now = stored(root), uptime(root)
    if held is not None:
        same = held["boot_id"] == boot_id(root)
        held["same_boot"] = same
        held["connected"] = alive(root, held["session"])
        # After another boot nothing older than the boot is known.
        held["taken_seconds"] = round(max(0.0, now - held["taken"]) if same else now)
        held["silent_seconds"] = round(max(0.0, now - held["renewed"]) if same else now)
    return {"held": held, "stamp": stamp(root)}


def gone(held: Json, stale: int, reboot: int) -> str:
    """Why the owner cannot come back, judged on the host alone; empty where it may."""
    if not held["run"]:
        return "it names no owner"
    if not held["same_boot"]:
        if held["silent_seconds"] > reboot:
            return f"the host was started again {minutes(held['silent_seconds'])} ago without it"
        return ""
    if held["connected"] or held["silent_seconds"] <= stale:
        return ""
    return f"it gave no sign for {minutes(held['silent_seconds'])}"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def owner(held: Json) -> str:
    """The owner in words: `alice@desk (run 3f2a, pid 1234) for 3 min`."""
    who = f"{held['user'] or 'somebody'}@{held['controller'] or 'unknown'}"
    about = f"run {held['run'] or 'unknown'}, pid {held['pid'] or 'unknown'}"
    return f"{who} ({about}) for {minutes(held['taken_seconds'])}"
