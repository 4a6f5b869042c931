"""The base disk as data: its boot sector, its name in the cache, the guest's files."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict
from pathlib import Path

import pytest
from stroke import gpt
from stroke.disk import BaseDisk, Progress, base_disk, boot_sector, overlay, partition_table
from stroke.disk_build import recipe_from
from stroke.errors import StrokeError
from stroke.guest_recipe import ADMIN_ARGUMENTS, ESP_MIB, SEED_SERIAL, Recipe
from stroke.host_apt import Archive
from stroke.process import run, which

ARCHIVE = Archive("http://archive.example/debian")


def entries(sector: bytes) -> list[tuple[int, int, int, int]]:
    table = [struct.unpack("<B3xB3xII", sector[446 + 16 * i :][:16]) for i in range(4)]
    return [entry for entry in table if entry[1]]


def test_one_partition_fills_the_disk() -> None:
    assert partition_table(1024, None) == [(2048, 1023 * 2048)]


def test_a_separate_boot_partition_comes_first() -> None:
    assert partition_table(1024, 96) == [(2048, 96 * 2048), (97 * 2048, 927 * 2048)]


def test_the_boot_sector_has_code_signature_and_partitions() -> None:
    sector = boot_sector(b"\xeb" * 512, [(2048, 96), (4096, 100)])
    assert len(sector) == 512
    assert sector[:440] == b"\xeb" * 440
    assert sector[510:] == b"\x55\xaa"
    assert entries(sector) == [(0x80, 0x83, 2048, 96), (0, 0x83, 4096, 100)]


@pytest.mark.skipif(which("sfdisk") is None, reason="sfdisk is not installed")
def test_another_reader_agrees_with_the_partition_table(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    with image.open("wb") as handle:
        handle.write(boot_sector(b"", partition_table(64, 16)))
        handle.truncate(64 * 1024 * 1024)
    table = json.loads(run(["sfdisk", "--json", image]).stdout)["partitiontable"]
    assert table["label"] == "dos"
    found = [(part["start"], part["size"], part["type"]) for part in table["partitions"]]
    assert found == [(2048, 16 * 2048, "83"), (17 * 2048, 47 * 2048, "83")]


@pytest.mark.parametrize(
    "other",
    [
        Recipe("forky", ARCHIVE),
        Recipe("trixie", Archive(uri="http://elsewhere/debian")),
        Recipe("trixie", ARCHIVE, boot_mib=96),
        Recipe("trixie", ARCHIVE, cloud_init=True),
        Recipe("trixie", ARCHIVE, boot_loader="systemd-boot"),
    ],
)
def test_each_recipe_has_its_own_place_in_the_cache(other: Recipe) -> None:
    assert other.name != Recipe("trixie", ARCHIVE).name
    assert other.name == Recipe(
        other.release, other.archive, other.boot_mib, other.cloud_init, other.boot_loader
    ).name  # fmt: skip


def test_the_guest_keeps_an_administrators_arguments_and_has_no_firmware() -> None:
    recipe = Recipe("trixie", ARCHIVE)
    grub, _ = recipe.files()["etc/default/grub"]
    assert "net.ifnames=0 audit=0 mitigations=off" in grub
    assert not [name for name in recipe.packages if "firmware" in name or "podman" in name]
    script, mode = recipe.files()["usr/local/sbin/sandbox-seed"]
    assert SEED_SERIAL in script
    assert mode == 0o755
    assert recipe.files()["etc/sudoers.d/admin"][1] == 0o440


def test_only_a_separate_boot_is_mounted() -> None:
    assert "/boot" not in Recipe("trixie", ARCHIVE).files()["etc/fstab"][0]
    assert "/boot" in Recipe("trixie", ARCHIVE, boot_mib=96).files()["etc/fstab"][0]


def test_a_guest_that_starts_grub_by_uefi_has_an_esp_and_the_same_settings() -> None:
    recipe = Recipe("trixie", ARCHIVE, boot_loader="grub-efi")
    files, bios = recipe.files(), Recipe("trixie", ARCHIVE).files()
    assert recipe.root_device == "/dev/vda2"
    assert "grub-efi-amd64-bin" in recipe.packages and "grub-pc-bin" not in recipe.packages
    assert "LABEL=STROKE-ESP /boot/efi vfat" in files["etc/fstab"][0]
    assert files["etc/default/grub"] == bios["etc/default/grub"]
    assert files["sbin/stroke-seal"] == bios["sbin/stroke-seal"]
    assert "etc/kernel/cmdline" not in files


def test_a_guest_with_systemd_boot_has_an_esp_and_no_grub() -> None:
    recipe = Recipe("trixie", ARCHIVE, boot_loader="systemd-boot")
    files = recipe.files()
    assert "systemd-boot" in recipe.packages
    assert not [name for name in recipe.packages if "grub" in name]
    assert "LABEL=STROKE-ESP /boot/efi vfat" in files["etc/fstab"][0]
    assert "etc/default/grub" not in files
    line, _ = files["etc/kernel/cmdline"]
    assert ADMIN_ARGUMENTS in line
    assert "root=LABEL=stroke-root" in line
    script, _ = files["sbin/stroke-seal"]
    assert "update-grub" not in script
    assert recipe.root_device == "/dev/vda2"
    assert Recipe("trixie", ARCHIVE).root_device == "/dev/vda1"


@pytest.mark.skipif(which("sfdisk") is None, reason="sfdisk is not installed")
def test_another_reader_agrees_with_both_guid_tables(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    head, tail = gpt.tables(64, gpt.partitions(64, 16))
    with image.open("wb") as handle:
        handle.write(head)
        handle.truncate(64 * 1024 * 1024)
        handle.seek(-len(tail), 2)
        handle.write(tail)
    assert "No errors detected" in run(["sfdisk", "--verify", image]).stdout
    table = json.loads(run(["sfdisk", "--json", image]).stdout)["partitiontable"]
    assert table["label"] == "gpt"
    found = [(p["start"], p["size"], p["type"], p["name"]) for p in table["partitions"]]
    assert found == [
        (2048, 16 * 2048, str(gpt.ESP).upper(), "esp"),
        (17 * 2048, 46 * 2048, str(gpt.LINUX).upper(), "root"),
    ]
    with image.open("r+b") as handle:  # the second one alone is good, too
        handle.seek(512)
        handle.write(b"\0" * 512)
    repaired = run(["sfdisk", "--json", image])
    assert json.loads(repaired.stdout)["partitiontable"]["partitions"] == table["partitions"]


def test_a_cloud_disk_leaves_user_and_seed_to_cloud_init() -> None:
    recipe = Recipe("trixie", ARCHIVE, cloud_init=True)
    assert "cloud-init" in recipe.packages
    assert not {"etc/sudoers.d/admin", "usr/local/sbin/sandbox-seed"} & set(recipe.files())


def test_a_recipe_survives_the_way_to_the_builder() -> None:
    archive = Archive("http://a", settings=("a;", "b;"), certificates=(Path("/usr/local/ca.crt"),))
    recipe = Recipe("forky", archive, boot_mib=96, cloud_init=True, boot_loader="systemd-boot")
    assert recipe_from(json.loads(json.dumps(asdict(recipe), default=str))) == recipe


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("stroke.disk.as_root", lambda: ["env"])
    return tmp_path / "cache/stroke/disks"


def never(recipe: Recipe, disk: BaseDisk, progress: Progress) -> None:
    pytest.fail("a disk that was not built is not booted")


def test_a_failed_build_says_why_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text("#!/bin/sh\necho 'E: no archive' >&2\nexit 25\n")
    tool.chmod(0o755)
    recipe = Recipe("trixie", ARCHIVE)
    with pytest.raises(StrokeError, match=r"mmdebstrap failed .*no archive") as caught:
        base_disk(recipe, lambda sentence: None, never)
    assert caught.value.code == "STK-704"
    assert [path.name for path in cache.iterdir()] == [f"{recipe.name}.lock"]


def test_a_disk_that_does_not_boot_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(recipe: Recipe, disk: BaseDisk, progress: Progress) -> None:
        raise StrokeError("dead", code="STK-704")

    monkeypatch.setattr("stroke.disk._build", lambda recipe, directory, progress: None)
    with pytest.raises(StrokeError, match="dead"):
        base_disk(Recipe("trixie", ARCHIVE), lambda sentence: None, fail)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.skipif(which("qemu-io") is None, reason="qemu-utils is not installed")
def test_an_overlay_grows_the_disk_and_never_cuts_it(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    with base.open("wb") as handle:
        handle.write(boot_sector(b"code", partition_table(2048, None)))
        handle.truncate(2048 * 1024 * 1024)
    overlay(base, tmp_path / "large.qcow2", 4, None, ours=True)
    overlay(base, tmp_path / "small.qcow2", 1, None, ours=False)
    sizes = [
        json.loads(run(["qemu-img", "info", "--output=json", tmp_path / name]).stdout)
        for name in ("large.qcow2", "small.qcow2")
    ]
    assert [info["virtual-size"] >> 20 for info in sizes] == [4096, 2048]
    flat = tmp_path / "flat.raw"
    run(["qemu-img", "convert", "-O", "raw", tmp_path / "large.qcow2", flat])
    with flat.open("rb") as handle:
        sector = handle.read(512)
    assert sector[:4] == b"code"
    assert entries(sector) == [(0x80, 0x83, 2048, 4095 * 2048)]


@pytest.mark.skipif(which("qemu-io") is None, reason="qemu-utils is not installed")
@pytest.mark.skipif(which("sfdisk") is None, reason="sfdisk is not installed")
def test_an_overlay_with_an_esp_grows_the_root_partition_only(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    with base.open("wb") as handle:
        handle.write(gpt.tables(1024, gpt.partitions(1024, ESP_MIB))[0])
        handle.truncate(1024 * 1024 * 1024)
    overlay(base, tmp_path / "large.qcow2", 3, None, ours=True, esp=True)
    flat = tmp_path / "flat.raw"
    run(["qemu-img", "convert", "-O", "raw", tmp_path / "large.qcow2", flat])
    assert "No errors detected" in run(["sfdisk", "--verify", flat]).stdout
    table = json.loads(run(["sfdisk", "--json", flat]).stdout)["partitiontable"]
    sizes = [part["size"] // 2048 for part in table["partitions"]]
    assert sizes == [ESP_MIB, 3072 - ESP_MIB - 2]
