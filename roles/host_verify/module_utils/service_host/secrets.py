"""Files of secrets: who may read them, and whether what is in them shows up elsewhere.

No secret leaves the host: what is returned are paths, modes and the names of places.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FILES = 200
LARGEST = 64 * 1024
# Shorter words are file names, settings and prose.
SHORTEST = 16


def files(top: Path) -> list[Json]:
    """Everything below a directory, itself included, with type, mode and owner."""
    found: list[Json] = []
    if not top.is_dir():
        return found
    for folder, folders, names in os.walk(top):
        folders.sort()
        for path in (Path(folder), *(Path(folder) / name for name in sorted(names))):
            seen = path.lstat()
            kind = "directory" if stat.S_ISDIR(seen.st_mode) else "file"
            if stat.S_ISLNK(seen.st_mode):
                kind = "link"
            if len(found) < FILES:
                mode = f"{stat.S_IMODE(seen.st_mode):04o}"
                entry = {"path": os.fspath(path), "type": kind, "mode": mode}
                found.append({**entry, "uid": seen.st_uid, "gid": seen.st_gid})
    return found


def values(top: Path, known: list[Json]) -> set[str]:
    """Words in the files that are long enough to be secrets and are not paths."""
    words: set[str] = set()
    for entry in known:
        if entry["type"] == "file":
            try:
                text = Path(entry["path"]).read_bytes()[:LARGEST].decode("utf-8", "replace")
            except OSError:
                continue
            words |= {word for word in re.split(r"[\s:=,\"'\[\]]+", text)
                      if len(word) >= SHORTEST and "/" not in word}  # fmt: skip
    return words


def places(secrets: set[str], texts: dict[str, str]) -> list[str]:
    """Names of the texts in which any of the secrets stands."""
    return sorted(name for name, text in texts.items() if any(word in text for word in secrets))


def first_line(path: str) -> str:
    """The key of an endpoint; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8").strip().splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
