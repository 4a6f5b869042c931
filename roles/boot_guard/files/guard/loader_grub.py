"""GRUB: a private menu beside the distribution's own, and a block that it can write.

On Fedora and RHEL the private menu is read last as on Debian, after the boot entries (BLS): its
default wins over what saved_entry, next_entry or boot_counter in grubenv have chosen. What else is
there (boot_success, boot_indeterminate, menu_auto_hide) is neither read nor written: a login of two
minutes makes a boot a success, which says nothing of a trial. See 08_fallback_counting,
10_reset_boot_success and 12_menu_auto_hide in https://github.com/rhboot/grub2, util/grub.d.

With Secure Boot GRUB loads no module from disk. What the menu needs (search_fs_uuid, loadenv, test,
echo, linux, sleep, reboot) is in the signed image: https://github.com/AlmaLinux/shim-review has its
list, which is RHEL's.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import bls
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
        return menu.OWN in reading.text(self.places.root, self.places.grub.custom)

    def untried(self) -> str:
        """Why a trial that was prepared did not start at all; empty where it did."""
        return {"hold": "the power went before the trial was chosen",
                "try": "GRUB could not write that it tries the new system, and did not start it",
                }.get(menu.state_of(self._block()), "")  # fmt: skip

    def freeze(self, release: str) -> Json:
        """Copy the kernel that runs and its initramfs; what has to be kept in the state."""
        disk.remove_tree(self.places.frozen)
        disk.copy(self.places.kernel(release), self.places.frozen / "vmlinuz")
        disk.copy(self.places.initrd(release), self.places.frozen / "initrd.img")
        return {"grub_uuid": probe.grub_probe("fs_uuid", self.places.grub),
                "grub_folder": _as_grub_sees(self.places.root)}  # fmt: skip

    def hold(self) -> None:
        """Choose the last known good system: whatever was tried is not tried again by itself."""
        self._set("hold")

    def choose(self) -> None:
        """Choose the trial, for one boot."""
        self._set("try")
        disk.settle(self.places.boot)

    def refresh(self) -> None:
        """Let the distribution write its menu anew; where it is made of entries there is none.

        grub2-mkconfig would write its own idea of the arguments into every entry.
        """
        if not self.places.grub.entries:
            units.make_menu()
            disk.settle(self.places.boot)

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
        root, grub = self.places.root, self.places.grub
        if grub.entries:
            return bls.stock(root, release)
        config = reading.text(root, grub.config)
        if release:
            kernel, words = grubcfg.release_entry(config, release)
        else:
            kernel, words = grubcfg.default_entry(config, reading.text(root, grub.environment))
        return Path(kernel).name, words

    def show(self, data: Json) -> None:
        """Write our part of the menu, if GRUB's own checker takes it."""
        folder, places = data["grub_folder"], self.places

        def entry(system: Json, kernel: str, initrd: str) -> menu.Entry:
            return menu.Entry(f"{folder}/{kernel}", f"{folder}/{initrd}", system["words"])

        lkg, trial = data["lkg"], data.get("trial")
        release = trial["release"] if trial else ""
        text = menu.render(
            uuid=data["grub_uuid"],
            env=f"{folder}/stroke/env",
            transaction=data["transaction"],
            lkg=entry(lkg, "stroke/vmlinuz", "stroke/initrd.img"),
            trial=entry(trial, places.kernel(release).name, places.initrd(release).name)
            if trial
            else None,
        )
        with contextlib.suppress(FileNotFoundError):
            done = subprocess.run([f"{places.grub.tools}-script-check"], input=text, text=True,
                                  capture_output=True, timeout=60, check=False)  # fmt: skip
            if done.returncode != 0:
                raise Refused("STK-420", f"GRUB does not take its menu: {done.stderr.strip()}")
        disk.write(places.custom, text.encode("utf-8"))
        units.label(places.frozen, places.custom)
        disk.settle(self.places.boot)

    def close(self, data: Json) -> None:
        """Leave the choice to the distribution's own menu again."""
        if self.open():
            disk.settle(self.places.boot)  # the menu that starts from here on is on the disk first
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


def _as_grub_sees(root: Path) -> str:
    """The folder /boot from the top of its file system."""
    return "" if reading.mount_of(root, "/boot")["mount"] == "/boot" else "/boot"
