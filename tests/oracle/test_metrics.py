"""The metrics role on a host: the real exporter, scraped on loopback, and nothing left of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.containers import ROOT, Container
from tests.oracle.play import Played, play
from tests.unit.test_metrics_role import SLOT, add_gpu

pytestmark = pytest.mark.container

PORT = 9836
SCRAPE = f"""exec python3 -c '
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:{PORT}/metrics", timeout=20).read().decode())'
"""
SENSORS = {"name": "amdgpu", "temp1_input": "56000", "temp1_label": "edge",
           "power1_average": "51000000", "power1_label": "PPT"}  # fmt: skip
FIGURES = {"gpu_busy_percent": 37, "mem_info_gtt_total": 115964116992,
           "mem_info_gtt_used": 30000000000, "mem_info_vram_total": 536870912,
           "mem_info_vram_used": 200000000}  # fmt: skip
LEFT = """find /etc/systemd/system /usr/local/lib /run -maxdepth 2 \
-name '*stroke-metrics*' -o -maxdepth 2 -name gpu_labels.py"""


def fixture(top: Path) -> None:
    """A Strix Halo in sysfs, as far as the exporter and stroke's script read it."""
    device = add_gpu(top)
    (device / "uevent").write_text(f"DRIVER=amdgpu\nPCI_SLOT_NAME={SLOT}\n", encoding="utf-8")
    for name, value in FIGURES.items():
        (device / name).write_text(f"{value}\n", encoding="utf-8")
    chip = device / "hwmon" / "hwmon3"
    chip.mkdir(parents=True)
    for name, word in SENSORS.items():
        (chip / name).write_text(f"{word}\n", encoding="utf-8")
    (chip / "device").symlink_to(Path("../../../") / SLOT)
    (top / "class/hwmon").mkdir()
    # Links that hold wherever the tree lies.
    place = Path("../../devices/pci0000:00/0000:00:08.1") / SLOT
    (top / "class/hwmon/hwmon3").symlink_to(place / "hwmon/hwmon3")
    (top / "class/drm/card1").unlink()
    (top / "class/drm/card1").symlink_to(place / "drm/card1")


def labels(text: str, metric: str) -> dict[str, str]:
    """Labels of the first series of a metric."""
    found = re.search(rf"^{metric}{{(.*?)}} ", text, re.MULTILINE)
    assert found, f"{metric} is not in:\n{text}"
    return dict(re.findall(r'(\w+)="(.*?)"', found[1]))


def value(text: str, metric: str) -> float:
    """Value of the first series of a metric."""
    found = re.search(rf"^{metric}(?:{{.*?}})? (\S+)$", text, re.MULTILINE)
    assert found, f"{metric} is not in:\n{text}"
    return float(found[1])


def site(host: Container, one: str, **settings: str) -> Played:
    """site.yml on one name of the host, with these settings."""
    words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
    played = play(ROOT / "playbooks" / "site.yml", host.inventory, "--limit", one, *words)
    assert played.status == 0, played
    return played


def test_the_exporter_serves_the_gpu_on_loopback_and_goes_without_a_trace(
    host: Container, one: str, tmp_path: Path
) -> None:
    fixture(tmp_path / "sys")
    archive = shutil.make_archive(str(tmp_path / "sys"), "tar", tmp_path / "sys")
    subprocess.run(["podman", "cp", archive, f"{host.name}:/srv/sys.tar"], check=True)
    host.sh("mkdir -p /srv/sys && tar -xf /srv/sys.tar -C /srv/sys")
    wanted = {"metrics_state": "present", "metrics_sysfs": "/srv/sys"}

    assert "metrics" in site(host, one, **wanted).roles[one]
    text = host.sh(SCRAPE)
    assert value(text, "node_drm_memory_gtt_used_bytes") == FIGURES["mem_info_gtt_used"]
    assert value(text, "node_drm_gpu_busy_percent") == FIGURES["gpu_busy_percent"]
    assert value(text, "node_hwmon_power_average_watt") == 51
    assert value(text, "node_hwmon_temp_celsius") == 56
    info = labels(text, "stroke_gpu_info")
    assert info["slot"] == SLOT
    assert info["card"] == labels(text, "node_drm_gpu_busy_percent")["card"]
    assert info["chip"] == labels(text, "node_hwmon_power_average_watt")["chip"]
    assert value(text, "node_memory_MemTotal_bytes") > 0

    listening = host.sh("ss -Hltn")
    assert f"127.0.0.1:{PORT}" in listening and ":9100" not in listening
    assert not re.search(rf"(0\.0\.0\.0|\*|\[::\]):{PORT}", listening)
    score = host.sh("systemd-analyze --no-pager security stroke-metrics.service")
    assert float(score.rsplit(": ", 1)[1].split()[0]) <= 2.5

    again = site(host, one, **wanted)
    assert (again.roles[one], again.changed) == ([], {})
    assert "metrics" in site(host, one, metrics_state="absent").roles[one]
    assert host.sh(LEFT) == ""
    assert f":{PORT}" not in host.sh("ss -Hltn")
