"""Which of systemd-boot's entries starts, and which of its hosts can take a change back."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from gpu_host import system
from gpu_host.files import Host as Files

from tests.boot import systemd_boot
from tests.unit.boot_trees import TREES
from tests.unit.guard_host import CODE_OF, NEW, OLD, SMALLEST, STOCK, surroundings
from tests.unit.plugins import plugin
from tests.unit.systemd_host import ESP, MACHINE, SystemdHost

entries, probe, sdboot = CODE_OF["entries"], CODE_OF["probe"], CODE_OF["sdboot"]
plans = plugin("boot_guard", "boot_guard")
EFIVARS = "efivarfs /sys/firmware/efi/efivars efivarfs rw 0 0\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SystemdHost:
    told: dict[str, list[str]] = {"failing": [], "wrong": []}
    surroundings(monkeypatch, told, {"route": True, "login": []})
    return SystemdHost(tmp_path / "host")


def test_versions_are_in_the_order_of_their_specification() -> None:
    """https://uapi-group.org/specifications/specs/version_format_specification/"""
    wanted = ["~", "~rc1", "", "a", "ab", "1~rc1", "1", "1-1", "1^1", "1.0", "1.2", "2", "10",
              "010.1"]  # fmt: skip
    for (low, one), (high, other) in itertools.combinations(enumerate(wanted), 2):
        assert low < high
        assert entries.compare_versions(one, other) < 0, (one, other)
        assert entries.compare_versions(other, one) > 0, (one, other)
    assert entries.compare_versions("6.12.1+deb13-amd64", "6.12.1_deb13-amd64") == 0


@pytest.mark.parametrize("variable", ["", "debian-6*", "windows.conf", "DEBIAN-*", "@saved", "no"])
@pytest.mark.parametrize("configured", ["", "old-*", "@saved", "no"])
@pytest.mark.parametrize("last", ["", "old-entry.conf"])
def test_the_guard_finds_the_entry_that_the_loader_starts(
    host: SystemdHost, variable: str, configured: str, last: str
) -> None:
    """Two models, made apart: with counters, with sort keys and without."""
    host.install(NEW)
    folder = host.esp / "loader/entries"
    for name, more in (("debian-9.9.9+0-3", "version 9.9.9\nsort-key debian\n"),
                       ("debian-8.8.8+2-1", "version 8.8.8\nsort-key debian\n"),
                       ("old-entry", ""), ("zz-old", "version 99\n")):  # fmt: skip
        (folder / f"{name}.conf").write_text(f"{more}linux /debian/{OLD}/linux\noptions x={name}\n")
    (folder / "gone.conf").write_text("sort-key aaa\nlinux /nowhere\n")
    (host.esp / "loader/loader.conf").write_text(f"default {configured}\n" if configured else "")
    host.variable("LoaderEntryDefault", variable)
    host.variable("LoaderEntryLastBooted", last)
    before = {name: CODE_OF["efivars"].read(host.root, name) for name in sdboot.VARIABLES}
    found = sdboot.default(host.root, before)
    name, _, words = systemd_boot.start(host.root, [host.esp])
    assert (found.id, found.words) == (name, words)


def test_an_entry_that_only_the_loader_knows_is_not_guessed(host: SystemdHost) -> None:
    for name in ("auto-windows", "some-image.efi"):
        assert sdboot.default(host.root, {"LoaderEntryDefault": name}) is None


def obstacles(host: SystemdHost) -> list[str]:
    return list(probe.obstacles(host.root, OLD, STOCK))


def test_a_host_with_systemd_boot_can_go_back(host: SystemdHost) -> None:
    assert obstacles(host) == []
    found = probe.probe(host.root)
    assert (found["open"], found["leftover"], found["boot"]) == (False, False, "/boot/efi")
    assert found["copies_bytes"] == probe.SPARE + 4 * SMALLEST
    (problem,) = plans.boot_problem({**found, "boot_free_bytes": 0}, False)
    assert problem["code"] == "STK-403" and "/boot/efi lacks 2 MiB" in problem["what"]
    host.guard.hold({})
    found = probe.probe(host.root)
    assert (found["open"], found["leftover"], found["copies_bytes"]) == (True, False, 0)
    seen = system.boot_transaction(Files(host.root))
    assert seen is not None and (seen["phase"], seen["open"]) == ("held", True)


def test_conditions_that_hold_it_back_are_named(host: SystemdHost) -> None:
    def told(words: str) -> None:
        (one,) = obstacles(host)
        assert words in one

    mounts = (host.root / "proc/self/mounts").read_text()
    for old, new, words in (
        ("efivarfs rw", "efivarfs ro", "mounted read-only"),
        (EFIVARS, "", "no /sys/firmware/efi/efivars is mounted"),
        ("vfat rw,", "vfat ro,", "/boot/efi is mounted read-only"),
        ("vfat rw,", "ext4 rw,", "which is ext4"),
    ):
        (host.root / "proc/self/mounts").write_text(mounts.replace(old, new))
        told(words)
    (host.root / "proc/self/mounts").write_text(mounts)
    features = systemd_boot.variable(host.root, "LoaderFeatures")
    enough = features.read_bytes()
    features.write_bytes(b"\6\0\0\0" + bytes([0b1101111, 1, 0, 0, 0, 0, 0, 0]))
    told("counts how often it tried an entry")
    features.write_bytes(enough)
    for name, value, words in (("LoaderEntryPreferred", "x", "set-preferred"),
                               ("LoaderConfigTimeout", "menu-force", "menu-force")):  # fmt: skip
        host.variable(name, value)
        told(words)
        host.variable(name, "")
    foreign = host.esp / "loader/entries/stroke-lkg.conf"
    foreign.write_text("linux /mine\n")
    told("stroke-lkg.conf on /boot/efi is somebody else's")
    host.guard.abort({})
    assert foreign.read_text() == "linux /mine\n"
    foreign.unlink()
    (host.esp / "EFI/Linux").mkdir(parents=True)
    (host.esp / "EFI/Linux/debian.EFI").write_text("x")
    told("unified kernel image is in its boot menu (debian.EFI)")
    shutil.rmtree(host.esp / "EFI")
    (host.esp / f"debian/{OLD}/initrd.img-{OLD}").unlink()
    told("initrd.img-6.12.1-amd64 of the running kernel is missing")
    (host.esp / f"debian/{OLD}/linux").unlink()
    told(f"no entry of the running kernel {OLD}")


def test_the_running_entry_is_found_by_its_name_and_by_its_kernel(host: SystemdHost) -> None:
    folder = host.esp / "loader/entries"
    plain = folder / f"debian-{OLD}.conf"
    other = folder / f"other-{OLD}.conf"
    other.write_text(plain.read_text().replace(MACHINE, "f" * 32).replace("debian\n", "aaa\n"))
    assert sdboot.running(host.root, OLD).path == plain
    host.variable("LoaderEntrySelected", "stroke-lkg.conf")
    assert sdboot.running(host.root, OLD).path == plain, "that of this machine"
    counted = plain.rename(folder / f"debian-{OLD}+2-1.conf")
    host.variable("LoaderEntrySelected", f"debian-{OLD}+3.conf")
    assert sdboot.running(host.root, OLD).path == counted
    second = folder / f"debian-9-{OLD}.conf"
    second.write_text(counted.read_text())
    assert sdboot.running(host.root, OLD).path == counted
    host.variable("LoaderEntrySelected", second.name)
    assert sdboot.running(host.root, OLD).path == second
    assert sdboot.running(host.root, "1.2.3") is None


@pytest.mark.parametrize(
    ("tree", "boot", "release"),
    [
        ("strix-halo-systemd-boot", "boot/efi", "7.2.12+deb13-amd64"),
        ("boot-systemd-debian", "boot/efi", "6.12.107+deb13-amd64"),
        ("boot-systemd-fedora", "boot", "6.17.12-300.fc43.x86_64"),
    ],
)
def test_hosts_of_the_collection_hold_and_let_go(
    host: SystemdHost, tmp_path: Path, tree: str, boot: str, release: str
) -> None:
    """What such a tree leaves out is put beside it: kernels, mounts, what the loader can do."""
    root = tmp_path / "tree"
    shutil.copytree(TREES / tree, root, symlinks=True)
    mounts = f"/dev/vda2 / ext4 rw 0 0\n{EFIVARS}" + "".join(
        f"/dev/vda1 /{top} vfat rw 0 0\n" for top in {boot, "efi", ESP} if (root / top).is_dir()
    )
    for name in ("proc/self", "proc/sys/kernel", "run/systemd/system"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "proc/self/mounts").write_text(mounts)
    (root / "proc/sys/kernel/osrelease").write_text(release)
    folder = root / boot / "loader/entries"
    for path in folder.iterdir():
        for key in ("linux", "initrd"):
            for name in entries.fields_of(path.read_text()).get(key, []):
                (root / boot / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                (root / boot / name.lstrip("/")).write_text(release.ljust(SMALLEST))
    features = systemd_boot.variable(root, "LoaderFeatures")
    features.write_bytes(b"\6\0\0\0\xff\x3f\0\0\0\0\0\0")
    line = (root / "proc/cmdline").read_text()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    guard = CODE_OF["guard"].Guard(CODE_OF["state"].Places(root), line)
    data = guard.hold({})
    tops = [root / boot, *([root / "efi"] if (root / "efi/loader").is_dir() else [])]
    name, kernel, words = systemd_boot.start(root, tops)
    assert (name, kernel) == ("stroke-lkg.conf", root / boot / "stroke/vmlinuz")
    assert words == [*line.split()[1:], f"stroke.lkg={data['transaction']}"]
    guard.abort({})
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert not systemd_boot.variable(root, "LoaderEntryDefault").exists()
    assert not (root / boot / "stroke").exists()
