"""What systemd-boot does with entries and EFI variables, as far as the boot guard uses them.

After systemd 257: its order of the entries, its choice among them, and what it takes away before it
starts one. Written apart from the guard's own model of it, and standard library only.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
EFIVARS = "sys/firmware/efi/efivars"
Started = tuple[str, Path, list[str]]  # entry, kernel, command line


def variable(root: Path, name: str) -> Path:
    return root / EFIVARS / f"{name}-{VENDOR}"


def get(root: Path, name: str) -> str:
    """A variable; empty where it is not set."""
    path = variable(root, name)
    data = path.read_bytes()[4:] if path.is_file() else b""
    return data.decode("utf-16-le").partition("\0")[0]


def put(root: Path, name: str, value: str) -> None:
    """Set a variable as the firmware does, or take it away."""
    path = variable(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if value:
        path.write_bytes(b"\7\0\0\0" + f"{value}\0".encode("utf-16-le"))


class _Entry:
    def __init__(self, path: Path, top: Path) -> None:
        self.path = path
        self.id = path.name.lower()
        counter = re.search(r"\+(\d+)(-(\d+))?\.conf$", self.id)
        self.left = int(counter[1]) if counter else None
        self.done = int(counter[3] or 0) if counter else 0
        self.keys: dict[str, str] = {}
        self.options: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == "options":
                self.options += value.split()
            elif not key.startswith("#"):
                self.keys[key] = value.strip()
        self.linux = top / self.keys.get("linux", "/none").lstrip("/")

    @property
    def order(self) -> tuple[Any, ...]:
        sort = self.keys.get("sort-key")
        version = self.keys.get("version", "") if sort else ""
        return (self.left == 0, sort is None, sort or "", self.keys.get("machine-id", ""),
                _backwards(version), _backwards(self.id))  # fmt: skip


def _backwards(text: str) -> list[tuple[int, ...]]:
    """A key that puts higher versions first; the end of a text comes last."""
    parts = re.findall(r"\d+|[a-z]+", text.lower())
    key = [(-1, -int(part)) if part.isdigit() else (0, *(-ord(one) for one in part), 1)
           for part in parts]  # fmt: skip
    return [*key, (1,)]


def start(
    root: Path, tops: list[Path], *, can_rename: bool = True, can_unset: bool = True
) -> Started:
    """The entry that starts, and what the loader has changed by then."""
    found = [_Entry(path, top) for top in tops for path in (top / "loader/entries").glob("*.conf")]
    shown = sorted((entry for entry in found if entry.linux.is_file()), key=lambda one: one.order)
    texts = [(top / "loader/loader.conf").read_text(encoding="utf-8") for top in tops
             if (top / "loader/loader.conf").is_file()]  # fmt: skip
    told = re.findall(r"^default\s+(\S+)", "\n".join(texts), re.MULTILINE)
    one_shot, set_default = get(root, "LoaderEntryOneShot"), get(root, "LoaderEntryDefault")
    last = get(root, "LoaderEntryLastBooted")
    if can_unset:
        put(root, "LoaderEntryOneShot", "")
    patterns = [one_shot, last if set_default == "@saved" else set_default,
                *(last if word == "@saved" else word for word in told[-1:]), "*"]  # fmt: skip
    entry = next(entry for pattern in patterns for entry in shown if pattern and
                 fnmatchcase(entry.id, pattern.lower()))  # fmt: skip
    put(root, "LoaderEntrySelected", entry.id)
    if set_default == "@saved" or (not set_default and told[-1:] == ["@saved"]):
        put(root, "LoaderEntryLastBooted", entry.id)
    else:
        put(root, "LoaderEntryLastBooted", "")
    if entry.left is not None and can_rename:
        name = re.sub(r"\+\d+(-\d+)?\.conf$", "", entry.path.name)
        name += f"+{max(entry.left - 1, 0)}-{entry.done + 1}.conf"
        entry.path.rename(entry.path.with_name(name))
    return entry.id, entry.linux, entry.options
