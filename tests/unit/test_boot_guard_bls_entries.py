"""Which boot entry GRUB of Fedora and RHEL starts, and with which kernel and arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.bls_host import CONFIG, EL9, FEDORA43, MACHINE, TUNED, WORDS, BlsHost
from tests.unit.guard_host import CODE_OF

bls = CODE_OF["bls"]
OLD, NEW = FEDORA43.old, FEDORA43.new
OTHER = "9876543210fedcba9876543210fedcba"  # above this machine's in the menu
MINE = "menuentry 'Mine' --id mine {\n\tlinux /mine\n}\n"


@pytest.fixture
def host(tmp_path: Path) -> BlsHost:
    made = BlsHost(tmp_path / "host")
    made.add(NEW)
    return made


def started(host: BlsHost, release: str = "") -> str:
    return str(bls.stock(host.root, release)[0])


def words(host: BlsHost) -> str:
    return " ".join(bls.stock(host.root)[1])


@pytest.mark.parametrize(
    ("saved", "release"),
    [
        (f"{MACHINE}-{OLD}", OLD),
        (f"{MACHINE}-{NEW}", NEW),
        (f"Fedora Linux ({OLD})", OLD),
        ("", NEW),
        ("0", NEW),
        ("1", OLD),
        (f"{MACHINE}-6.1-that-is-gone", NEW),
        ("99", NEW),
    ],
)
def test_the_saved_entry_starts_or_else_the_newest(host: BlsHost, saved: str, release: str) -> None:
    host.environment(saved_entry=saved)
    assert started(host) == f"vmlinuz-{release}"


@pytest.mark.parametrize("saved", ["3", "uefi-firmware", "UEFI Firmware Settings"])
def test_an_entry_of_another_kind_is_nobodys_kernel(host: BlsHost, saved: str) -> None:
    """Number 2 is the one for rescue, and the firmware's comes after it."""
    host.environment(saved_entry=saved)
    assert bls.stock(host.root) == ("", [])


def test_entries_in_front_of_them_take_the_first_numbers(host: BlsHost) -> None:
    place = host.root / "boot/grub2/grub.cfg"
    place.write_text(CONFIG.replace("insmod blscfg", f"{MINE}insmod blscfg"))
    host.environment(saved_entry="0")
    assert started(host) == ""
    host.environment(saved_entry=f"{MACHINE}-{OLD}")
    assert started(host) == f"vmlinuz-{OLD}"


@pytest.mark.parametrize(("default", "release"), [("0", NEW), ("1", OLD), ("${mine}", "")])
def test_a_default_that_grub_cfg_names_is_no_saved_one(
    host: BlsHost, default: str, release: str
) -> None:
    """GRUB_DEFAULT=0 in /etc/default/grub, say."""
    host.environment(saved_entry=f"{MACHINE}-{OLD}" if default == "0" else f"{MACHINE}-{NEW}")
    place = host.root / "boot/grub2/grub.cfg"
    place.write_text(CONFIG.replace("${saved_entry}", default))
    assert started(host) == (f"vmlinuz-{release}" if release else "")


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("6.17.12-300.fc43.x86_64", "6.17.9-300.fc43.x86_64"),
        ("6.17.1-300.fc43.x86_64", "6.17.0-300.fc43.x86_64"),
        ("5.14.0-570.49.1.el9_6.x86_64", "5.14.0-570.el9.x86_64"),
        ("5.14.0-570.el9.x86_64", "5.14.0-570~rc1.el9.x86_64"),
        ("6.17.12-301.fc43.x86_64", "6.17.12-300.fc43.x86_64"),
        ("6.17.12-300.fc43.x86_64+debug", "6.17.12-300.fc43.x86_64"),
    ],
)
def test_entries_are_in_the_order_of_package_versions(
    tmp_path: Path, newer: str, older: str
) -> None:
    for number, releases in enumerate(((newer, older), (older, newer))):
        host = BlsHost(tmp_path / str(number))
        for path in (host.root / "boot/loader/entries").glob("*"):
            path.unlink()
        for release in releases:
            host.add(release)
        host.environment()
        assert [entry.release for entry in bls.load(host.root)] == [newer, older]
        assert started(host) == f"vmlinuz-{newer}"


def test_the_name_counts_before_the_version_and_that_before_the_release(host: BlsHost) -> None:
    """A machine's name is in front: 9… of another machine is above 0… of this one."""
    host.entry("6.1.0-1.fc43.x86_64", WORDS, "9999-6.1.0-1.fc43.x86_64")
    names = [bls.name(entry) for entry in bls.load(host.root)]
    assert names == [
        "9999-6.1.0-1.fc43.x86_64", f"{MACHINE}-{NEW}", f"{MACHINE}-{OLD}", f"{MACHINE}-0-rescue",
    ]  # fmt: skip


def test_a_release_is_looked_for_among_this_systems_entries(host: BlsHost) -> None:
    other = host.entry(OLD, "root=/dev/other", f"{OTHER}-{OLD}")
    host.environment(saved_entry=f"{MACHINE}-{NEW}")
    kernel, found = bls.stock(host.root, OLD)
    assert (kernel, found) == (f"vmlinuz-{OLD}", WORDS.split())
    other.write_text(other.read_text().replace("/vmlinuz", "/other/vmlinuz"))
    host.environment(saved_entry=f"{OTHER}-{OLD}")
    assert started(host) == f"/other/vmlinuz-{OLD}", "not our kernel, whatever it is called"


@pytest.mark.parametrize(
    ("options", "environment", "config", "expected"),
    [
        ("$kernelopts", {"kernelopts": "root=a ro "}, CONFIG, "root=a ro"),
        ("$kernelopts", {}, CONFIG, "root=UUID=abc ro fallback"),
        ("root=b ro $tuned_params", {}, CONFIG, "root=b ro"),
        ("root=b $tuned_params ro", {"tuned_params": "skew_tick=1 x"}, CONFIG,
         "root=b skew_tick=1 x ro"),
        ("root=b $tuned_params", {"tuned_params": "old=1"}, TUNED + CONFIG, "root=b"),
        ("root=b $tuned_params", {}, TUNED.replace('params=""', 'params="new=1"') + CONFIG,
         "root=b new=1"),
        ('root=b dyndbg="file ec.c +p; file x.c"', {}, CONFIG,
         'root=b dyndbg="file ec.c +p; file x.c"'),
        ("root=b stroke.lkg=12 BOOT_IMAGE=x", {}, CONFIG, "root=b"),
        ("memmap=4G$4G root=b", {}, CONFIG, "memmap=4G root=b"),
    ],
)  # fmt: skip
def test_variables_are_what_grub_makes_of_them(
    host: BlsHost, options: str, environment: dict[str, str], config: str, expected: str
) -> None:
    (host.root / "boot/grub2/grub.cfg").write_text(config)
    host.entry(NEW, options)
    host.environment(**environment)
    assert words(host) == expected


def test_an_entry_without_options_takes_those_of_all(host: BlsHost) -> None:
    path = host.entry(NEW, "gone")
    path.write_text(path.read_text().replace("options gone\n", ""))
    host.environment(default_kernelopts="root=c ro")
    assert words(host) == "root=c ro"


def test_an_entry_ends_for_grub_at_an_empty_line(host: BlsHost) -> None:
    path = host.entry(NEW, "root=b ro")
    text = path.read_text()
    path.write_text(text.replace("options", "\noptions"))
    host.environment()
    assert words(host) == ""
    path.write_text(text.replace("options", "#none\noptions"))
    assert words(host) == "root=b ro"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (".img", ".img $tuned_initrd", "with initramfs-{}.img and overlay.img"),
        (".img", ".img\ninitrd /more.img", "with initramfs-{}.img and more.img"),
        ("initrd /initramfs-{}.img", "# none", "with no initramfs"),
        ("options", "options quiet\noptions", "with several lines of options"),
    ],
)
def test_what_the_trial_would_not_be_is_no_kernel_of_that_name(
    host: BlsHost, old: str, new: str, said: str
) -> None:
    path = host.entry(NEW, WORDS)
    text = path.read_text()
    assert old.format(NEW) in text
    path.write_text(text.replace(old.format(NEW), new))
    host.environment(tuned_initrd="/overlay.img")
    assert started(host) == f"vmlinuz-{NEW} {said.format(NEW)}"


def test_an_entry_whose_kernel_is_gone_is_shown_all_the_same(host: BlsHost) -> None:
    (host.root / f"boot/vmlinuz-{NEW}").unlink()
    assert started(host) == f"vmlinuz-{NEW}", "GRUB does not look before it loads"


def test_files_that_are_no_entries_are_left_out(host: BlsHost) -> None:
    folder = host.root / "boot/loader/entries"
    for name in (f".{MACHINE}-9.conf", f"{MACHINE}-9.conf.rpmsave", "note.txt"):
        (folder / name).write_text("title x\nlinux /x\n")
    (folder / f"{MACHINE}-9-9.conf").write_text("title without a kernel\n")
    names = [bls.name(entry) for entry in bls.load(host.root)]
    assert names == [f"{MACHINE}-{NEW}", f"{MACHINE}-{OLD}", f"{MACHINE}-0-rescue"]


def test_a_variable_in_an_initramfs_that_is_empty_is_nothing(tmp_path: Path) -> None:
    host = BlsHost(tmp_path / "host", EL9)
    assert started(host) == f"vmlinuz-{EL9.old}"
