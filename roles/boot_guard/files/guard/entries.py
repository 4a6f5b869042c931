"""Boot entries: what is in one, and which there are, in which order, as systemd-boot takes them.

After https://github.com/systemd/systemd/blob/v257/src/boot/boot.c (boot_entry_parse_tries,
boot_entry_compare, config_select_default_entry), which is the order of
https://uapi-group.org/specifications/specs/boot_loader_specification/#sorting
"""

from __future__ import annotations

import fnmatch
import functools
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import menu
from reading import text

_COUNTER = re.compile(r"\+(\d+)(?:-(\d+))?(?=\.conf$)", re.IGNORECASE)
_NO_VERSION = re.compile(r"^[^0-9A-Za-z~^.-]+")
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "aa64"}


@dataclass(frozen=True)
class Entry:
    """One file in loader/entries; `top` is where the partition of it is mounted."""

    path: Path
    top: Path
    fields: dict[str, list[str]]

    @property
    def id(self) -> str:
        """The name that the loader gives it: with its counter, as 257 does, newer ones without."""
        return self.path.name.lower()

    @property
    def left(self) -> int:
        """How often it may still be tried; -1 for any number."""
        found = _COUNTER.search(self.id)
        return int(found[1]) if found else -1

    @property
    def done(self) -> int:
        """How often it was tried without being blessed."""
        found = _COUNTER.search(self.id)
        return int(found[2] or 0) if found else -1

    def one(self, key: str) -> str:
        """The last value of a key, which is the one that counts."""
        return (self.fields.get(key) or [""])[-1]

    @property
    def words(self) -> list[str]:
        """Its kernel arguments: all lines `options` are one."""
        return menu.split(" ".join(self.fields.get("options", [])))

    @property
    def release(self) -> str:
        """The kernel's release, where the entry or the kernel's path says it."""
        linux = Path(self.one("linux").replace("\\", "/"))
        named = linux.parent.name if linux.name == "linux" else linux.name.partition("vmlinuz-")[2]
        return self.one("version") or named

    @property
    def files(self) -> list[Path]:
        """The kernel first, then what is loaded with it."""
        names = [self.one("linux"), *self.fields.get("initrd", [])]
        return [self.top / name.replace("\\", "/").lstrip("/") for name in names if name]


def without_counter(name: str) -> str:
    """The name of an entry from before it was counted, and after it was found good."""
    return _COUNTER.sub("", name)


def fields_of(text: str) -> dict[str, list[str]]:
    """Keys and values of an entry, or of loader.conf; comments are none."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, *value = line.strip().split(None, 1)[:2] or [""]
        if value and not key.startswith("#"):
            found.setdefault(key, []).append(value[0].strip())
    return found


def load(top: Path) -> list[Entry]:
    """The entries of a partition that the loader shows: those whose program is there."""
    found = []
    for path in sorted((top / "loader/entries").glob("*")):
        name = path.name.lower()
        if not name.endswith(".conf") or name.startswith((".", "auto-")) or not path.is_file():
            continue
        entry = Entry(path, top, fields_of(path.read_text(encoding="utf-8", errors="replace")))
        program = entry.one("linux") or entry.one("efi")
        machine = _ARCHITECTURES.get(platform.machine(), "")
        if entry.one("architecture") in ("", machine) and program and (
            top / program.replace("\\", "/").lstrip("/")
        ).is_file():  # fmt: skip
            found.append(entry)
    return found


def _version(text: str) -> tuple[str, str]:
    """Digits or letters at the front, and the rest."""
    found = re.match(r"[0-9]+" if text[:1].isdigit() else r"[A-Za-z]*", text)
    segment = found[0] if found else ""
    return segment, text[len(segment) :]


def compare_versions(a: str, b: str) -> int:
    """https://uapi-group.org/specifications/specs/version_format_specification/"""
    while True:
        a, b = _NO_VERSION.sub("", a), _NO_VERSION.sub("", b)
        for mark in ("~", "", "-", "^", "."):
            if not mark:
                if not a or not b:
                    return bool(a) - bool(b)
            elif mark in (a[:1], b[:1]):
                if a[:1] != b[:1]:
                    return -1 if a[:1] == mark else 1
                a, b = a[1:], b[1:]
        numbers = a[:1].isdigit(), b[:1].isdigit()
        if numbers[0] != numbers[1]:
            return 1 if numbers[0] else -1
        (left, a), (right, b) = _version(a), _version(b)
        if numbers[0]:
            left, right = left.lstrip("0"), right.lstrip("0")
            if len(left) != len(right):
                return 1 if len(left) > len(right) else -1
        if left != right:
            return 1 if left > right else -1


def _compare(a: Entry, b: Entry) -> int:
    """Below zero where a is shown above b."""
    keys = a.one("sort-key"), b.one("sort-key")
    pairs: list[tuple[object, object]] = [(a.left == 0, b.left == 0), (not keys[0], not keys[1])]
    if all(keys):
        pairs += [keys, (a.one("machine-id"), b.one("machine-id"))]
    for one, other in pairs:
        if one != other:
            return -1 if one < other else 1  # type: ignore[operator]
    newer = compare_versions(b.one("version"), a.one("version")) if all(keys) else 0
    newer = newer or compare_versions(b.id, a.id)
    if newer or a.left < 0 or b.left < 0:
        return newer
    return (b.left - a.left) or (a.done - b.done)


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """As in the menu: what was tried too often is at the end."""
    return sorted(entries, key=functools.cmp_to_key(_compare))


def find(entries: list[Entry], pattern: str | None) -> Entry | None:
    """The first of the ordered entries that a pattern names."""
    if not pattern:
        return None
    return next((one for one in entries if fnmatch.fnmatchcase(one.id, pattern.lower())), None)


def of_release(root: Path, entries: list[Entry], release: str) -> Entry | None:
    """The entry of a kernel: of this system, where others have entries beside it."""
    tokens = [text(root, f"/etc/{name}").strip() for name in ("machine-id", "kernel/entry-token")]
    tokens = [token for token in tokens if token]
    found = [entry for entry in entries if entry.one("linux") and entry.release == release]
    mine = [entry for entry in found if entry.one("machine-id") in tokens
            or entry.id.startswith(tuple(f"{token.lower()}-" for token in tokens))]  # fmt: skip
    return next(iter(mine or found), None)


def default(
    entries: list[Entry], *, variable: str | None, last: str | None, configured: str | None
) -> Entry | None:
    """What the loader starts: by its EFI variable, then by loader.conf, then the first.

    None where that is an entry of another kind: found by the loader itself, or a unified image.
    """
    shown = ordered(entries)
    for wanted in (variable, configured):
        pattern = last if wanted == "@saved" else wanted
        found = find(shown, pattern)
        if found:
            return found
        if pattern and (pattern.lower().startswith("auto-") or pattern.lower().endswith(".efi")):
            return None
    return shown[0] if shown else None
