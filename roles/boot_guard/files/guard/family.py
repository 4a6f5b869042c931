"""GRUB as two families of distributions ship it: where its menu is, how its tools are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Family:
    """What differs. `entries`: the menu is made of boot entries (BLS) when GRUB starts."""

    folder: str
    tools: str
    initrd: str
    entries: bool

    @property
    def config(self) -> str:
        return f"{self.folder}/grub.cfg"

    @property
    def custom(self) -> str:
        """What /etc/grub.d/41_custom has GRUB read last, in both families."""
        return f"{self.folder}/custom.cfg"

    @property
    def environment(self) -> str:
        return f"{self.folder}/grubenv"


DEBIAN = Family("/boot/grub", "grub", "initrd.img-{}", entries=False)
FEDORA = Family("/boot/grub2", "grub2", "initramfs-{}.img", entries=True)


def of(root: Path) -> Family:
    """The family of a host; some of Fedora's have a link /boot/grub to their folder."""
    debian, fedora = (root / one.config.lstrip("/") for one in (DEBIAN, FEDORA))
    linked = debian.is_file() and fedora.is_file() and debian.samefile(fedora)
    return FEDORA if fedora.is_file() and (linked or not debian.is_file()) else DEBIAN
