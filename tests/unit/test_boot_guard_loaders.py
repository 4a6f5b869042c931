"""Which boot loaders can take a change back, and which entry of GRUB's own menu starts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot_trees import TREES
from tests.unit.guard_host import CODE_OF, NEW, OLD, ORDER, SMALLEST, STOCK, Host
from tests.unit.plugins import plugin

probe, grubcfg = CODE_OF["probe"], CODE_OF["grubcfg"]
plans = plugin("boot_guard", "boot_guard")
# As grub-mkconfig of Debian 13 writes it; only the UEFI menu has its own way into the firmware.
HEAD = """\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="{default}"
fi
function load_video {{
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}}
"""
ENTRY = """\
{indent}menuentry '{title}' --class debian --class os $menuentry_id_option '{name}' {{
{indent}	load_video
{indent}	insmod gzio
{indent}	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
{indent}	search --no-floppy --fs-uuid --set=root 1234-abcd
{indent}	linux	/boot/vmlinuz-{release} root=UUID=abc ro {words} $vt_handoff
{indent}	initrd	/boot/initrd.img-{release}
{indent}}}
"""
UEFI = """\
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
"""


def debian(default: str, *, uefi: bool = False) -> str:
    """A menu with two kernels: the newest on top, all of them in the submenu."""

    def entry(title: str, name: str, release: str, words: str, indent: str = "") -> str:
        return ENTRY.format(title=title, name=name, release=release, words=words, indent=indent)

    inside = "".join(
        entry(f"Debian, with Linux {release}{mode}", f"gnulinux-{release}-{kind}-abc", release,
              words, "\t")
        for release in (NEW, OLD)
        for mode, kind, words in (("", "advanced", "quiet"),
                                  (" (recovery mode)", "recovery", "single"))
    )  # fmt: skip
    return (
        HEAD.format(default=default)
        + entry("Debian GNU/Linux", "gnulinux-simple-abc", NEW, "quiet")
        + "submenu 'Advanced options for Debian' $menuentry_id_option 'gnulinux-advanced-abc' {\n"
        + inside
        + "}\n"
        + (UEFI if uefi else "")
        + "source $prefix/custom.cfg\n"
    )


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
@pytest.mark.parametrize(
    ("default", "saved", "release", "last"),
    [
        ("0", "", NEW, "quiet"),
        ("1>2", "", OLD, "quiet"),
        ("1>3", "", OLD, "single"),
        ("gnulinux-simple-abc", "", NEW, "quiet"),
        ("gnulinux-advanced-abc>gnulinux-6.12.1-amd64-advanced-abc", "", OLD, "quiet"),
        ("Advanced options for Debian>Debian, with Linux 6.12.1-amd64", "", OLD, "quiet"),
        ("${saved_entry}", "", NEW, "quiet"),
        ("${saved_entry}", "gnulinux-advanced-abc>gnulinux-6.12.1-amd64-advanced-abc", OLD,
         "quiet"),
        ("gnulinux-that-is-gone", "", NEW, "quiet"),  # GRUB takes the first then
        ("1", "", "", ""),  # a submenu waits for somebody
        ("${something_else}", "", "", ""),
    ],
)  # fmt: skip
def test_the_entry_that_starts_is_found_through_submenus(
    default: str, saved: str, release: str, last: str, uefi: bool
) -> None:
    environment = f"# GRUB Environment Block\nsaved_entry={saved}\n###"
    kernel, words = grubcfg.default_entry(debian(default, uefi=uefi), environment)
    assert kernel == (f"/boot/vmlinuz-{release}" if release else "")
    assert words == (["root=UUID=abc", "ro", last] if release else [])


def test_a_chosen_release_has_an_entry_of_its_own() -> None:
    menu = debian("0")
    for release in (NEW, OLD):
        kernel, words = grubcfg.release_entry(menu, release)
        assert (kernel, words[-1]) == (f"/boot/vmlinuz-{release}", "quiet")
    assert grubcfg.release_entry(menu, "6.12.1") == ("", [])  # a part of a name is another kernel
    flat = menu.replace("submenu 'Advanced", "if true; then # 'Advanced")
    assert grubcfg.release_entry(flat, OLD)[0] == f"/boot/vmlinuz-{OLD}"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A Debian with GRUB; what its tools would say of the place of /boot is always the best."""
    answers = {"abstraction": "", "fs": "ext2", "fs_uuid": "1234-abcd"}
    monkeypatch.setattr(probe, "grub_probe", lambda target, path: answers[target])
    monkeypatch.setattr(CODE_OF["strictness"], "_systemd", lambda *words: "")
    monkeypatch.setattr(CODE_OF["health"], "baseline", lambda: {"route": True, "login": []})
    monkeypatch.setattr(CODE_OF["guard"], "SMALLEST_BYTES", SMALLEST)
    monkeypatch.setattr(CODE_OF["units"], "reload", lambda: None)
    monkeypatch.setattr(CODE_OF["units"], "make_menu", lambda: None)
    monkeypatch.setattr(CODE_OF["disk"], "settle", lambda path: None)
    return Host(tmp_path / "host")


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
def test_the_trial_is_what_the_distribution_would_start(host: Host, uefi: bool) -> None:
    """With what an administrator has set since the last boot, which becomes permanent, too."""
    config = host.root / "boot/grub/grub.cfg"
    config.write_text(debian("0", uefi=uefi))
    host.install(NEW)
    host.guard.hold({})
    host.guard.arm(ORDER)
    assert host.state["permanent"] == [
        "root=UUID=abc", "ro", "quiet", "amd_iommu=off", "ttm.pages_limit=5"]  # fmt: skip
    assert (host.boot(), host.running) == ("trial", NEW)
    assert "audit=0" not in host.line, "the last known good system has it, the menu has not"


def test_a_chosen_release_is_tried_by_its_own_entry_and_only_then_the_default(host: Host) -> None:
    """Going back: the menu starts the newest kernel until the older one has proven itself."""
    config = host.root / "boot/grub/grub.cfg"
    host.install(NEW)
    host.running, host.line = NEW, f"BOOT_IMAGE=/boot/vmlinuz-{NEW} root=UUID=abc ro quiet"
    host._proc()
    config.write_text(debian("0"))
    host.guard.hold({})
    order = {**ORDER, "release": OLD}
    with pytest.raises(CODE_OF["guard"].Refused, match="menu's default"):
        host.guard.arm(order)
    host.guard.arm({**order, "chosen": True})
    assert host.boot() == "trial"
    assert (host.running, "amd_iommu=off" in host.line.split()) == (OLD, True)
    CODE_OF["state"].save(host.places, host.guard.settled(), "confirmed")
    with pytest.raises(CODE_OF["guard"].Refused, match=f"vmlinuz-{NEW} is the boot menu's default"):
        host.guard.commit({})
    wanted = "amd_iommu=off ttm.pages_limit=5"
    pinned = debian(f"gnulinux-advanced-abc>gnulinux-{OLD}-advanced-abc")
    config.write_text(pinned.replace("ro quiet", f"ro quiet {wanted}"))
    host.guard.commit({})
    assert host.state["phase"] == "committed"


def test_a_chosen_release_without_an_entry_is_not_tried(host: Host) -> None:
    host.guard.hold({})
    host.install("6.1.9")
    (host.root / "boot/grub/grub.cfg").write_text(debian("0"))
    with pytest.raises(CODE_OF["guard"].Refused, match=r"no entry of its own for vmlinuz-6\.1\.9"):
        host.guard.arm({**ORDER, "release": "6.1.9", "chosen": True})
    assert host.boot() == "lkg"


@pytest.mark.parametrize("default", ["1>2", "${something_else}"])
def test_a_menu_that_is_pinned_is_told_before_the_reboot(host: Host, default: str) -> None:
    (host.root / "boot/grub/grub.cfg").write_text(debian(default))
    host.install(NEW)
    host.guard.hold({})
    with pytest.raises(CODE_OF["guard"].Refused, match="is the boot menu's default") as refused:
        host.guard.arm(ORDER)
    assert refused.value.code == "STK-512"
    assert (host.boot(), host.running) == ("lkg", OLD)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ("boot-systemd-debian", "systemd-boot"),
        ("boot-systemd-fedora", "systemd-boot"),
        ("strix-halo-systemd-boot", "systemd-boot"),
        ("container", "it is a container"),
        ("no-amd-gpu", "not known"),
    ],
)
def test_other_loaders_are_named_and_need_somebody_at_hand(tree: str, words: str) -> None:
    (why,) = probe.obstacles(TREES / tree, OLD, STOCK)
    assert words in why
    asked = {"obstacles": [why]}
    assert plans.boot_mode(asked, False) == "refused"
    (problem,) = plans.boot_problem(asked, False)
    assert problem["code"] == "STK-420" and "boot_guard_attended" in problem["hint"]
    agreed = plans.boot_plan(asked, True)
    assert agreed["mode"] == "attended" and why in " ".join(agreed["sentences"])


@pytest.mark.parametrize(
    ("said", "fits"), [("systemd-boot 257.8-1", False), ("GRUB 2.12", True), ("rEFInd 0.14", False)]
)
def test_what_the_loader_says_of_itself_counts_before_its_files(
    host: Host, said: str, fits: bool
) -> None:
    """A grub.cfg may be left over from before somebody changed the loader."""
    place = CODE_OF["efivars"].place(host.root, "LoaderInfo")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\x06\0\0\0" + f"{said}\0".encode("utf-16-le"))
    found = probe.obstacles(host.root, OLD, STOCK)
    assert (found == []) is fits
    assert fits or said.split()[0] in found[0]


def test_kernels_on_another_file_system_than_the_menu_are_no_place_for_copies(host: Host) -> None:
    (host.root / "proc/self").mkdir()
    mounts = "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /boot/grub ext4 rw 0 0\n"
    (host.root / "proc/self/mounts").write_text(mounts)
    (why,) = probe.obstacles(host.root, OLD, STOCK)
    assert "another file system" in why


def test_a_plan_says_what_the_watchdog_is() -> None:
    with_device = plans.boot_plan({"obstacles": [], "watchdog": True}, False)["sentences"]
    without = plans.boot_plan({"obstacles": [], "watchdog": False}, False)["sentences"]
    assert len(with_device) == 1
    assert "no watchdog device" in without[1]


@pytest.mark.parametrize(
    ("answer", "decided", "confirmed", "ended", "why"),
    [
        ({"running": "trial", "phase": "trial"}, False, False, False, "does not say why"),
        ({"running": "trial", "phase": "healthy"}, False, False, False, "does not say why"),
        ({"running": "trial", "phase": "confirmed"}, True, True, True, "does not say why"),
        ({"running": "trial", "phase": "reverting", "why": "no GPU"}, True, False, False, "no GPU"),
        ({"running": "lkg", "phase": "reverted", "why": "no GPU"}, True, False, True, "no GPU"),
        ({"running": "", "phase": "armed"}, True, False, True, "does not say why"),
        ({"problem": {"code": "STK-511", "what": "another run"}}, True, False, True, "another run"),
        (None, True, False, False, "does not say why"),
    ],
)
def test_what_a_host_answers_decides_whether_it_is_asked_again(
    answer: dict[str, Any] | None, decided: bool, confirmed: bool, ended: bool, why: str
) -> None:
    """No answer: the connection was lost."""
    said = "" if answer is None else json.dumps(answer)
    assert plans.boot_decided(said) is decided
    assert plans.boot_confirmed(said) is confirmed
    assert plans.boot_ended(said) is ended
    assert why in plans.boot_reason(said)


def test_modules_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    (tmp_path / "modules/kernel").mkdir(parents=True)
    (tmp_path / "modules/kernel/amdgpu.ko").write_text("x")
    (tmp_path / "modules/build").symlink_to("/usr/src/nowhere")
    monkeypatch.setattr(os, "link", link)
    CODE_OF["disk"].link_tree(tmp_path / "modules", tmp_path / "var/kept")
    assert (tmp_path / "var/kept/kernel/amdgpu.ko").read_text() == "x"
    assert str((tmp_path / "var/kept/build").readlink()) == "/usr/src/nowhere"
