"""GRUB as on Debian and Ubuntu: a private menu beside its own, and a block that it can write."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import disk
import grubcfg
import menu
import probe
import reading
import units
from refused import Refused
from state import Json, Places


class Grub:
    """What the guard wants of a boot loader, by GRUB."""

    # What of the state is its own, and how it is called where only it knows an entry.
    keys = ("grub_uuid", "grub_folder")
    name = "GRUB"

    def __init__(self, places: Places) -> None:
        self.places = places

    def open(self) -> bool:
        """Whether the last known good system starts by default."""
        return menu.OWN in reading.text(self.places.root, probe.CUSTOM)

    def untried(self) -> bool:
        """Whether a trial was prepared and not chosen."""
        return menu.state_of(self._block()) == "hold"

    def freeze(self, release: str) -> Json:
        """Copy the kernel that runs and its initramfs; what has to be kept in the state."""
        disk.remove_tree(self.places.frozen)
        disk.copy(self.places.kernel(release), self.places.frozen / "vmlinuz")
        disk.copy(self.places.initrd(release), self.places.frozen / "initrd.img")
        return {"grub_uuid": probe.grub_probe("fs_uuid", "/boot/grub"),
                "grub_folder": _as_grub_sees(self.places.boot)}  # fmt: skip

    def hold(self) -> None:
        """Choose the last known good system: whatever was tried is not tried again by itself."""
        self._set("hold")

    def choose(self) -> None:
        """Choose the trial, for one boot."""
        self._set("try")
        disk.settle(self.places.boot)

    def refresh(self) -> None:
        """Let the distribution write its menu anew."""
        units.make_menu()

    def files(self, release: str) -> list[Path]:
        """What a release needs to start."""
        return [self.places.kernel(release), self.places.initrd(release)]

    def called(self, release: str) -> str:
        """How `stock` names the kernel of a release."""
        return f"vmlinuz-{release}"

    def changed(self, words: list[str]) -> list[str]:
        """Arguments that the kernel would get in another form."""
        return menu.unquotable(words)

    def stock(self, data: Json, release: str = "") -> tuple[str, list[str]]:
        """Kernel and words of what the distribution's own menu starts, or has for a release.

        A chosen release becomes that menu's default after it was tried, and not before.
        """
        config = reading.text(self.places.root, probe.CONFIG)
        if release:
            kernel, words = grubcfg.release_entry(config, release)
        else:
            grubenv = reading.text(self.places.root, "/boot/grub/grubenv")
            kernel, words = grubcfg.default_entry(config, grubenv)
        return Path(kernel).name, words

    def show(self, data: Json) -> None:
        """Write our part of the menu, if GRUB's own checker takes it."""
        folder = data["grub_folder"]

        def entry(system: Json, kernel: str, initrd: str) -> menu.Entry:
            return menu.Entry(f"{folder}/{kernel}", f"{folder}/{initrd}", system["words"])

        lkg, trial = data["lkg"], data.get("trial")
        release = trial["release"] if trial else ""
        text = menu.render(
            uuid=data["grub_uuid"],
            env=f"{folder}/stroke/env",
            transaction=data["transaction"],
            lkg=entry(lkg, "stroke/vmlinuz", "stroke/initrd.img"),
            trial=entry(trial, f"vmlinuz-{release}", f"initrd.img-{release}") if trial else None,
        )
        with contextlib.suppress(FileNotFoundError):
            done = subprocess.run(["grub-script-check"], input=text, text=True,
                                  capture_output=True, timeout=60, check=False)  # fmt: skip
            if done.returncode != 0:
                raise Refused("STK-420", f"GRUB does not take its menu: {done.stderr.strip()}")
        disk.write(self.places.custom, text.encode("utf-8"))
        disk.settle(self.places.boot)

    def close(self, data: Json) -> None:
        """Leave the choice to the distribution's own menu again."""
        if self.open():
            disk.remove(self.places.custom)
            disk.settle(self.places.boot)

    def clear(self) -> None:
        """Take the copies away."""
        disk.remove_tree(self.places.frozen)

    def _block(self) -> bytes:
        try:
            return self.places.env.read_bytes()
        except OSError:
            return b""

    def _set(self, state: str) -> None:
        """In place where the block is whole: GRUB must not meet an older one."""
        if len(self._block()) == len(menu.environment(state)):
            disk.overwrite(self.places.env, menu.environment(state))
        else:
            disk.write(self.places.env, menu.environment(state))


def _as_grub_sees(boot: Path) -> str:
    """The folder /boot from the top of its file system."""
    return "" if boot.is_mount() else "/boot"
