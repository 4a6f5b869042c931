"""Whether a start of the host waits for somebody who types a passphrase. Read only.

Neither a trial nor the way back from one gets past such a question, and no watchdog ends it: the
guard's unit is behind it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from reading import mount_of, text

_BLOCKS = "sys/class/block"
# crypttab(5): what opens a volume without a person, and what does not hold a start up.
_OPENS = ("tpm2-device=",)
_NOT_NEEDED = ("noauto", "nofail")
# Tokens in the header of the volume itself: https://gitlab.com/cryptsetup/cryptsetup, man luksDump.
_TOKEN = re.compile(r"^\s*\d+:\s*(clevis|systemd-tpm2)\b", re.MULTILINE)


def needed(root: Path) -> list[str]:
    """Names of the encrypted volumes that ask a person at every start."""
    table = _crypttab(root)
    below = _below(root, mount_of(root, "/")["device"])
    found = []
    for block in sorted((root / _BLOCKS).glob("dm-*")):
        name = text(block, "dm/name").strip()
        if not text(block, "dm/uuid").startswith("CRYPT-"):
            continue
        key, options = table.get(name, ("", []))
        wanted = block.name in below or (
            name in table and not any(option in _NOT_NEEDED for option in options)
        )
        if wanted and not _opens_by_itself(root, block, key, options):
            found.append(name or block.name)
    return found


def _crypttab(root: Path) -> dict[str, tuple[str, list[str]]]:
    """Key file and options of each volume."""
    rows = (line.split() for line in text(root, "/etc/crypttab").splitlines())
    return {
        row[0]: (row[2] if len(row) > 2 else "", row[3].split(",") if len(row) > 3 else [])
        for row in rows
        if len(row) > 1 and not row[0].startswith("#")
    }


def _opens_by_itself(root: Path, block: Path, key: str, options: list[str]) -> bool:
    if key not in ("", "-", "none") and not any(opt.startswith("keyscript=") for opt in options):
        return True
    if any(option.startswith(_OPENS) for option in options):
        return True
    return any(_TOKEN.search(_header(f"/dev/{path.name}")) for path in (block / "slaves").glob("*"))


def _header(device: str) -> str:
    """What cryptsetup says of a volume; empty where it cannot."""
    try:
        done = subprocess.run(
            ["cryptsetup", "luksDump", device], capture_output=True, text=True, timeout=60,
            check=False, env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _below(root: Path, device: str) -> set[str]:
    """Names of the block devices that a file system is on, down to the disks."""
    names, waiting = set(), [(root / device.lstrip("/")).resolve().name]
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        waiting += [path.name for path in (root / _BLOCKS / name / "slaves").glob("*")]
    return names
