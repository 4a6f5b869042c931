"""Hosts for the boot guard whose GRUB makes its menu of boot entries: Fedora 43, RHEL 9 and 10."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guard_host import CODE_OF, ORDER, SMALLEST, Host, surroundings

# A letter comes first: GRUB outside of Fedora takes a name that begins with a digit for a number.
MACHINE = "f01e2d3c4b5a69788796a5b4c3d2e1f0"
UUID = "1234-abcd"
WORDS = "root=UUID=abc ro console=ttyS0 audit=0 amd_iommu=on rhgb quiet"
# What boot_params makes of them.
PERMANENT = "root=UUID=abc ro console=ttyS0 audit=0 rhgb quiet amd_iommu=off ttm.pages_limit=5"
# Of grub2-probe.
ANSWERS = {"abstraction": "", "fs": "ext2", "fs_uuid": UUID}
# As grub2-mkconfig writes it, without what is about screens and files of modules.
CONFIG = """\
### BEGIN /etc/grub.d/00_header ###
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
if [ x$feature_timeout_style = xy ] ; then
  set timeout_style=menu
  set timeout=5
fi
### END /etc/grub.d/00_header ###
### BEGIN /etc/grub.d/08_fallback_counting ###
insmod increment
if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then
  if  [ "${boot_counter}" = "0" -o "${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
### END /etc/grub.d/08_fallback_counting ###
### BEGIN /etc/grub.d/10_linux ###
search --no-floppy --fs-uuid --set=root 1234-abcd
# The blscfg command parses the BootLoaderSpec files stored in /boot/loader/entries
if [ -z "${kernelopts}" ]; then
  set kernelopts="root=UUID=abc ro fallback "
fi

insmod blscfg
blscfg
### END /etc/grub.d/10_linux ###
### BEGIN /etc/grub.d/30_uefi-firmware ###
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
### END /etc/grub.d/30_uefi-firmware ###
### BEGIN /etc/grub.d/41_custom ###
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
### END /etc/grub.d/41_custom ###
"""
TUNED = """\
### BEGIN /etc/grub.d/00_tuned ###
set tuned_params=""
set tuned_initrd=""
### END /etc/grub.d/00_tuned ###
"""
STUB = """\
search --no-floppy --root-dev-only --fs-uuid --set=dev 1234-abcd
set prefix=($dev)/grub2
export $prefix
configfile $prefix/grub.cfg
"""
ENTRY = """\
title {title} ({release})
version {release}
linux {folder}/vmlinuz-{release}
initrd {folder}/initramfs-{release}.img{initrd}
options {words}
grub_users $grub_users
grub_arg --unrestricted
grub_class fedora
"""


@dataclass(frozen=True)
class Kind:
    """A distribution as its installer leaves it."""

    title: str
    old: str
    new: str
    vendor: str = ""  # its folder on the system partition; empty: BIOS
    apart: bool = True  # whether /boot is a file system of its own
    options: str = "{}"
    initrd: str = ""
    config: str = CONFIG


FEDORA43 = Kind("Fedora Linux", "6.17.1-300.fc43.x86_64", "6.17.12-300.fc43.x86_64", "fedora")
EL9 = Kind(
    "AlmaLinux", "5.14.0-570.9.1.el9_6.x86_64", "5.14.0-570.49.1.el9_6.x86_64",
    options="{} $tuned_params", initrd=" $tuned_initrd", config=TUNED + CONFIG,
)  # fmt: skip
# Upgraded from 8: the entries take their arguments from grubenv.
EL9_UPGRADED = Kind(
    "Rocky Linux", "5.14.0-570.9.1.el9_6.x86_64", "5.14.0-570.49.1.el9_6.x86_64", "rocky",
    options="$kernelopts $tuned_params", config=TUNED + CONFIG,
)  # fmt: skip
EL10 = Kind(
    "Red Hat Enterprise Linux", "6.12.0-55.9.1.el10_0.x86_64", "6.12.0-55.32.1.el10_0.x86_64",
    "redhat", apart=False, options="{} $tuned_params",
)  # fmt: skip
KINDS = {"fedora43": FEDORA43, "el9": EL9, "el9-upgraded": EL9_UPGRADED, "el10": EL10}


class BlsHost(Host):
    """What survives a power cut is the directory; what runs is the command line."""

    def __init__(self, root: Path, kind: Kind = FEDORA43) -> None:
        self.root, self.kind = root, kind
        self.running = kind.old
        self.line = f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{kind.old} {WORDS}"
        for path in ("boot/grub2", "boot/loader/entries", "run/systemd/system", "proc/self",
                     "etc/systemd/system", "etc/default", "proc/sys/kernel",
                     f"lib/modules/{kind.old}"):  # fmt: skip
            (root / path).mkdir(parents=True)
        (root / f"lib/modules/{kind.old}/modules.dep").write_text("x\n")
        (root / "etc/machine-id").write_text(f"{MACHINE}\n")
        (root / "etc/default/grub").write_text("GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\n")
        mounts = "/dev/vda3 / xfs rw 0 0\n" + "/dev/vda2 /boot ext4 rw 0 0\n" * kind.apart
        (root / "proc/self/mounts").write_text(
            mounts if kind.apart else mounts.replace("xfs", "ext4")
        )
        (root / "boot/grub2/grub.cfg").write_text(kind.config)
        if kind.vendor:
            (root / "sys/firmware/efi").mkdir(parents=True)
            (root / f"boot/efi/EFI/{kind.vendor}").mkdir(parents=True)
            (root / f"boot/efi/EFI/{kind.vendor}/grub.cfg").write_text(STUB)
        self.environment(kernelopts=WORDS)
        self.entry(f"0-rescue-{MACHINE}", WORDS, f"{MACHINE}-0-rescue")
        self.add(kind.old)
        self._proc()

    def environment(self, **values: str) -> None:
        """What grubenv has besides: Fedora's own marks, for the menu that hides itself."""
        known = {"boot_success": "1", "boot_indeterminate": "0", "menu_auto_hide": "1", **values}
        text = "".join(f"{name}={value}\n" for name, value in known.items() if value)
        block = f"# GRUB Environment Block\n{text}".ljust(1024, "#")
        (self.root / "boot/grub2/grubenv").write_text(block)
        self.known = {name: value for name, value in values.items() if value}

    def install(self, release: str, size: int = 2 * SMALLEST) -> None:
        for name in (f"vmlinuz-{release}", f"initramfs-{release}.img"):
            with (self.root / "boot" / name).open("wb") as handle:
                handle.write(release.encode())
                handle.truncate(size)

    def add(self, release: str, words: str = WORDS) -> None:
        """What kernel-install does: files, an entry, and with UPDATEDEFAULT=yes the default."""
        self.install(release)
        self.entry(release, words)
        self.environment(**{**self.known, "saved_entry": f"{MACHINE}-{release}"})

    def entry(self, release: str, words: str, name: str = "") -> Path:
        path = self.root / f"boot/loader/entries/{name or f'{MACHINE}-{release}'}.conf"
        path.write_text(ENTRY.format(
            title=self.kind.title, release=release, folder="" if self.kind.apart else "/boot",
            initrd=self.kind.initrd, words=self.kind.options.format(words),
        ))  # fmt: skip
        return path

    def arguments(self, words: str) -> None:
        """What boot_params makes permanent: in each entry, or where they take it from."""
        for release in (self.kind.old, self.kind.new):
            self.entry(release, words)
        self.environment(**{**self.known, "kernelopts": words})

    def stock(self, release: str, words: str) -> None:
        raise NotImplementedError("this host has entries")


def arm(host: BlsHost) -> None:
    host.add(host.kind.new)
    host.guard.arm({**ORDER, "release": host.kind.new})


def commit(host: BlsHost) -> None:
    host.arguments(PERMANENT)
    host.guard.commit({})


def surrounded(patch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the guard would ask of a running system; `labelled` has what got an SELinux type."""
    told: dict[str, list[Any]] = {"failing": [], "wrong": [], "labelled": []}
    patch.setattr(CODE_OF["probe"], "grub_probe", lambda target, grub: ANSWERS[target])
    patch.setattr(CODE_OF["units"], "label", lambda *paths: told["labelled"].extend(paths))

    def never() -> None:
        raise AssertionError("grub2-mkconfig would write arguments into every entry")

    patch.setattr(CODE_OF["units"], "make_menu", never)
    surroundings(patch, told, {"route": True, "login": []})
    return told


def left(host: BlsHost) -> list[str]:
    paths = (path.relative_to(host.root) for path in host.root.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if "stroke" in str(path) or path.name == "custom.cfg")


def found(host: BlsHost) -> list[str]:
    return list(CODE_OF["probe"].obstacles(host.root, host.kind.old, WORDS))
