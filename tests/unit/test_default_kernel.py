"""The drop-in that chooses a kernel, read by GRUB's own scripts, and what the guard makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.guard_host import CODE_OF
from tests.unit.plugins import plugin
from tests.unit.test_kernel_and_boot import drop_in

boot_params = plugin("boot_params", "boot_params")
grubcfg = CODE_OF["grubcfg"]
OLD, NEW = "6.12.107+deb13-amd64", "7.2.12+deb13-amd64"
SCRIPT, HELPERS = Path("/etc/grub.d/10_linux"), Path("/usr/share/grub/grub-mkconfig_lib")
UUID = "0a1b-2c3d"
# What grub-mkconfig hands to its scripts; grub-probe knows no more than this test tells it.
MENU = """
set -e
. "$1"
. "$2"
export GRUB_DEFAULT GRUB_DEVICE GRUB_DEVICE_UUID GRUB_DISABLE_SUBMENU GRUB_DISABLE_UUID
export GRUB_DISABLE_LINUX_UUID=true GRUB_CMDLINE_LINUX GRUB_CMDLINE_LINUX_DEFAULT
export GRUB_DISTRIBUTOR=Debian GRUB_DISABLE_OS_PROBER=true GRUB_ACTUAL_DEFAULT="$GRUB_DEFAULT"
printf 'set default="%s"\n' "$GRUB_DEFAULT"
sh "$3"
"""


def menu(root: Path, kernel: str, admin: str, uuid: str = UUID) -> str:
    """The menu of a host with two kernels, made by Debian's own script in a copy."""
    boot, tools = root / "boot", root / "tools"
    for folder in (boot, tools):
        folder.mkdir()
    for release in (OLD, NEW):
        (boot / f"vmlinuz-{release}").write_text("x")
        (boot / f"initrd.img-{release}").write_text("x")
    probe = tools / "grub-probe"
    # A device without a UUID: the tool fails, as it does on some.
    probe.write_text(f"""#!/bin/sh
case "$*" in
*--target=fs_uuid*) [ -n "{uuid}" ] && echo "{uuid}" ;;
*--target=fs*) echo ext2 ;;
*--target=device*) echo "/dev/a disk" ;;
*) echo "" ;;
esac
""")
    probe.chmod(0o755)
    script = tools / "10_linux"
    script.write_text(SCRIPT.read_text().replace("/boot/", f"{boot}/"))
    (tools / "admin").write_text(admin)
    (tools / "90-stroke.cfg").write_text(drop_in(["amd_iommu=off"], ["amd_iommu"], kernel))
    done = subprocess.run(
        ["sh", "-c", MENU, "sh", tools / "admin", tools / "90-stroke.cfg", script],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "pkgdatadir": os.fspath(HELPERS.parent),
             "grub_probe": os.fspath(probe), "GRUB_DEVICE": "/dev/a disk",
             "GRUB_DEVICE_UUID": uuid, "LC_ALL": "C"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(
    not (SCRIPT.is_file() and HELPERS.is_file()), reason="10_linux is not installed (grub-common)"
)
@pytest.mark.parametrize(
    ("admin", "uuid"),
    [
        ("", UUID),
        ("GRUB_DEFAULT=saved", UUID),
        ("GRUB_DISABLE_SUBMENU=y", UUID),
        ("GRUB_DISABLE_SUBMENU=true", UUID),
        ("GRUB_DISABLE_UUID=true", UUID),
        ("", ""),
    ],
    ids=["stock", "saved", "no submenu", "no submenu in other words", "UUIDs off", "no UUID"],
)
def test_the_chosen_kernel_is_what_the_menu_starts(tmp_path: Path, admin: str, uuid: str) -> None:
    text = menu(tmp_path, OLD, admin, uuid)
    kernel, words = grubcfg.default_entry(text)
    assert Path(kernel).name == f"vmlinuz-{OLD}", text
    assert "amd_iommu=off" in words and "single" not in words
    assert (kernel, words) == grubcfg.release_entry(text, OLD)
    assert grubcfg.release_entry(text, NEW)[0].endswith(NEW)


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_without_a_choice_the_admins_default_stays(tmp_path: Path) -> None:
    script = tmp_path / "90-stroke.cfg"
    script.write_text(drop_in(["a=1"], ["a"]))
    told = subprocess.check_output(
        ["sh", "-euc", '. "$0"; echo "$GRUB_DEFAULT"', script],
        env={"GRUB_DEFAULT": "saved", "GRUB_CMDLINE_LINUX": "", "GRUB_CMDLINE_LINUX_DEFAULT": "",
             "PATH": "/usr/bin:/bin"}, text=True,
    )  # fmt: skip
    assert told == "saved\n"
    assert "GRUB_DEFAULT" not in drop_in(["a=1"], ["a"])


@pytest.mark.parametrize(("kernel", "found"), [(OLD, OLD), ("", ""), ("6.17-advanced-1", None)])
def test_what_the_drop_in_chooses_is_read_back(kernel: str, found: str | None) -> None:
    seen = {boot_params.DROPIN: {"content": drop_in(["a=1"], ["a"], kernel)}}
    told = boot_params.pinned_kernel({"seen": {"paths": seen}})
    assert told == (kernel if found is None else found)


@pytest.mark.parametrize("facts", [None, {}, {"seen": {}}, {"seen": {"paths": {}}}])
def test_nothing_is_chosen_where_nobody_looked(facts: dict[str, object] | None) -> None:
    assert boot_params.pinned_kernel(facts) == ""


def test_only_strokes_own_drop_in_counts() -> None:
    text = 'GRUB_DEFAULT="gnulinux-advanced-x>gnulinux-6.1-advanced-x"'
    for path in (boot_params.DROPIN, "/etc/default/grub.d/99-stroke-too.cfg"):
        assert boot_params.pinned_kernel({"seen": {"paths": {path: {"content": text}}}}) == ""
