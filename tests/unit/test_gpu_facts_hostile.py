"""gpu_facts on hosts that are broken, lie, or were made to break it: a note, never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_host import arguments, boot, dpkg, gfx, gpus, memory, pci, rpm
from gpu_host.files import TOLD, kernel_arguments, printable
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.collected import SCHEMA, facts
from tests.unit.trees import HOSTS, TREES, tree, write

# A section that raised is kept from taking others along; here none may raise at all.
SURPRISE = re.compile(r": \w+(?:Error|Exception|Iteration): ")
LIVED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def judged(root: Path, **params: Any) -> dict[str, Any]:
    """Facts of a hostile host that are whole, can be sent, and hide no surprise."""
    found = facts(root, packages=["podman"], users=["admin"], paths=["/var/lib/stroke"], **params)
    assert set(found) == SCHEMA
    json.dumps(found).encode("ascii")
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    assert [line for line in found["unreadable"] if SURPRISE.search(line)] == []
    assert len(found["unreadable"]) <= TOLD + 1
    return found


def paths_of(name: str) -> set[str]:
    """Every file of a fixture host, that of its parts included."""
    folder = TREES / name
    base = folder / "base"
    parts = base.read_text(encoding="utf-8").split() if base.is_file() else []
    own = {f"/{path.relative_to(folder)}" for path in folder.rglob("*")
           if path.is_symlink() or path.is_file()}  # fmt: skip
    return own.union(*(paths_of(part) for part in parts)) - {"/base"}


VICTIMS = ("strix-halo-dkms", "strix-halo-silverblue", "rhel9-plain")
PATHS = sorted(
    {path for host in VICTIMS for path in paths_of(host)}
    | {gpus.BY_PATH, memory.TABLE, memory.UDEV, rpm.VERSIONLOCK_5, boot.LOADER_INFO}
)  # fmt: skip
NUMBERS = st.integers(-1, 10**24).map(str) | st.sampled_from(["0x", "1e9", "٣", "9" * 5000])
CONTENTS = (
    st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
    | NUMBERS.map(str.encode)
    | st.sampled_from(
        [b"", b"\0" * 70, b"gfx_target_version " + b"9" * 4999, b"gfx_target_version 110501\n",
         b"[x]\nbaseurl=\n a\n b\n", b"Package: a\n\n\nStatus:", b"options " + b"a=" * 900]
    )
)  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    """Files at places that gpu_facts reads, with contents that nobody would expect there."""
    chosen = draw(st.lists(st.sampled_from(PATHS), max_size=25, unique=True))
    return {path: draw(CONTENTS) for path in chosen}


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that each example of a property starts empty."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def emptied(room: Path) -> Path:
    root = room / "host"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return root


@settings(LIVED, max_examples=50)
@given(files=trees())
def test_random_files_in_the_right_places(files: dict[str, bytes], room: Path) -> None:
    root = emptied(room)
    for path, content in files.items():
        try:
            write(root, path, content)
        except OSError:  # a file where another path needs a directory
            continue
    judged(root, pci_ids={"1586": "gfx1151"})


@settings(LIVED, max_examples=15)
@given(data=st.data())
def test_a_whole_host_with_some_files_spoilt(data: st.DataObject, room: Path) -> None:
    root = emptied(room)
    tree(data.draw(st.sampled_from(VICTIMS)), root)
    for path in data.draw(st.lists(st.sampled_from(PATHS), max_size=12, unique=True)):
        place = root / path.lstrip("/")
        fate = data.draw(st.sampled_from(["cut", "loop", "directory", "fifo", "noise", "gone"]))
        if not place.is_file():
            continue
        whole = place.read_bytes()
        place.unlink()
        if fate == "cut":
            place.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        elif fate == "loop":
            place.symlink_to(place.name)
        elif fate == "directory":
            place.mkdir()
        elif fate == "fifo":
            os.mkfifo(place)
        elif fate == "noise":
            place.write_bytes(data.draw(CONTENTS))
    judged(root)


@given(text=st.text(), number=st.integers(-(10**30), 10**30), raw=st.binary())
@example(text="a " + "9" * 6000, number=0, raw=b"\x11\x00\x00\x00")
@example(text='GRUB_CMDLINE_LINUX="', number=10**9, raw=b"\x11\x28\x00\x00" * 20)
def test_parsers_take_anything(text: str, number: int, raw: bytes) -> None:
    gpus.parse_properties(text)
    kernel_arguments(text)
    arguments.parse_grub_defaults(f"GRUB_CMDLINE_LINUX={text}")
    arguments.pairs("x", arguments.options(f"options {text}"))
    dpkg.parse_status(text)
    rpm.parse_ini(text)
    rpm.parse_ini(f"[a]\nb = c\n {text}")
    rpm.parse_packages(text)
    rpm.matches(text, text[:5])
    assert (gfx.gfx_name(number) is None) == (not 10000 <= number < 1000000)
    assert memory.module_bytes(raw) >= 0
    assert sum(len(part) for part in memory.structures(raw)) <= len(raw)
    printable(text).encode("utf-8")


@given(
    name=st.from_regex(r"[a-z][a-z0-9+.-]{0,12}", fullmatch=True),
    epoch=st.integers(0, 20), version=st.from_regex(r"[0-9][0-9.~^]{0,6}", fullmatch=True),
)  # fmt: skip
def test_rpm_versions_keep_all_but_a_zero_epoch(name: str, epoch: int, version: str) -> None:
    for text in {str(epoch), "(none)" if epoch == 0 else str(epoch)}:
        rows = rpm.parse_packages(f"stroke\t{name}\t{text}\t{version}\t1.el9\tx86_64")
        assert rows == [
            (name, f"{epoch}:{version}-1.el9" if epoch else f"{version}-1.el9", "x86_64")
        ]


def amd(root: Path, slot: str, **files: str) -> None:
    values = {"vendor": "0x1002", "device": "0x7551", "class": "0x030000", **files}
    for name, value in values.items():
        write(root, f"{pci.DEVICES}/{slot}/{name}", value + "\n")


def test_three_hundred_gpus(tmp_path: Path) -> None:
    for number in range(300):
        slot = f"{number // 250:04x}:{number % 250:02x}:00.0"
        amd(tmp_path, slot, mem_info_vram_total="x" * 50, numa_node="-1")
        where = (number % 250) << 8
        write(
            tmp_path,
            f"{gpus.NODES}/{number + 1}/properties",
            f"gfx_target_version 120001\nlocation_id {where}\ndomain {number // 250}\n"
            f"simd_count 128\nsimd_per_cu 2\nvendor_id 4098\n",
        )
    begun = time.process_time()
    found = judged(tmp_path)
    assert time.process_time() - begun < 10
    assert len(found["gpus"]) == 300
    assert {(gpu["gfx"], gpu["cu_count"], gpu["apu"]) for gpu in found["gpus"]} == {
        ("gfx1201", 64, False)
    }
    assert [gpu["index"] for gpu in found["gpus"]] == list(range(300))
    assert found["unreadable"][-1] == "more could not be read; the list ends here"


def test_links_that_lead_in_circles_or_nowhere(tmp_path: Path) -> None:
    amd(tmp_path, "0000:03:00.0")
    device = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    (device / "drm").symlink_to("drm")
    (device / "driver").symlink_to("driver")
    (device / "fw_version").symlink_to("/nowhere/at/all")
    (device / "ip_discovery").symlink_to("..")
    (tmp_path / "etc").symlink_to("etc")
    found = judged(tmp_path)
    assert found["gpus"][0]["pci_id"] == "7551"
    assert any("drm: Too many levels" in line for line in found["unreadable"])
    assert any(line.startswith("/etc/os-release: Too many levels") for line in found["unreadable"])


def test_names_and_contents_that_are_no_text(tmp_path: Path) -> None:
    amd(
        tmp_path,
        "0000:03:00.0",
        product_name="Radeon \x1b[31m\0 \udcff".encode("utf-8", "replace").decode(),
    )
    folder = tmp_path / "sys/bus/pci/devices/0000:03:00.0/drm"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/renderD\xff\xfe")).mkdir()
    (folder / "renderD128").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "sys/bus/pci/devices/0000:03:00.0/driver"))).symlink_to(
        os.fsdecode(b"drivers/\xffgpu")
    )
    write(tmp_path, f"{gpus.NODES}/1/properties", bytes(range(256)) * 20)
    found = judged(tmp_path)
    assert found["gpus"][0]["render_node"] == "/dev/dri/renderD128"
    assert found["gpus"][0]["driver"] == "?gpu"
    assert any("its name is not text" in line for line in found["unreadable"])


def test_a_release_cannot_lead_out_of_the_modules(tmp_path: Path) -> None:
    write(tmp_path, "/proc/sys/kernel/osrelease", "../../etc\n")
    write(tmp_path, "/lib/modules/6.12.107/modules.dep", "")
    write(tmp_path, "/etc/modules.dep", "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko:\n")
    assert judged(tmp_path)["modules"]["amdgpu"]["available"] is False


def test_kfd_without_a_bus_and_a_stranger_in_it(tmp_path: Path) -> None:
    node = "gfx_target_version 110501\nsimd_count 80\nsimd_per_cu 2\ndevice_id 5510\n"
    write(tmp_path, f"{gpus.NODES}/1/properties", node)
    write(tmp_path, f"{gpus.NODES}/2/properties", f"{node}vendor_id 4318\n")
    write(tmp_path, f"{gpus.NODES}/1/mem_banks/0/properties", "heap_type 1\nsize_in_bytes 512\n")
    write(tmp_path, f"{gpus.NODES}/1/mem_banks/1/properties", "heap_type 0\nsize_in_bytes 4096\n")
    (gpu,) = judged(tmp_path)["gpus"]
    assert (gpu["slot"], gpu["gfx"], gpu["pci_id"], gpu["vram_bytes"]) == (
        None, "gfx1151", "1586", 512,
    )  # fmt: skip


def test_boot_partition_full_of_entries(tmp_path: Path) -> None:
    write(tmp_path, "/boot/grub2/grub.cfg", "")
    for number in range(arguments.ENTRIES + 6):
        write(tmp_path, f"/boot/loader/entries/{number:03}.conf", "options quiet $tuned_params\n")
    found = judged(tmp_path)
    assert len(found["arguments"]["configured"]) == arguments.ENTRIES
    assert found["boot"]["layout"] == "grub-bls"
    assert any("70 entries, the first 64 are read" in line for line in found["unreadable"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become an ordinary user")
@pytest.mark.parametrize("host", ["strix-halo-systemd-boot", "mi250x", "strix-halo-dkms"])
def test_everything_unreadable_to_an_ordinary_user(host: str, tmp_path: Path) -> None:
    root = tree(host, tmp_path / "host")
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/") and path.stat().st_mode & 0o077 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and "properties" not in path.name:
            path.chmod(0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setuid(65534)
        with os.fdopen(writer, "w") as stream:
            json.dump(judged(root), stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = json.loads(text)
    assert found["gpus"], "the topology alone still names the GPUs"
    assert any("Permission denied" in line for line in found["unreadable"])


@pytest.mark.parametrize("user", [0, 65534])
def test_this_very_machine(user: int) -> None:
    """As root and as an ordinary user: nothing raises, and the time is that of a few files."""
    if os.geteuid() != 0 and user == 0:
        pytest.skip("needs root")
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setuid(user)
        found = judged(Path("/"))
        os._exit(0 if found["kernel"]["running"] == os.uname().release else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_tree_is_sparse_and_stays_inside_itself() -> None:
    """Small files, and links that would lead a reader to the machine of the test are absent."""
    for path in TREES.rglob("*"):
        if path.is_symlink():
            target = str(path.readlink())
            assert not target.startswith("/") or "display-manager" in path.name, path
        elif path.is_file():
            assert path.stat().st_size < 16 * 1024, path
    for host in HOSTS:
        base = TREES / host / "base"
        for part in base.read_text(encoding="utf-8").split() if base.is_file() else []:
            assert (TREES / part).is_dir(), f"{host}: {part}"
