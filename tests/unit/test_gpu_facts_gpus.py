"""What gpu_facts calls a GPU, with and without a driver."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gpu_host import driver, gfx, gpus
from gpu_host.files import Host

from tests.unit.collected import facts
from tests.unit.trees import tree, write


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (90006, "gfx906"), (90008, "gfx908"), (90010, "gfx90a"), (90402, "gfx942"),
        (90500, "gfx950"), (100300, "gfx1030"), (100306, "gfx1036"), (110000, "gfx1100"),
        (110003, "gfx1103"), (110501, "gfx1151"), (110503, "gfx1153"), (120001, "gfx1201"),
        (0, None),
    ],
)  # fmt: skip
def test_gfx_name_has_decimal_fields_and_a_hexadecimal_stepping(
    target: int, name: str | None
) -> None:
    assert gfx.gfx_name(target) == name


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ((11, 0, 3), "gfx1101"), ((11, 0, 4), "gfx1103"), ((11, 0, 2), "gfx1102"),
        ((11, 5, 1), "gfx1151"), ((9, 4, 3), "gfx942"), ((9, 4, 2), "gfx90a"),
        ((12, 0, 0), "gfx1200"), ((10, 3, 1), "gfx1033"),
    ],
)  # fmt: skip
def test_graphics_ip_is_not_always_the_gfx_name(version: tuple[int, int, int], name: str) -> None:
    assert gfx.gfx_of_ip(*version) == name


def pci(root: Path, slot: str, device: str, kind: str = "0x030000") -> str:
    folder = f"/sys/bus/pci/devices/{slot}"
    for name, value in (("vendor", "0x1002"), ("device", device), ("class", kind)):
        write(root, f"{folder}/{name}", value + "\n")
    return folder


def test_gpu_without_a_driver_is_named_by_the_catalogue(tmp_path: Path) -> None:
    pci(tmp_path, "0000:03:00.0", "0x7551")
    pci(tmp_path, "0000:04:00.0", "0x74a1", kind="0x120000")
    pci(tmp_path, "0000:05:00.0", "0xfffe")
    found = facts(tmp_path, pci_ids={"7551": "gfx1201", "74A1": "gfx942"})["gpus"]
    named = [(gpu["slot"], gpu["gfx"], gpu["source"]) for gpu in found]
    assert named == [
        ("0000:03:00.0", "gfx1201", "pci"),
        ("0000:04:00.0", "gfx942", "pci"),
        ("0000:05:00.0", None, "pci"),
    ]


def test_more_trusted_view_wins_and_the_others_are_told(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13", tmp_path)
    found = facts(root, pci_ids={"1586": "gfx1150"})
    assert [gpu["gfx"] for gpu in found["gpus"]] == ["gfx1151"]
    assert found["notes"] == [
        "GPU 0000:c1:00.0: kfd says gfx1151, ip_discovery says gfx1151, pci says gfx1150; "
        "kfd is believed"
    ]


def test_ip_discovery_names_a_gpu_that_kfd_does_not_have(tmp_path: Path) -> None:
    folder = pci(tmp_path, "0000:03:00.0", "0xfffe")
    for name, value in (("major", 12), ("minor", 0), ("revision", 1)):
        write(tmp_path, f"{folder}/ip_discovery/die/0/GC/0/{name}", f"{value}\n")
    (gpu,) = facts(tmp_path)["gpus"]
    assert (gpu["gfx"], gpu["source"]) == ("gfx1201", "ip_discovery")


def test_partitions_of_one_accelerator_are_gpus_of_their_own(tmp_path: Path) -> None:
    pci(tmp_path, "0000:03:00.0", "0x74a1", kind="0x120000")
    for node in range(2):
        write(
            tmp_path,
            f"{gpus.NODES}/{node}/properties",
            f"gfx_target_version 90402\nlocation_id 768\nsimd_count 152\nsimd_per_cu 4\n"
            f"drm_render_minor {128 + node}\n",
        )
    found = facts(tmp_path)["gpus"]
    assert [(g["gfx"], g["cu_count"], g["render_node"]) for g in found] == [
        ("gfx942", 38, "/dev/dri/renderD128"),
        ("gfx942", 38, "/dev/dri/renderD129"),
    ]


def test_declared_gpu_stands_in_only_where_there_is_none(tmp_path: Path) -> None:
    bare = facts(tree("bare-debian13-vm", tmp_path / "bare"), declared_gpu="gfx1151")
    assert [(g["gfx"], g["simulated"], g["source"], g["apu"]) for g in bare["gpus"]] == [
        ("gfx1151", True, "declared", None)
    ]
    real = facts(tree("strix-halo-debian13", tmp_path / "real"), declared_gpu="gfx942")
    assert [(gpu["gfx"], gpu["simulated"]) for gpu in real["gpus"]] == [("gfx1151", False)]
    assert real["notes"] == ["declared GPU gfx942 ignored: this host has gfx1151 at 0000:c1:00.0"]


def test_driver_built_by_dkms_is_recognised(tmp_path: Path) -> None:
    write(tmp_path, "/sys/module/amdgpu/version", "6.16.13\n")
    write(tmp_path, "/sys/module/amdttm/parameters/pages_limit", "42\n")
    assert driver.modules(Host(tmp_path), "1")["amdgpu"]["dkms_version"] == "6.16.13"
    assert driver.parameters(Host(tmp_path))["ttm.pages_limit"] == 42


def test_devices_keep_mode_and_group(tmp_path: Path) -> None:
    for name in ("/dev/kfd", "/dev/dri/renderD128"):
        write(tmp_path, name, "").chmod(0o660)
    gid = os.getegid()
    assert facts(tmp_path)["devices"] == {
        "kfd": {"mode": "0660", "gid": gid},
        "render": {"/dev/dri/renderD128": {"mode": "0660", "gid": gid}},
    }
