"""Which kernel's initramfs is built anew when only the firmware changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from package_host import initramfs

from tests.unit.test_packages import Fake


def kernels(root: Path, *releases: str) -> None:
    for release in releases:
        (root / "usr/lib/modules" / release).mkdir(parents=True)
        (root / "boot").mkdir(exist_ok=True)
        (root / "boot" / f"vmlinuz-{release}").touch()


def test_the_kernel_that_will_boot_is_the_loaders_default_or_the_newest(tmp_path: Path) -> None:
    kernels(tmp_path, "6.9.9", "6.18.4", "6.18.10")
    assert initramfs.next_release(Fake({}), tmp_path) == "6.18.10"
    grubby = Fake({"default-kernel": "/boot/vmlinuz-6.9.9\n"}, programs=("grubby",))
    assert initramfs.next_release(grubby, tmp_path) == "6.9.9"
    assert initramfs.next_release(Fake({}), tmp_path / "none") is None


@pytest.mark.parametrize(
    ("tool", "image", "command"),
    [
        ("dracut", "initramfs-7.img", "dracut --force {boot}/initramfs-7.img 7"),
        ("dracut", None, "dracut --force {boot}/initramfs-7.img 7"),
        ("initramfs-tools", "initrd.img-7", "update-initramfs -u -k 7"),
        ("initramfs-tools", None, "update-initramfs -c -k 7"),
    ],
)
def test_the_initramfs_is_built_for_it_once(
    tmp_path: Path, tool: str, image: str | None, command: str
) -> None:
    kernels(tmp_path, "7")
    boot, shell = tmp_path / "boot", Fake({})
    if image:
        (boot / image).touch()
        os.utime(boot / image, (50, 50))
        assert initramfs.rebuild(shell, tool, 40, tmp_path) is None  # the packages have built it
    assert initramfs.rebuild(shell, tool, 60, tmp_path) == "7"
    assert shell.calls == [command.format(boot=boot)]


def test_the_kernel_that_a_host_goes_back_to_gets_the_firmware(tmp_path: Path) -> None:
    for release in ("6", "7"):
        (tmp_path / "boot").mkdir(exist_ok=True)
        (tmp_path / "lib/modules" / release).mkdir(parents=True)
        for name in ("vmlinuz", "initrd.img"):
            path = tmp_path / "boot" / f"{name}-{release}"
            path.touch()
            os.utime(path, (50, 50))
    shell = Fake({})
    assert initramfs.rebuild(shell, "initramfs-tools", 60, tmp_path, chosen="6") == "6"
    assert shell.calls == ["update-initramfs -u -k 6"]
