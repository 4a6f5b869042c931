"""What keeps a host whose menu is made of boot entries from a transaction."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bls_host import (
    ANSWERS,
    FEDORA43,
    MACHINE,
    STUB,
    UUID,
    BlsHost,
    found,
    left,
    surrounded,
)
from tests.unit.guard_host import CODE_OF, hold

probe = CODE_OF["probe"]
Step = Callable[[BlsHost], object]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    return surrounded(monkeypatch)


def write(path: str, text: str) -> Step:
    def step(host: BlsHost) -> None:
        (host.root / path).parent.mkdir(parents=True, exist_ok=True)
        (host.root / path).write_text(text)

    return step


def edit(path: str, old: str, new: str) -> Step:
    def step(host: BlsHost) -> None:
        text = (host.root / path).read_text()
        assert old in text
        (host.root / path).write_text(text.replace(old, new))

    return step


def linked(host: BlsHost) -> None:
    """As RHEL 8 with UEFI has it."""
    target = host.root / "boot/efi/EFI/fedora/grubenv"
    (host.root / "boot/grub2/grubenv").rename(target)
    (host.root / "boot/grub2/grubenv").symlink_to("../efi/EFI/fedora/grubenv")


CONFIG = "boot/grub2/grub.cfg"
BEGINNING = "boot/efi/EFI/fedora/grub.cfg"
OLD_ENTRY = f"boot/loader/entries/{MACHINE}-{FEDORA43.old}.conf"
OBSTACLES: dict[str, tuple[Step, str]] = {
    "ostree": (write("run/ostree-booted", ""), "ostree manages it"),
    "no entries": (edit(CONFIG, "\nblscfg\n", "\n"), "does not make its menu of boot entries"),
    "no entries soon": (write("etc/default/grub", "GRUB_ENABLE_BLSCFG=false\n"),
                        "does not make its menu of boot entries"),
    "no custom.cfg": (edit(CONFIG, "custom.cfg", "other.cfg"), "41_custom is missing"),
    "custom.cfg": (write("boot/grub2/custom.cfg", "menuentry mine { true }\n"),
                   "/boot/grub2/custom.cfg is somebody else's"),
    "folder": (write("proc/self/mounts", "/dev/a / xfs rw 0 0\n/dev/b /boot ext4 rw 0 0\n"
                     "/dev/c /boot/grub2 ext4 rw 0 0\n"), "/boot/grub2 is on another file system"),
    "journal": (write("proc/self/mounts",
                      "/dev/a / xfs rw 0 0\n/dev/b /boot ext4 rw,data=journal 0 0\n"),
                "journal of /boot/grub2 has data"),
    "blsdir": (edit(CONFIG, "insmod blscfg", 'set blsdir="/root/boot/loader/entries"'),
               "its boot entries are in /root/boot/loader/entries"),
    "system partition": (write("boot/efi/loader/entries/other.conf", "title x\nlinux /x\n"),
                         "takes boot entries from /boot/efi, too"),
    "boot_counter": (lambda host: host.environment(**host.known, boot_counter="2"), "boot_counter"),
    "grubenv": (linked, "/boot/grub2/grubenv is a link"),
    "menu elsewhere": (write(BEGINNING, "load_env\nblscfg\n"),
                       "GRUB has its boot menu in /boot/efi/EFI/fedora/grub.cfg"),
    "another system's": (write(BEGINNING, STUB.replace(UUID, "5678-ef01")),
                         "leads GRUB to /boot/grub2/grub.cfg"),
    "no beginning": (lambda host: (host.root / BEGINNING).unlink(),
                     "leads GRUB to /boot/grub2/grub.cfg"),
    "initramfs": (edit(OLD_ENTRY, ".img\n", ".img /extra.img\n"), "and extra.img"),
    "early initramfs": (lambda host: host.environment(**host.known, early_initrd="ucode.img"),
                        "with ucode.img and"),
    "no kernel": (lambda host: (host.root / f"boot/vmlinuz-{FEDORA43.old}").unlink(), "is missing"),
    "no initramfs": (lambda host: (host.root / f"boot/initramfs-{FEDORA43.old}.img").unlink(),
                     f"/boot/initramfs-{FEDORA43.old}.img of the running kernel is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("step", "why"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_keeps_a_host_from_coming_back_is_named(tmp_path: Path, step: Step, why: str) -> None:
    host = BlsHost(tmp_path / "host")
    assert found(host) == []
    step(host)
    (one,) = found(host)
    assert why in one
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        hold(host)
    assert refused.value.code == "STK-420"
    assert "boot/stroke" not in " ".join(left(host))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"abstraction": "lvm"}, "cannot write to /boot/grub2, which is on lvm"),
        ({"abstraction": "diskfilter mdraid1x"}, "mdraid1x"),
        ({"fs": "btrfs"}, "cannot write to /boot/grub2, which is btrfs"),
        ({"fs": "?"}, "grub2-probe cannot tell where /boot/grub2 is"),
    ],
)
def test_a_place_that_grub_cannot_write_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], why: str
) -> None:
    host = BlsHost(tmp_path / "host")
    monkeypatch.setattr(probe, "grub_probe", lambda target, grub: {**ANSWERS, **answers}[target])
    (one,) = found(host)
    assert why in one


def test_grubs_tools_have_the_names_of_the_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "ext2\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    family = CODE_OF["family"]
    assert probe.grub_probe("fs", family.of(BlsHost(tmp_path / "host").root)) == "ext2"
    probe.grub_probe("fs", family.DEBIAN)
    assert asked == [["grub2-probe", "--target=fs", "/boot/grub2"],
                     ["grub-probe", "--target=fs", "/boot/grub"]]  # fmt: skip


def test_a_link_from_grub_to_grub2_is_fedoras(tmp_path: Path) -> None:
    host = BlsHost(tmp_path / "host")
    (host.root / "boot/grub").symlink_to("grub2")
    assert CODE_OF["family"].of(host.root) == CODE_OF["family"].FEDORA
    assert found(host) == []
