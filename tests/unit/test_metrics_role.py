"""The metrics role's script and data: PCI slots, and whose exporter it is."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.plugins import ROLES, plugin

metrics = plugin("metrics", "metrics")
SLOT = "0000:c5:00.0"
PACKAGE = ["prometheus-node-exporter"]


def script() -> ModuleType:
    path = ROLES / "metrics" / "files" / "gpu_labels.py"
    specification = importlib.util.spec_from_file_location("gpu_labels", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


labels = script()


def add_gpu(sysfs: Path, slot: str = SLOT, card: str = "card1", vendor: str = "0x1002") -> Path:
    """One GPU as sysfs has it: a device below its bridge, with links from the classes."""
    device = sysfs / "devices/pci0000:00/0000:00:08.1" / slot
    for folder in (device / "drm" / card, device / "drm/renderD128", sysfs / "class/drm"):
        folder.mkdir(parents=True, exist_ok=True)
    (device / "vendor").write_text(f"{vendor}\n", encoding="utf-8")
    (device / "device").write_text("0x1586\n", encoding="utf-8")
    (device / "drm" / card / "device").symlink_to(Path("../../../") / slot)
    (sysfs / "class/drm" / card).symlink_to(device / "drm" / card)
    return device


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    device = add_gpu(tmp_path)
    (device / "product_name").write_text('Radeon "8060S"\n', encoding="utf-8")
    (tmp_path / "class/drm/card1-HDMI-A-1").mkdir()
    node = tmp_path / "class/kfd/kfd/topology/nodes/1"
    node.mkdir(parents=True)
    text = "gfx_target_version 110501\ndrm_render_minor 128\n"
    (node / "properties").write_text(text, encoding="utf-8")
    (tmp_path / "module/ttm/parameters").mkdir(parents=True)
    (tmp_path / "module/ttm/parameters/pages_limit").write_text("28311552\n", encoding="utf-8")
    return tmp_path


def test_a_gpu_is_told_by_its_slot_with_all_its_names(sysfs: Path) -> None:
    text = labels.page(sysfs)
    assert (
        'stroke_gpu_info{slot="0000:c5:00.0",card="card1",render="renderD128",'
        'chip="0000:00:08_1_0000:c5:00_0",gfx="gfx1151",pci_id="1586",'
        'product="Radeon \\"8060S\\""} 1\n'
    ) in text
    page = os.sysconf("SC_PAGESIZE")
    assert text.endswith(f"stroke_ttm_limit_bytes {28311552 * page}\n")


def test_other_vendors_and_connectors_are_no_gpus_of_ours(sysfs: Path) -> None:
    add_gpu(sysfs, "0000:01:00.0", "card0", vendor="0x10de")
    assert [gpu["slot"] for gpu in labels.cards(sysfs)] == [SLOT]


def test_a_host_without_gpu_has_a_valid_empty_page(tmp_path: Path) -> None:
    lines = labels.page(tmp_path).splitlines()
    assert len(lines) == 2 and all(line.startswith("# ") for line in lines)


def test_the_file_is_replaced_whole_and_readable_for_the_exporter(
    sysfs: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    labels.main(str(sysfs), str(target))
    assert [path.name for path in target.iterdir()] == ["stroke_gpu.prom"]
    assert (target / "stroke_gpu.prom").stat().st_mode & 0o777 == 0o644


def facts(version: str | None, record: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "packages": {PACKAGE[0]: {"version": version, "held": False}},
        "state": {"packages": {"metrics": record} if record else {}},
    }


@pytest.mark.parametrize(("version", "record", "ours"), [
    (None, None, True),
    ("1.9.0-1", {"added": {PACKAGE[0]: ["1.9.0-1"]}}, True),
    ("1.9.0-1", {"added": {}, "open": {"planned": PACKAGE}}, True),
    ("1.9.0-1", {"added": {"libc6": ["1"]}}, False),
    ("1.9.0-1", None, False),
])  # fmt: skip
def test_an_exporter_that_was_there_before_keeps_its_service(
    version: str | None, record: dict[str, Any] | None, ours: bool
) -> None:
    assert metrics.metrics_brought(PACKAGE, facts(version, record)) is ours


def test_without_a_package_there_is_no_service_to_keep_down() -> None:
    assert metrics.metrics_brought([], facts(None)) is False


def test_everything_on_the_host_is_in_the_manifest() -> None:
    files = [{"path": "/a", "content": "x", "reason": "r"},
             {"path": "/b", "content": "y", "reason": "r", "state": "absent"}]  # fmt: skip
    items = metrics.metrics_items(files, ["m.service"], "present")
    assert [(item["kind"], item["state"]) for item in items] == [
        ("file", "present"), ("file", "absent"), ("unit", "present")]  # fmt: skip
    gone = metrics.metrics_items(files, ["m.service"], "absent")
    assert {item["state"] for item in gone} == {"absent"}
