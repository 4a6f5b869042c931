"""systemd-boot: private entries beside those of the distribution, and EFI variables that choose.

Two marks let a trial start, and the loader takes each away before it does: the variable
LoaderEntryOneShot, and the counter in the name of the entry (`+1` becomes `+0-1`). It goes on where
one of them cannot be changed (run() in
https://github.com/systemd/systemd/blob/v257/src/boot/boot.c casts both results to void), so neither
alone would do. The one-shot variable is a pattern that names both of our entries: the trial is
sorted first as long as it has a try left, and last after that. LoaderEntryDefault names the last
known good system itself, so that a trial without a counter is not started either: that is what
systemd-bless-boot makes of its name once the trial has reached boot-complete.target.
"""

from __future__ import annotations

import sys
from pathlib import Path

import disk
import efivars
import menu
import sdboot
from entries import Entry
from refused import Refused
from state import Json, Places


class SystemdBoot:
    """What the guard wants of a boot loader, by systemd-boot."""

    keys = ("boot", "initrds", "variables")
    name = "systemd-boot"

    def __init__(self, places: Places) -> None:
        self.root = places.root

    def open(self) -> bool:
        """Whether the last known good system starts by default."""
        return sdboot.opened(self.root)

    def untried(self) -> str:
        """Why a trial that was prepared did not start: its counter is what it was. Or empty."""
        there = sdboot.own_entries(self.root, f"{sdboot.TRIAL}+1.conf")
        return "the power went before the trial was chosen" if there else ""

    def freeze(self, release: str) -> Json:
        """Copy the kernel that runs and its initramfs; what has to be kept in the state."""
        entry = sdboot.running(self.root, release)
        if entry is None:
            raise Refused("STK-420", f"there is no boot entry of the running kernel {release}")
        self.clear()
        kernel, *initrds = entry.files
        disk.copy(kernel, entry.top / sdboot.COPIES / "vmlinuz")
        for number, initrd in enumerate(initrds, 1):
            disk.copy(initrd, entry.top / sdboot.COPIES / f"initrd-{number}")
        before = {name: efivars.read(self.root, name) for name in sdboot.VARIABLES}
        if before[efivars.DEFAULT] == sdboot.LKG:
            before[efivars.DEFAULT] = None  # ours, of a transaction whose state is lost
        return {"boot": sdboot.folder(self.root, entry), "initrds": len(initrds),
                "variables": before}  # fmt: skip

    def hold(self) -> None:
        """Choose the last known good system: whatever was tried is not tried again by itself."""
        if efivars.read(self.root, efivars.ONE_SHOT) == sdboot.PATTERN:
            efivars.remove(self.root, efivars.ONE_SHOT)
        for path in sdboot.own_entries(self.root, f"{sdboot.TRIAL}*"):
            disk.remove(path)

    def choose(self) -> None:
        """Choose the trial, for one boot."""
        efivars.write(self.root, efivars.ONE_SHOT, sdboot.PATTERN)

    def refresh(self) -> None:
        """Entries are what they are: no menu is made of them."""

    def files(self, release: str) -> list[Path]:
        """What a release needs to start; without an entry there is nothing to look at.

        Of several files beside the kernel only the largest is an initramfs: microcode is small.
        """
        entry = sdboot.of_release(self.root, release)
        if entry is None:
            return []
        kernel, *initrds = entry.files
        initrds.sort(key=lambda path: path.stat().st_size if path.is_file() else sys.maxsize)
        return [kernel, *initrds[-1:]]

    def called(self, release: str) -> str:
        """How `stock` names the kernel of a release."""
        return release

    def changed(self, words: list[str]) -> list[str]:
        """Arguments that the kernel would get in another form: a line ends at its end."""
        return [word for word in words if set(word) & set("\r\n")]

    def stock(self, data: Json, release: str = "") -> tuple[str, list[str]]:
        """Kernel and words of what would start without a transaction, or of a release's entry.

        Without words of ours: kernel-install takes the running command line where a host has no
        /etc/kernel/cmdline, and the last known good system may be what runs.
        """
        entry = self._entry(data, release)
        if entry is None:
            return "", []
        return entry.release or entry.id, menu.own_words(" ".join(entry.words))

    def _entry(self, data: Json, release: str) -> Entry | None:
        """The entry that starts without a transaction, or one of a release if that has another."""
        entry = sdboot.default(self.root, data["variables"])
        same = not release or (entry is not None and entry.release == release)
        return entry if same else sdboot.of_release(self.root, release)

    def show(self, data: Json) -> None:
        """Write our entries, that of the trial only if there is one, and prefer the good one."""
        top = self.root / data["boot"].lstrip("/")
        copies = [f"/{sdboot.COPIES}/initrd-{number + 1}" for number in range(data["initrds"])]
        lkg = {"title": "stroke: last known good system", "sort-key": "stroke-2",
               "version": data["lkg"]["release"], "linux": f"/{sdboot.COPIES}/vmlinuz"}  # fmt: skip
        last = f"stroke.lkg={data['transaction']}"
        _write(top / "loader/entries" / sdboot.LKG, lkg, copies, [*data["lkg"]["words"], last])
        trial = data.get("trial")
        if trial:
            entry = self._entry(data, trial["release"])
            if entry is None:
                raise Refused("STK-512", f"the boot entry of {trial['release']} is gone")
            fields = {"title": "stroke: trial of the new system", "sort-key": "stroke-1",
                      "version": trial["release"], "linux": entry.one("linux")}  # fmt: skip
            words = [*trial["words"], f"stroke.trial={data['transaction']}"]
            path = entry.top / "loader/entries" / f"{sdboot.TRIAL}+1.conf"
            _write(path, fields, entry.fields.get("initrd", []), words)
        efivars.write(self.root, efivars.DEFAULT, sdboot.LKG)
        disk.settle(top)

    def close(self, data: Json) -> None:
        """Give the choice back, in an order in which every step starts a system that was tried.

        A default from before is back before our entry goes, since it may name the new system where
        the order of the entries does not. Where there was none the entry goes first: a default that
        names nothing is none, but ours could be the first of the entries that are left.
        """
        self.hold()
        before = data.get("variables") or {}
        ours = efivars.read(self.root, efivars.DEFAULT) == sdboot.LKG
        if ours and before.get(efivars.LAST):
            # save_selected_entry() deletes it while LoaderEntryDefault is an entry.
            efivars.write(self.root, efivars.LAST, before[efivars.LAST])
        if ours and before.get(efivars.DEFAULT):
            efivars.write(self.root, efivars.DEFAULT, before[efivars.DEFAULT])
        for path in sdboot.own_entries(self.root):
            disk.remove(path)
        if ours and not before.get(efivars.DEFAULT):
            efivars.remove(self.root, efivars.DEFAULT)

    def clear(self) -> None:
        """Take the copies away, and entries that would name them."""
        for path in sdboot.own_entries(self.root):
            disk.remove(path)
        for top in sdboot.partitions(self.root):
            disk.remove_tree(top / sdboot.COPIES)


def _write(path: Path, fields: dict[str, str], initrds: list[str], words: list[str]) -> None:
    """An entry in one step. Its last word is ours, so that no line is taken for a quoted one."""
    lines = [menu.HEADER]
    lines += [f"{key} {value}" for key, value in fields.items()]
    lines += [f"initrd {name}" for name in initrds]
    lines.append(f"options {' '.join(words)}")
    disk.write(path, ("\n".join(lines) + "\n").encode("utf-8"))
