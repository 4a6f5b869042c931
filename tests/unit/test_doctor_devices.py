"""Doctor on devices made by umockdev: udev's properties, drivers, and who may open what.

umockdev stands in for /sys and /dev, so a whole `stroke doctor` runs, libudev included.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from stroke import doctor_access
from stroke.doctor_access import Account, Acl

from tests.unit.playing import DATA, ROOT

NODES = ("/dev/kfd", "/dev/dri/renderD128")
GROUP = 44445  # no group of any machine
# Sets the nodes' owner and mode in umockdev's own directory, then becomes an ordinary user. What
# the program imports is imported before: that user may not be able to read this Python.
START = """
import contextlib, io, os, sys
from stroke.cli import main
mode, groups = int(sys.argv[1], 8), [int(word) for word in sys.argv[2].split(",") if word]
made = os.environ["UMOCKDEV_DIR"]
for path in os.popen(f"find {made}/dev ! -type d").read().split():
    os.chmod(path, mode)
    if os.geteuid() == 0:
        os.chown(path, 0, int(sys.argv[3]))
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[4:])
if os.geteuid() == 0:
    for path in (made, *os.popen(f"find {made} -type d").read().split()):
        os.chmod(path, 0o755)
    os.setgroups(groups)
    os.setgid(65534)
    os.setuid(65534)
os.environ["HOME"] = "/nonexistent"
sys.exit(main(sys.argv[4:]))
"""


def doctor(
    machine: str, *words: str, mode: int = 0o660, groups: Iterable[int] = ()
) -> subprocess.CompletedProcess[str]:
    """`stroke doctor` on described devices, as an ordinary user."""
    program = shutil.which("umockdev-run")
    assert program, "apt-get install umockdev"
    description = DATA / "devices" / f"{machine}.umockdev"
    return subprocess.run(
        [program, "--device", str(description), "--", sys.executable, "-c", START, f"{mode:o}",
         ",".join(map(str, groups)), str(GROUP), "doctor", *words],
        env={"PYTHONPATH": str(ROOT / "tool"), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def document(machine: str, **how: Any) -> dict[str, Any]:
    done = doctor(machine, "--json", **how)
    assert done.returncode in (0, 3), done.stderr
    loaded = json.loads(done.stdout)
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def closed() -> dict[str, Any]:
    return document("strix-halo", mode=0o600)


def test_devices_have_their_udev_properties(closed: dict[str, Any]) -> None:
    devices = {(device["subsystem"], device["name"]): device for device in closed["devices"]}
    assert set(devices) == {
        ("pci", "0000:c1:00.0"), ("drm", "card1"), ("drm", "renderD128"), ("kfd", "kfd"),
        ("accel", "accel0"),
    }  # fmt: skip
    gpu = devices["pci", "0000:c1:00.0"]
    assert gpu["driver"] == "amdgpu" and gpu["node"] is None
    assert gpu["properties"]["PCI_ID"] == "1002:1586"
    assert gpu["properties"]["ID_MODEL_FROM_DATABASE"].startswith("Strix Halo")
    render = devices["drm", "renderD128"]
    assert (render["slot"], render["node"]["path"]) == ("0000:c1:00.0", "/dev/dri/renderD128")
    assert "uaccess" in render["properties"]["TAGS"]
    assert devices["accel", "accel0"]["slot"] == "0000:c2:00.1"


def test_the_gpu_is_the_one_that_the_kernel_offers(closed: dict[str, Any]) -> None:
    (gpu,) = closed["gpus"]
    assert (gpu["gfx"], gpu["driver"], gpu["cu_count"]) == ("gfx1151", "amdgpu", 40)
    assert (gpu["mes_version"], gpu["render_node"]) == (0x86, "/dev/dri/renderD128")


def test_a_user_who_may_not_open_them_is_told_which_group_may(closed: dict[str, Any]) -> None:
    by_code = {finding["code"]: finding for finding in closed["findings"]}
    if os.geteuid() != 0:  # then the nodes are the user's own, and closed to nobody else
        assert "STK-D21" not in by_code
        return
    assert closed["exit_code"] == 3
    assert all(path in by_code["STK-D21"]["what"] for path in NODES)
    assert f"usermod --append --groups {GROUP}" in by_code["STK-D21"]["fix"]


def test_the_group_opens_them() -> None:
    found = document("strix-halo", mode=0o660, groups=[GROUP])
    assert [node["openable"] for node in found["nodes"]] == [True, True]
    assert not [f for f in found["findings"] if f["code"].startswith("STK-D2")]
    if os.geteuid() == 0:
        assert [node["gid"] for node in found["nodes"]] == [GROUP, GROUP]
        assert not any(node["openable"] for node in document("strix-halo", mode=0o660)["nodes"])


def test_everybody_may_open_what_is_open_to_everybody() -> None:
    assert [n["openable"] for n in document("strix-halo", mode=0o666)["nodes"]] == [True, True]


def test_people_read_the_same() -> None:
    done = doctor("strix-halo", mode=0o666)
    assert "driver amdgpu" in done.stdout
    for path in NODES:
        (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith(path)]
        assert "0666" in line and "may open it" in line
    assert "Traceback" not in done.stderr


def test_a_gpu_without_its_driver() -> None:
    found = document("strix-halo-without-driver")
    (finding,) = [f for f in found["findings"] if f["code"] == "STK-D11"]
    assert "gfx1151 at 0000:c1:00.0 has no driver" in finding["what"]
    assert found["nodes"] == [] and found["exit_code"] == 3


def test_a_driver_without_the_compute_interface() -> None:
    found = document("strix-halo-without-kfd")
    (finding,) = [f for f in found["findings"] if f["code"] == "STK-D13"]
    assert "/dev/kfd is missing" in finding["evidence"]


def test_this_machine_is_explained_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stroke", "doctor"],
        env={"PYTHONPATH": str(ROOT / "tool"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr and done.stdout.strip()


def stat(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((0o20000 | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "acl", "uid", "gids", "allowed"),
    [
        (0o660, Acl(), 1000, {7}, False),
        (0o660, Acl(), 1000, {0}, True),
        (0o600, Acl(), 0, set(), True),
        (0o666, Acl(), 1000, set(), True),
        (0o066, Acl(), 5, {0}, False),  # the owner is denied what others may
        (0o606, Acl(), 1000, {0}, False),  # the group is denied what others may
        (0o660, Acl(users=((1000, 6),), owning_group=6, mask=6), 1000, set(), True),
        (0o660, Acl(users=((1000, 6),), owning_group=6, mask=4), 1000, set(), False),
        (0o660, Acl(groups=((7, 6),), owning_group=0, mask=6), 1000, {7}, True),
        (0o660, Acl(groups=((7, 4),), owning_group=0, mask=6), 1000, {7}, False),
        (0o660, Acl(groups=((7, 6),), owning_group=0, mask=6), 1000, {0}, False),
    ],
)
def test_who_may_open(mode: int, acl: Acl, uid: int, gids: set[int], allowed: bool) -> None:
    found = stat(mode, uid=5 if uid == 5 else 0)
    assert doctor_access.may_open(found, acl, uid, frozenset(gids)) is allowed


def test_an_acl_is_read_as_the_kernel_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(0x01, 6, 2**32 - 1), (0x02, 6, 1000), (0x04, 0, 2**32 - 1), (0x08, 4, 7),
               (0x10, 6, 2**32 - 1), (0x20, 0, 2**32 - 1)]  # fmt: skip
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    monkeypatch.setattr(os, "getxattr", lambda path, name: raw)
    assert doctor_access.read_acl("/dev/kfd") == Acl(((1000, 6),), ((7, 4),), 0, 6)
    monkeypatch.setattr(os, "getxattr", lambda path, name: raw[:-3])
    assert doctor_access.read_acl("/dev/kfd").users == ((1000, 6),)


def test_a_new_group_counts_from_the_next_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "kfd"
    place.touch()
    place.chmod(0o060)
    group = place.stat().st_gid
    who = Account("somebody", 12345, frozenset(), frozenset({group}))
    found = doctor_access.node(str(place), who)
    assert found and not found.openable and found.openable_after_login


def test_the_caller_of_sudo_is_who_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert doctor_access.account({"SUDO_USER": "nobody"}).name == "nobody"
    assert doctor_access.account({"SUDO_USER": "nosuchlogin"}).uid == 0
    assert doctor_access.account({}).uid == 0
