"""What a host says of itself in files: read only, and empty where nothing is there."""

from __future__ import annotations

from pathlib import Path


def text(root: Path, path: str) -> str:
    """A file as text; empty where there is none."""
    try:
        return (root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def mount_of(root: Path, path: str) -> dict[str, str]:
    """The mount that a path is on, with its device and options."""
    best = {"device": "", "mount": "", "type": "", "options": ""}
    for line in text(root, "/proc/self/mounts").splitlines():
        fields = line.split(" ")
        place = fields[1].rstrip("/")
        if f"{path}/".startswith(f"{place}/") and len(fields[1]) >= len(best["mount"]):
            names = ("device", "mount", "type", "options")
            best = dict(zip(names, fields))
    return best
