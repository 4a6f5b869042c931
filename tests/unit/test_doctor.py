"""Each finding of doctor on fixture hosts: what is changed, what it says, what mends it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from stroke import doctor, doctor_machine
from stroke.doctor_finding import KINDS, Finding
from stroke.doctor_machine import Machine
from stroke.errors import Exit

from tests.unit.playing import ROOT, RecordedBackend, stroke
from tests.unit.trees import HOSTS, tree, write

GOOD = "strix-halo-debian13-fixed"
GPU = "sys/bus/pci/devices/0000:c1:00.0"
CMDLINE = "BOOT_IMAGE=/vmlinuz ro quiet iommu=pt amdgpu.gttsize=110592 ttm.pages_limit=28311552"
Change = Callable[[Path], object]


def healthy(target: Path) -> Path:
    """A provisioned Strix Halo without what its fixture has for other tests."""
    root = tree(GOOD, target)
    for path in ("etc/modprobe.d/ttm.conf",):
        (root / path).unlink(missing_ok=True)
    write(root, "proc/cmdline", f"{CMDLINE}\n")
    write(root, "etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    return root


def read(root: Path) -> Machine:
    return doctor_machine.read(root)


def found(root: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in doctor.examine(read(root))}


def arguments(*words: str, configured: bool = True) -> Change:
    def change(root: Path) -> None:
        write(root, "proc/cmdline", " ".join((CMDLINE, *words)))
        if configured:
            write(root, "etc/default/grub", f'GRUB_CMDLINE_LINUX="{" ".join(words)}"\n')

    return change


def file(path: str, content: str) -> Change:
    return lambda root: write(root, path, content)


def gone(*paths: str) -> Change:
    def change(root: Path) -> None:
        for path in paths:
            (root / path).unlink()

    return change


def every(*changes: Change) -> Change:
    def change(root: Path) -> None:
        for one in changes:
            one(root)

    return change


def edited(path: str, before: str, after: str) -> Change:
    def change(root: Path) -> None:
        text = (root / path).read_text(encoding="utf-8")
        assert before in text, f"{path} has no {before}"
        write(root, path, text.replace(before, after))

    return change


def apt(uri: str) -> str:
    return f"Types: deb\nURIs: {uri}\nSuites: noble\nComponents: main\nSigned-By: /k.gpg\n"


UNBOUND = gone(f"{GPU}/driver")
KFD = "sys/class/kfd/kfd/topology/nodes/1/properties"
CASES: list[tuple[str, Change, str, str, str]] = [
    ("nomodeset", every(UNBOUND, arguments("nomodeset")),
     "STK-D11", "/proc/cmdline: nomodeset", "sudoedit /etc/default/grub (take out nomodeset)"),
    ("blacklisted by argument", every(UNBOUND, arguments("modprobe.blacklist=nouveau,amdgpu")),
     "STK-D11", "modprobe.blacklist=nouveau,amdgpu", "update-grub"),
    ("blacklisted by file", every(UNBOUND, file("etc/modprobe.d/no.conf", "blacklist amdgpu\n")),
     "STK-D11", "/etc/modprobe.d/no.conf: keeps amdgpu", "sudoedit /etc/modprobe.d/no.conf"),
    ("kernel without cwsr", edited(KFD, "cwsr_size", "other_size"),
     "STK-D32", "no cwsr_size in the KFD topology", "stroke provision"),
    ("MES 0x83", file(f"{GPU}/fw_version/mes_fw_version", "0x00000083\n"),
     "STK-D33", "mes_fw_version: 0x00000083", "update-initramfs -u -k all && sudo reboot"),
    ("firmware override", file("lib/firmware/updates/amdgpu/gc_11_5_1_mes_2.bin", "x"),
     "STK-D34", "/lib/firmware/updates/amdgpu/gc_11_5_1_mes_2.bin", "sudo rm -r"),
    ("DKMS driver", file("sys/module/amdgpu/version", "6.16.13\n"),
     "STK-D35", "/sys/module/amdgpu/version: 6.16.13", "sudo apt-get purge amdgpu-dkms"),
    ("nomodeset for the next boot", file("etc/default/grub", 'GRUB_CMDLINE_LINUX="nomodeset"'),
     "STK-D41", "/etc/default/grub: nomodeset", "(take out nomodeset)"),
    ("misspelt gttsize", arguments("amdgpu.gtt_size=1024"),
     "STK-D42", "amdgpu.gtt_size=1024", "(take out amdgpu.gtt_size)"),
    ("misspelt in modprobe.d", file("etc/modprobe.d/x.conf", "options amdgpu gtt_size=1024\n"),
     "STK-D42", "/etc/modprobe.d/x.conf: amdgpu.gtt_size=1024", "sudoedit /etc/modprobe.d/x.conf"),
    ("two page limits", file("etc/modprobe.d/ttm.conf", "options ttm pages_limit=25165824\n"),
     "STK-D43", "/etc/modprobe.d/ttm.conf: ttm.pages_limit=25165824",
     "sudoedit /etc/modprobe.d/ttm.conf (take out ttm.pages_limit)"),
    ("argument given twice", arguments("ttm.pages_limit=25165824", configured=False),
     "STK-D43", "/proc/cmdline: ttm.pages_limit=25165824", "(take out ttm.pages_limit)"),
    ("more than the RAM", file("sys/module/ttm/parameters/pages_limit", "33554432\n"),
     "STK-D44", "/sys/module/ttm/parameters/pages_limit: 33554432", "stroke provision"),
    ("more than the RAM at the next boot",
     file("etc/modprobe.d/ttm.conf", "options ttm pages_limit=33554432\n"),
     "STK-D44", "/etc/modprobe.d/ttm.conf: 33554432", "stroke provision"),
    ("nothing left for the system", file("sys/module/ttm/parameters/pages_limit", "32505856\n"),
     "STK-D45", "/sys/module/ttm/parameters/pages_limit: 32505856", "stroke provision"),
    ("gttsize disagrees", file("sys/module/amdgpu/parameters/gttsize", "65536\n"),
     "STK-D46", "gttsize: 65536 MiB", "stroke provision"),
    ("IOMMU off beside the NPU", arguments("amd_iommu=off"),
     "STK-D47", "the NPU driver amdxdna is loaded", "(take out amd_iommu)"),
    ("workaround", arguments("amdgpu.cwsr_enable=0"),
     "STK-D48", "cwsr_size in the KFD topology", "(take out amdgpu.cwsr_enable)"),
    ("not booted since",
     file("etc/default/grub.d/90-stroke.cfg",
          'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ttm.pages_limit=27262976"\n'),
     "STK-D49", "/etc/default/grub.d/90-stroke.cfg: ttm.pages_limit=27262976", "sudo reboot"),
    ("variable in a profile",
     file("etc/profile.d/rocm.sh", "# x\nexport HSA_OVERRIDE_GFX_VERSION=11.0.0\n"),
     "STK-D51", "/etc/profile.d/rocm.sh: HSA_OVERRIDE_GFX_VERSION=11.0.0",
     "sudoedit /etc/profile.d/rocm.sh"),
    ("variable in a drop-in",
     file("etc/systemd/system/ollama.service.d/override.conf",
          '[Service]\nEnvironment="HSA_OVERRIDE_GFX_VERSION=11.0.2"\n'),
     "STK-D51", "service.d/override.conf: HSA_OVERRIDE_GFX_VERSION=11.0.2", "log out and in"),
    ("old repository",
     file("etc/apt/sources.list.d/rocm.sources", apt("https://repo.radeon.com/rocm/apt/6.4.1")),
     "STK-D52", "/etc/apt/sources.list.d/rocm.sources", "sudo rm"),
    ("driver repository",
     file("etc/apt/sources.list.d/dkms.sources", apt("https://repo.radeon.com/amdgpu/30.20/ubuntu")),
     "STK-D52", "/etc/apt/sources.list.d/dkms.sources", "sudo apt-get update"),
]  # fmt: skip


def test_a_healthy_host_gets_no_finding(tmp_path: Path) -> None:
    assert found(healthy(tmp_path)) == {}


@pytest.mark.parametrize(
    ("change", "code", "evidence", "fix"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_finding(tmp_path: Path, change: Change, code: str, evidence: str, fix: str) -> None:
    root = healthy(tmp_path)
    change(root)
    findings = found(root)
    assert code in findings, sorted(findings)
    assert evidence in "\n".join(findings[code].evidence)
    assert fix in findings[code].fix


@pytest.mark.parametrize("name", HOSTS)
def test_every_fixture_host_is_explained_without_a_surprise(name: str, tmp_path: Path) -> None:
    machine = read(tree(name, tmp_path))
    findings = doctor.examine(machine)
    document = json.loads(json.dumps(doctor.document(machine, findings)))
    jsonschema.validate(document, schema())
    assert not [line for line in machine.not_read if "Error" in line], machine.not_read
    for finding in findings:
        assert finding.what and finding.fix and finding.evidence, finding
    if not machine.gpus:
        assert findings == [] and document["status"] == "no gpu"


def schema() -> dict[str, Any]:
    loaded = json.loads((ROOT / "docs/doctor.schema.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_errors_come_first_and_decide_the_exit_code(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    arguments("amdgpu.gtt_size=1")(root)
    warnings = doctor.examine(read(root))
    assert [f.kind.severity for f in warnings] == ["warning"]
    assert doctor.exit_of(warnings) is Exit.OK
    write(root, f"{GPU}/fw_version/mes_fw_version", "0x00000083\n")
    findings = doctor.examine(read(root))
    assert [f.code for f in findings] == ["STK-D33", "STK-D42"]
    assert doctor.exit_of(findings) is Exit.FAILED


def test_the_command_says_it_for_people_and_for_programs(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    write(root, f"{GPU}/fw_version/mes_fw_version", "0x00000083\n")
    nothing = RecordedBackend({})
    shown = stroke(nothing, "doctor", "--root", str(root))
    assert shown.exit_code == 3 and not nothing.jobs
    assert "1 error\nSTK-D33 error: gfx1151 at 0000:c1:00.0 runs MES firmware 0x83" in shown.stdout
    assert "  fix:  sudo apt-get install firmware-amd-graphics" in shown.stdout
    document = json.loads(stroke(nothing, "doctor", "--root", str(root), "--json").stdout)
    jsonschema.validate(document, schema())
    assert (document["status"], document["exit_code"]) == ("findings", 3)
    assert document["findings"][0]["code"] == "STK-D33"


def test_a_host_without_a_gpu_gets_one_line(tmp_path: Path) -> None:
    shown = stroke(RecordedBackend({}), "doctor", "--root", str(tree("debian12", tmp_path)))
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 1
    assert "no AMD GPU" in shown.stdout


def test_what_a_host_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    write(root, "etc/profile.d/x.sh", "HSA_OVERRIDE_GFX_VERSION=\x1b[2J11\n")
    shown = stroke(RecordedBackend({}), "doctor", "--root", str(root))
    assert "\x1b" not in shown.stdout and "HSA_OVERRIDE_GFX_VERSION=11" in shown.stdout


def test_a_repository_in_use_is_not_stale(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    channels = read(root).catalog["rocm_channels"]
    uri = next(channel["uri"] for channel in channels if channel["uri"])
    write(root, "etc/apt/sources.list.d/rocm.sources", apt(uri))
    assert found(root) == {}
    write(root, "etc/apt/sources.list.d/old.sources", apt("https://repo.radeon.com/rocm/apt/6.4"))
    write(root, "etc/apt/sources.list.d/off.sources",
          "Enabled: no\n" + apt("https://repo.radeon.com/rocm/apt/5.7"))  # fmt: skip
    assert len([f for f in doctor.examine(read(root)) if f.code == "STK-D52"]) == 1


def test_stroke_s_own_drop_in_replaces_what_stands_before_it(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    write(root, "etc/default/grub", 'GRUB_CMDLINE_LINUX="ttm.pages_limit=25165824"\n')
    write(root, "etc/default/grub.d/90-stroke.cfg",
          'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ttm.pages_limit=28311552"\n')  # fmt: skip
    assert found(root) == {}


def test_broken_files_are_explained_without_a_surprise(tmp_path: Path) -> None:
    dice = random.Random(20261121)  # noqa: S311  repeatable
    for number in range(12):
        root = healthy(tmp_path / str(number))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for path in dice.sample(files, 12):
            data = path.read_bytes()
            cut = data[: dice.randrange(len(data) + 1)]
            path.write_bytes(dice.choice([b"", cut, cut + dice.randbytes(40), b"\0\xff" * 9]))
        machine = read(root)
        jsonschema.validate(
            json.loads(json.dumps(doctor.document(machine, doctor.examine(machine)))), schema()
        )


def test_every_finding_that_files_can_show_is_tried() -> None:
    """Access, containers and /dev are tried in the tests beside this one."""
    tried = {case[2] for case in CASES}
    elsewhere = {code for code in KINDS if code.startswith(("STK-D2", "STK-D6"))}
    assert set(KINDS) - tried - elsewhere == {"STK-D12", "STK-D13", "STK-D31", "STK-D36"}


def test_the_only_gpu_is_given_to_a_virtual_machine(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    (root / GPU / "driver").unlink()
    (root / GPU / "driver").symlink_to("../../../../bus/pci/drivers/vfio-pci")
    finding = found(root)["STK-D12"]
    assert "0000:c1:00.0" in finding.what and "vfio" in finding.fix


def test_one_gpu_for_a_virtual_machine_and_one_for_the_host_is_on_purpose(tmp_path: Path) -> None:
    assert found(tree("w7800-vfio", tmp_path)) == {}


def test_streams_with_backported_fixes_are_new_enough(tmp_path: Path) -> None:
    assert found(tree("strix-halo-ubuntu2404-oem", tmp_path)) == {}
    assert "STK-D32" in found(tree("strix-halo-vanilla-kernel", tmp_path / "vanilla"))


def test_an_old_kernel_without_a_topology_to_ask(tmp_path: Path) -> None:
    finding = found(tree("strix-halo-no-driver", tmp_path))["STK-D31"]
    assert "6.8.0-149-generic" in finding.what
