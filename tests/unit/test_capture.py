"""A captured tree says the same as the host that it came from, and not whose host that is."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gpu_host.files import Host
from stroke import capture as stroke_capture
from stroke.report import HostRun, Run

from tests.unit.playing import ROOT, backend, event, home, only, published, stroke
from tests.unit.trees import HOSTS, tree, write

import gpu_facts  # isort: skip  # needs the helpers of tests.unit.trees
from ansible.module_utils.gpu_host import anonymous, recording  # isort: skip

__all__ = ["home"]
ASKED = ["linux-image-amd64", "firmware-amd-graphics", "podman", "kernel-core", "amd-gpu-firmware"]
DEFAULTS: dict[str, Any] = {
    "declared_gpu": None,
    "declared_memory_gib": None,
    "paths": [],
    "pci_ids": {},
}
UUID = "0f3c1b52-8a55-4f0e-9c1e-3f1f2d8b7a10"
ACCOUNTS = """\
root:x:0:0:root:/root:/bin/bash
jane.doe:x:1000:1000:Jane Doe,,+49 123:/home/jane.doe:/bin/bash
stroke:x:990:990::/var/lib/stroke:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nrender:x:105:jane.doe,stroke\njane.doe:x:1000:\nacme-payroll:x:1002:jane.doe\n"


def facts(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = gpu_facts.collect(
        host,
        {**DEFAULTS, "packages": ASKED, "paths": ["/", "/boot"], "users": ["jane.doe", "stroke"]},
    )
    return found


def captured(root: Path, target: Path) -> dict[str, Any]:
    """Capture a tree and lay the capture out somewhere else; returns what the module returns."""
    host = recording.Recorder(root)
    facts(host)
    result: dict[str, Any] = recording.pack(host, ASKED)
    target.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(result["archive"]))) as archive:
        archive.extractall(target, filter="data")
    return result


# What is replaced on purpose, and what belongs to the file system a tree lies on.
OWN = {"hostname", "boot_id", "cmdline", "filesystems", "users"}


def plain(value: Any) -> Any:
    """Facts with identifiers, servers and names made alike."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if key not in OWN}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"(?i)\b[0-9a-f]{4,8}(-[0-9a-f]{2,4}){1,3}(-[0-9a-f]{12})?\b", "ID", value)
        value = re.sub(r"\b[0-9a-f]{32}\b", "ID", value)
        value = re.sub(r"LABEL=\S+", "LABEL=", value)
        return re.sub(r"://[^/ ]+", "://server", value)
    return value


@pytest.mark.parametrize("name", HOSTS)
def test_a_capture_reads_like_the_host(name: str, tmp_path: Path) -> None:
    root = tree(name, tmp_path / "host")
    captured(root, tmp_path / "copy")
    assert plain(facts(Host(tmp_path / "copy"))) == plain(facts(Host(root)))


def secret_host(target: Path) -> Path:
    root = tree("strix-halo-debian13-fixed", target)
    write(root, "proc/sys/kernel/hostname", "payroll-01.acme.internal\n")
    write(root, "etc/hostname", "payroll-01\n")
    write(root, "etc/passwd", ACCOUNTS)
    write(root, "etc/group", GROUP)
    write(
        root,
        "proc/cmdline",
        f"root=UUID={UUID} ro resume=PARTUUID=0f3c1b52-02 "
        "ip=10.1.2.3::10.1.2.1 rd.luks.uuid=luks-" + UUID + " netdev=aa:bb:cc:dd:ee:ff quiet\n",
    )
    write(root, "proc/self/mounts", "/dev/disk/by-id/nvme-Samsung_S6XN123 / ext4 rw 0 0\n"
          "10.1.2.9:/home/jane.doe /home/jane.doe nfs rw 0 0\n"
          "/dev/mapper/payroll--01-root /srv ext4 rw 0 0\n")  # fmt: skip
    write(root, "etc/apt/sources.list.d/own.sources",
          "Types: deb\nURIs: https://jane.doe:hunter2@apt.acme.internal/debian\nSuites: trixie\n"
          "Components: main\n")  # fmt: skip
    write(root, "etc/modprobe.d/note.conf", "# set by jane.doe on payroll-01\noptions ttm x=1\n")
    table = bytes([17, 0x1C]) + bytes(10) + (16384).to_bytes(2, "little") + bytes(0x1C - 14)
    write(root, "sys/firmware/dmi/tables/DMI", table + b"DIMM 0\0SERIAL-4711\0\0"
          + bytes([127, 4, 0, 0]) + b"\0\0")  # fmt: skip
    return root


SECRETS = ("payroll", "acme", "jane", "doe", "4711", "Samsung", "S6XN", "hunter2", "10.1.2",
           "aa:bb:cc", UUID, "0f3c1b52", "+49")  # fmt: skip


def test_nothing_tells_whose_host_it_was(tmp_path: Path) -> None:
    root = secret_host(tmp_path / "host")
    before = "".join(leaked(root))
    assert len([secret for secret in SECRETS if secret in before]) > 8, "the test has its subject"
    result = captured(root, tmp_path / "copy")
    assert leaked(tmp_path / "copy") == []
    assert {"host name", "login", "uuid", "mac", "server", "disk"} <= set(result["replaced"])


def leaked(root: Path) -> list[str]:
    """Every secret that is left, with the place that has it."""
    return [
        f"{path.relative_to(root)}: {secret}"
        for path in root.rglob("*")
        for secret in SECRETS
        if secret in str(path.relative_to(root))
        or (path.is_file() and secret.encode() in path.read_bytes())
    ]


def test_what_is_left_still_fits_together(tmp_path: Path) -> None:
    captured(secret_host(tmp_path / "host"), tmp_path / "copy")
    host = Host(tmp_path / "copy")
    found = facts(host)
    assert found["environment"]["hostname"] == "host"
    assert found["memory"]["dmi_bytes"] == 16 << 30, "the size of a module stays"
    cmdline = found["kernel"]["args"]
    root, unlock = cmdline[0].rpartition("=")[2], cmdline[4].partition("luks-")[2]
    assert root == unlock == "00000000-0000-4000-8000-000000000001"
    group = (tmp_path / "copy/etc/group").read_text(encoding="utf-8")
    assert "render:x:105:user1,stroke\n" in group and "user1:x:1000:" in group
    assert "user1:x:1000:1000::/home/user1:" in (tmp_path / "copy/etc/passwd").read_text("utf-8")
    own = [s for s in found["apt"]["sources"] if s["file"].endswith("own.sources")]
    assert own[0]["uris"] == ["https://mirror1.example/debian"]


def test_a_name_that_is_a_word_of_the_system_spoils_nothing(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13-fixed", tmp_path / "host")
    write(root, "proc/sys/kernel/hostname", "debian\n")
    write(root, "etc/passwd", "debian:x:1000:1000:Debian:/home/debian:/bin/bash\n")
    captured(root, tmp_path / "copy")
    found = facts(Host(tmp_path / "copy"))
    assert found["distribution"]["id"] == "debian"
    assert found["environment"]["hostname"] == "host"


def test_only_packages_of_interest_are_kept(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13-fixed", tmp_path / "host")
    status = root / "var/lib/dpkg/status"
    status.write_text(
        status.read_text(encoding="utf-8")
        + "\nPackage: acme-vpn\nStatus: install ok installed\nVersion: 1\nMaintainer: jane\n"
        + "\nPackage: half\nStatus: install reinstreq half-installed\nVersion: 1\n",
        encoding="utf-8",
    )
    result = captured(root, tmp_path / "copy")
    kept = (tmp_path / "copy/var/lib/dpkg/status").read_text(encoding="utf-8")
    assert "acme-vpn" not in kept and "Maintainer" not in kept
    assert "Package: half\n" in kept, "what is broken explains refusals"
    assert any("packages of no interest" in line for line in result["left_out"])


def test_the_module_captures_this_machine(tmp_path: Path) -> None:
    """Run as Ansible runs it, with the helpers beside it."""
    code = (
        "import sys, ansible.module_utils as m;"
        f"m.__path__.append({str(ROOT / 'roles/gpu_facts/module_utils')!r});"
        f"sys.argv = ['x']; import runpy; "
        f"runpy.run_path({str(ROOT / 'roles/gpu_facts/library/gpu_facts.py')!r}, "
        "run_name='__main__')"
    )
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"capture": True, "packages": ASKED}})
    done = subprocess.run([sys.executable, "-c", code], input=arguments, capture_output=True,
                          text=True, check=False)  # fmt: skip
    if "_ansible" in done.stderr or not done.stdout:  # newer ansible-core wants a profile
        host = recording.Recorder(Path("/"))
        facts(host)
        result = recording.pack(host, ASKED)
    else:
        result = json.loads(done.stdout)["capture"]
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(result["archive"]))) as archive:
        names = archive.getnames()
    assert "proc/meminfo" in names and "proc/cmdline" in names
    assert len(result["archive"]) < 500_000, "it has to travel in the result of a module"


def test_hostile_files_are_captured_without_a_surprise(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13-fixed", tmp_path / "host")
    write(root, "etc/passwd", b"\xff\xfe:::::\n:x\nname:x:99999999999999999999:1:a:b:c\n")
    write(root, "etc/group", "a\n:::\nx:y:1000:z,,\n")
    write(root, "sys/firmware/dmi/tables/DMI", b"\x11\x02\x00" * 40)
    write(root, "var/lib/dpkg/status", b"Package\n\n\n: :\n\xff" * 100)
    write(root, "proc/cmdline", b"\x00\xff root=UUID=")
    result = captured(root, tmp_path / "copy")
    assert result["files"] > 10


def run_of(**hosts: bytes) -> Run:
    found = {
        name: HostRun(
            name, facts={"gpu": "gfx1151", "distribution": "Debian GNU/Linux 13 (trixie)"},
            capture={"archive": base64.b64encode(data).decode(), "files": 2},
        )
        for name, data in hosts.items()
    }  # fmt: skip
    return Run(hosts=found)


def archive_of(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_several_hosts_share_one_archive_under_names_that_say_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "hosts.tar.gz"
    good = archive_of(**{"etc/os-release": "ID=debian\n"})
    written = stroke_capture.write(run_of(secret1=good, secret2=good), file)
    with tarfile.open(file) as archive:
        names = archive.getnames()
    first = "gfx1151-debian-gnu-linux-13-trixie"
    assert names == [f"{first}/etc/os-release", f"{first}-2/etc/os-release"]
    assert [host for host, _, _ in written] == ["secret1", "secret2"]


def test_a_host_cannot_write_outside_of_its_directory(tmp_path: Path) -> None:
    file = tmp_path / "hosts.tar.gz"
    evil = archive_of(**{"../evil": "x", "/etc/evil": "x", "etc/good": "x"})
    stroke_capture.write(run_of(box=evil), file)
    with tarfile.open(file) as archive:
        assert [name.partition("/")[2] for name in archive.getnames()] == ["etc/good"]


def test_the_command_writes_the_archive_and_says_what_was_replaced(home: Path) -> None:
    data = base64.b64encode(archive_of(**{"etc/os-release": "ID=debian\n"})).decode()
    capture = {"archive": data, "files": 1, "replaced": {"uuid": 3}, "left_out": []}
    found = backend(inspect=[*only("plan", "fresh"), published("fresh", {"capture": capture})])
    shown = stroke(found, "inspect", "hosts.ini", "--capture", "out.tar.gz", "--json")
    assert shown.exit_code == 0 and found.jobs[0].tags == ("all", "capture")
    assert "3 uuids" in shown.stderr and "out.tar.gz" in shown.stderr
    assert data not in shown.stdout, "the report stays small"
    assert tarfile.is_tarfile(home / "out.tar.gz")


def test_without_the_option_nothing_is_captured(home: Path) -> None:
    found = backend(inspect=only("plan", "fresh"))
    stroke(found, "inspect", "hosts.ini")
    assert found.jobs[0].tags == ()


def test_a_file_that_cannot_be_written_is_an_error_with_a_code(home: Path) -> None:
    capture = {"archive": base64.b64encode(archive_of(x="y")).decode(), "files": 1}
    found = backend(inspect=[event("runner_on_ok"), published("box1", {"capture": capture})])
    shown = stroke(found, "inspect", "hosts.ini", "--capture", str(home / "no" / "such" / "f"))
    assert shown.exit_code == 2 and "STK-108" in shown.stderr


def test_identifiers_are_replaced_alike_everywhere() -> None:
    names = anonymous.Names({}, [])
    first = names.text(f"a={UUID} b=aa:bb:cc:dd:ee:ff")
    again = names.text(f"a={UUID.upper()} b=AA:BB:CC:DD:EE:FF")
    assert again == first == "a=00000000-0000-4000-8000-000000000001 b=02:00:00:00:00:01"
