"""A host for the boot guard that systemd-boot starts: its partition, its variables, and boots."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from tests.boot import systemd_boot
from tests.unit.guard_host import CODE_OF, OLD, SMALLEST, STOCK

ESP = "boot/efi"
MOUNTS = """\
/dev/vda2 / ext4 rw 0 0
efivarfs /sys/firmware/efi/efivars efivarfs rw 0 0
/dev/vda1 /boot/efi vfat rw,umask=0077 0 0
"""
MACHINE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


class SystemdHost:
    """What survives a power cut is the directory; what runs is the command line."""

    def __init__(self, root: Path, *, default: str = "", configured: str = "") -> None:
        self.root = root
        self.esp = root / ESP
        self.line, self.running = STOCK, OLD
        for path in ("run/systemd/system", "etc/systemd/system", "proc/sys/kernel", "proc/self",
                     f"lib/modules/{OLD}", f"{ESP}/loader/entries"):  # fmt: skip
            (root / path).mkdir(parents=True)
        (root / f"lib/modules/{OLD}/modules.dep").write_text("x\n")
        (root / "proc/self/mounts").write_text(MOUNTS)
        (root / "etc/machine-id").write_text(f"{MACHINE}\n")
        told = f"default {configured}\n" if configured else ""
        (self.esp / "loader/loader.conf").write_text(f"timeout 3\n{told}")
        self.install(OLD)
        self.variable("LoaderInfo", "systemd-boot 257.9-1~deb13u1")
        systemd_boot.variable(root, "LoaderFeatures").write_bytes(
            b"\6\0\0\0" + struct.pack("<Q", 0x3FFF)
        )
        self.variable("LoaderEntryDefault", default)
        self.variable("LoaderEntrySelected", f"debian-{OLD}.conf")
        self._proc()

    def variable(self, name: str, value: str) -> None:
        systemd_boot.put(self.root, name, value)

    def told(self, name: str) -> str:
        return systemd_boot.get(self.root, name)

    def install(self, release: str, words: str = STOCK, size: int = 2 * SMALLEST) -> None:
        """What kernel-install does for a kernel."""
        folder = self.esp / "debian" / release
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("linux", f"initrd.img-{release}"):
            with (folder / name).open("wb") as handle:
                handle.write(release.encode())
                handle.truncate(size)
        (self.esp / f"loader/entries/debian-{release}.conf").write_text(
            f"title      Debian\nversion    {release}\nmachine-id {MACHINE}\nsort-key   debian\n"
            f"options    {words}\nlinux      /debian/{release}/linux\n"
            f"initrd     /debian/{release}/initrd.img-{release}\n"
        )

    def arguments(self, words: str) -> None:
        """What boot_params does: the words of every entry that is not the guard's."""
        for path in (self.esp / "loader/entries").glob("debian-*"):
            text = re.sub(r"^options .*$", f"options    {words}", path.read_text(), flags=re.M)
            path.write_text(text)

    def entries(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.esp / "loader/entries").iterdir()}

    def _proc(self) -> None:
        (self.root / "proc/cmdline").write_text(self.line + "\n")
        (self.root / "proc/sys/kernel/osrelease").write_text(self.running + "\n")

    @property
    def guard(self) -> Any:
        return CODE_OF["guard"].Guard(self.places, self.line)

    @property
    def places(self) -> Any:
        return CODE_OF["state"].Places(self.root)

    @property
    def state(self) -> dict[str, Any]:
        return dict(CODE_OF["state"].load(self.places))

    def boot(self, *, can_rename: bool = True, can_unset: bool = True) -> str:
        """Start what systemd-boot starts with these files and variables."""
        name, kernel, words = systemd_boot.start(
            self.root, [self.esp], can_rename=can_rename, can_unset=can_unset
        )
        self.running = kernel.read_bytes().rstrip(b"\0").decode()
        self.line = " ".join(words)
        self._proc()
        kind = re.match(r"stroke-(lkg|trial)", name)
        return kind[1] if kind else "stock"

    def left(self) -> list[str]:
        """Files of the guard."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*")
            if path.is_file() and "stroke" in str(path.relative_to(self.root))
        )  # fmt: skip
