"""What stroke's package transactions changed on a host: one JSON file per role.

    {"schema": "stroke/packages/1",
     "added":    {name: [versions]},                  not there before
     "upgraded": {name: {"before": v, "after": v}},   there in another version
     "removed":  {name: [versions]},                  gone since, a kernel beyond dnf's limit
     "holds":    [names],                             holds that stroke set
     "initramfs": null, or the time (s) since which the initramfs has old firmware,
     "open":     null, or the transaction under way: since, wanted, planned, before}

`open` is written before a transaction begins. When that run is cut off, the next one finds it and
works out what became of it, so that nothing is installed without being recorded.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable

Json = dict[str, Any]
# Installed versions by name; only packages that may be there several times have more than one.
Snapshot = dict[str, list[str]]

SCHEMA = "stroke/packages/1"
FIELDS = ("added", "upgraded", "removed", "holds", "initramfs", "open")
KERNEL = re.compile(r"linux-image-(unsigned-)?\d")


def differences(before: Snapshot, after: Snapshot) -> Json:
    """Packages that came, changed their version, or went.

    A version beside another one that stays (kernels of dnf) came; it is no upgrade.
    """
    found: Json = {"added": {}, "upgraded": {}, "removed": {}}
    for name in sorted({*before, *after}):
        old, new = before.get(name, []), after.get(name, [])
        if sorted(old) == sorted(new):
            continue
        came = [version for version in new if version not in old]
        went = [version for version in old if version not in new]
        if len(old) == 1 and len(came) == 1 and went:
            found["upgraded"][name] = {"before": went[0], "after": came[0]}
            continue
        if came:
            found["added"][name] = came
        if went:
            found["removed"][name] = went
    return found


class Record:
    """The record of one role."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self.role = name
        self.added: dict[str, list[str]] = {}
        self.upgraded: dict[str, dict[str, str]] = {}
        self.removed: dict[str, list[str]] = {}
        self.holds: list[str] = []
        self.initramfs: float | None = None
        self.open: Json | None = None

    @classmethod
    def load(cls, folder: Path, name: str, now: Snapshot) -> Record:
        """The record as it is; a file of another form is an error, a missing one is empty."""
        record = cls(folder, name)
        try:
            data = json.loads(record.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return record
        if not isinstance(data, dict):
            raise ValueError(f"{record.path}: not a JSON object")
        if "schema" not in data:
            record._of_versions(data, now)
            return record
        if data["schema"] != SCHEMA:
            raise ValueError(f"{record.path}: schema {data['schema']!r} is not {SCHEMA}")
        for key in FIELDS:
            setattr(record, key, data[key])
        return record

    def _of_versions(self, data: Json, now: Snapshot) -> None:
        """The form without a schema: versions from before by name, null for an absent package."""
        for name, version in data.items():
            present = now.get(name, [])
            if present and version is None:
                self.added[name] = present
            elif present and [version] != present:
                self.upgraded[name] = {"before": version, "after": present[0]}
        if self.role == "kernel":
            self.added |= {n: v for n, v in now.items() if KERNEL.match(n) and n not in data}

    def save(self) -> None:
        """Whole or not at all: a power cut must not cost the record."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        data = {"schema": SCHEMA, **{key: getattr(self, key) for key in FIELDS}}
        scratch = self.path.with_name(f".{self.path.name}.new")
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(0o644)
        scratch.replace(self.path)

    def begin(self, since: int, wanted: list[str], before: Snapshot, planned: Json | None) -> None:
        """A transaction begins; a second one for the same role first settles what is open."""
        self.open = {"since": since, "wanted": wanted, "planned": planned, "before": before}
        self.save()

    def settle(self, now: Snapshot, ours: Callable[[Json, Json], Json], keep: bool = True) -> Json:
        """The open transaction is over, or was cut off: keep what it changed.

        `ours` takes the differences since it began and the open entry, and gives back those that
        it made itself: others install packages as well.
        """
        if self.open is None:
            return {"added": {}, "upgraded": {}, "removed": {}}
        found = ours(differences(self.open["before"], now), self.open)
        for name, versions in found["added"].items():
            known = self.added.get(name, [])
            self.added[name] = known + [one for one in versions if one not in known]
        for name, change in found["upgraded"].items():
            if name in self.added:
                self.added[name] = [change["after"] if v == change["before"] else v
                                    for v in self.added[name]]  # fmt: skip
            else:
                first = self.upgraded.get(name, change)["before"]
                self.upgraded[name] = {"before": first, "after": change["after"]}
        for name, versions in found["removed"].items():
            ours_too = self.added.get(name, [])
            self.added[name] = [version for version in ours_too if version not in versions]
            if not self.added[name]:
                del self.added[name]
            foreign = [version for version in versions if version not in ours_too]
            if foreign:
                self.removed[name] = foreign
        self.open = None
        if keep:
            self.save()
        return found

    def entries(self, now: Snapshot, beside: frozenset[str] = frozenset()) -> list[Json]:
        """What of it is there now, as rows of the report.

        Upgraded by somebody else since, a package is still the one that stroke brought; not so one
        of the names in `beside`, of which every version is a package of its own.
        """
        rows = [
            {"role": self.role, "name": name, "before": None, "after": version}
            for name in self.added
            for version in now.get(name, [])
            if version in self.added[name] or name not in beside
        ]
        rows += [
            {"role": self.role, "name": name, "before": change["before"], "after": now[name][0]}
            for name, change in self.upgraded.items()
            if name in now and now[name] != [change["before"]]
        ]
        return sorted(rows, key=lambda row: (row["name"], row["after"]))


def load_all(folder: Path, names: list[str], now: Snapshot) -> list[Record]:
    """The records of these roles; no names means every role's."""
    if not names:
        found = sorted(folder.glob("*.json")) if folder.is_dir() else []
        names = [path.stem for path in found if not path.name.startswith(".")]
    return [Record.load(folder, name, now) for name in names]
