"""What gpu_facts says of fixture hosts, of hostile files, and of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_host import boot, dpkg, locks, memory
from gpu_host.files import Host, kernel_arguments

from tests.unit.collected import SCHEMA, facts
from tests.unit.trees import HOSTS, ROOT, tree, write

CASES = ROOT / "tests" / "cases" / "facts"


def missing(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Every place where the expected part is not in the actual whole."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [
            problem
            for key, value in expected.items()
            for problem in missing(value, actual.get(key, "(no such key)"), f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for i, (e, a) in pairs for line in missing(e, a, f"{where}[{i}]")]
    return [] if expected == actual else [f"{where}: expected {expected!r}, got {actual!r}"]


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yml")), ids=lambda path: path.stem)
def test_facts_of_a_tree(path: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = facts(tree(case["tree"], tmp_path), **case.get("params", {}))
    assert set(found) == SCHEMA
    assert missing(case["facts"], found) == []
    assert found["unreadable"] == case.get("unreadable", [])
    assert found["notes"] == case.get("notes", [])


def test_every_tree_has_a_case() -> None:
    told = {yaml.safe_load(p.read_text(encoding="utf-8"))["tree"] for p in CASES.glob("*.yml")}
    assert told == set(HOSTS)


@pytest.mark.parametrize(
    ("cmdline", "tokens"),
    [
        ("a  b=c\td\n", ["a", "b=c", "d"]),
        ('memmap="4M$512M x" quiet', ['memmap="4M$512M x"', "quiet"]),
        ("quiet -- amd_iommu=off", ["quiet"]),
        ("", []),
        ('open="', ['open="']),
    ],
)
def test_command_line_is_cut_into_whole_tokens(cmdline: str, tokens: list[str]) -> None:
    assert kernel_arguments(cmdline) == tokens


def test_installed_architecture_wins_and_brokenness_is_kept() -> None:
    known = dpkg.parse_status(
        "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n"
        "Package: a\nStatus: deinstall ok config-files\nArchitecture: i386\nVersion: 2\n\n"
        "Package: b\nStatus: install ok triggers-pending\nVersion: 3\n\n"
        "Package: c\nStatus: nonsense\nVersion: 4\n\nno stanza at all\n"
    )
    assert known["a"] == dpkg.Package("1", False, False)
    assert known["b"] == dpkg.Package("3", False, True)
    assert set(known) == {"a", "b"}


@pytest.mark.parametrize(
    ("version", "number"),
    [("5.4.2+ds1-2+b1", "5.4.2"), ("5:28.1.1-1~debian", "28.1.1"), ("odd", "odd")],
)
def test_upstream_number_of_a_package_version(version: str, number: str) -> None:
    assert dpkg.upstream(version) == number


def test_lock_holder_is_found_through_proc_locks(tmp_path: Path) -> None:
    lock = write(tmp_path, "/var/lib/dpkg/lock-frontend", "")
    node = lock.stat().st_ino
    write(
        tmp_path,
        "/proc/locks",
        f"1: POSIX  ADVISORY  READ 7 fe:00:{node} 0 EOF\n"
        f"2: POSIX  ADVISORY  WRITE 8 fe:00:{node + 1} 0 EOF\n"
        f"3: POSIX  ADVISORY  WRITE 4242 fe:00:{node} 0 EOF\n",
    )
    write(tmp_path, "/proc/4242/comm", "apt-get\n")
    assert facts(tmp_path)["apt"]["locked_by"] == "pid 4242 (apt-get)"


def test_lock_holder_of_this_machine_is_asked_of_the_kernel(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    program = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        assert locks.holder(Host(Path("/")), str(lock), lock.stat().st_ino) == holder.pid
        holder.kill()
    assert locks.holder(Host(Path("/")), str(lock), lock.stat().st_ino) is None
    with lock.open("w") as stream:  # the probe itself took nothing
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_space_of_a_path_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    write(tmp_path, "/proc/self/mounts", "x / ext4 rw 0 0\ny /srv ext4 rw 0 0\n")
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv2").mkdir()
    found = facts(tmp_path, paths=["/srv/models/big", "/var", "/srv2"])["filesystems"]
    assert {path: entry["mount"] for path, entry in found.items()} == {
        "/srv/models/big": "/srv",
        "/var": "/",
        "/srv2": "/",
    }
    assert all(entry["total_bytes"] >= entry["free_bytes"] > 0 for entry in found.values())


def test_memory_modules_come_in_three_sizes_of_notation(tmp_path: Path) -> None:
    def module(number: int, size: int, extended: int = 0) -> None:
        table = bytearray(0x28)
        table[0x0C:0x0E] = size.to_bytes(2, "little")
        table[0x1C:0x20] = extended.to_bytes(4, "little")
        write(tmp_path, f"{memory.ENTRIES}/17-{number}/raw", bytes(table))

    module(0, 16384)  # MiB
    module(1, 0x8000 | 1024)  # KiB
    module(2, 0x7FFF, 65536)  # MiB in the longer field
    module(3, 0xFFFF)  # unknown
    module(4, 0)  # an empty socket
    assert memory.dmi_memory(Host(tmp_path)) == (16384 << 20) + (1024 << 10) + (65536 << 20)


def test_memory_table_is_walked_past_the_strings_behind_each_structure(tmp_path: Path) -> None:
    def structure(kind: int, size: int = 0, strings: bytes = b"\0") -> bytes:
        body = bytearray(0x28)
        body[0], body[1] = kind, len(body)
        body[0x0C:0x0E] = size.to_bytes(2, "little")
        return bytes(body) + strings + b"\0"

    table = structure(1, 512, b"Maker\0Model\0") + structure(17, 16384, b"DIMM 0\0")
    table += structure(17, 8192) + structure(127)
    write(tmp_path, memory.TABLE, table)
    write(tmp_path, memory.UDEV, "E:MEMORY_DEVICE_0_SIZE=1\n")
    assert memory.dmi_memory(Host(tmp_path)) == (16384 + 8192) << 20


def test_memory_modules_are_told_to_everybody_by_udev(tmp_path: Path) -> None:
    text = "E:MEMORY_DEVICE_0_SIZE=17179869184\nE:MEMORY_DEVICE_1_SIZE=17179869184\n"
    write(tmp_path, memory.UDEV, text)
    assert memory.dmi_memory(Host(tmp_path)) == 32 << 30


def test_boot_loader_is_what_the_firmware_was_told(tmp_path: Path) -> None:
    write(tmp_path, "/boot/grub/grub.cfg", "")
    assert boot.boot(Host(tmp_path), [])["loader"] == "grub"
    told = "systemd-boot 257.9".encode("utf-16-le")
    write(tmp_path, boot.LOADER_INFO, b"\x06\0\0\0" + told)
    assert boot.boot(Host(tmp_path), [])["loader"] == "systemd-boot"


@pytest.mark.parametrize(
    ("setting", "entries", "layout"),
    [
        ("", False, "grub"), ("", True, "grub-bls"), ("GRUB_ENABLE_BLSCFG=true", False, "grub-bls"),
        ("GRUB_ENABLE_BLSCFG=false", True, "grub"),
    ],
)  # fmt: skip
def test_grub_says_itself_whether_it_reads_boot_entries(
    setting: str, entries: bool, layout: str, tmp_path: Path
) -> None:
    write(tmp_path, "/boot/grub2/grub.cfg", "")
    write(tmp_path, "/etc/default/grub", setting)
    if entries:
        write(tmp_path, "/boot/loader/entries/a.conf", "options quiet\n")
    assert boot.boot(Host(tmp_path), [])["layout"] == layout


def test_unknown_loader_and_secure_boot(tmp_path: Path) -> None:
    write(tmp_path, "/boot/vmlinuz-1", "")
    write(tmp_path, boot.SECURE_BOOT, b"\x06\0\0\0\x01")
    found = boot.boot(Host(tmp_path), [])
    assert (found["loader"], found["firmware"], found["secure_boot"]) == ("unknown", "uefi", True)


def test_empty_machine_gives_empty_facts(tmp_path: Path) -> None:
    found = facts(tmp_path, packages=["podman"])
    assert found["gpus"] == []
    assert found["packages"] == {"podman": {"version": None, "held": False}}
    assert found["boot"]["loader"] == "none"
    assert found["unreadable"] == ["/proc/meminfo: no MemTotal"]


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_reported_and_never_raise(seed: int, tmp_path: Path) -> None:
    """Each file becomes noise, a directory, a loop, a FIFO, cut short, or nothing."""
    chance = random.Random(seed)  # noqa: S311
    root = tree("strix-halo-debian13-fixed", tmp_path)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        fate = chance.randrange(8)
        if fate < 3:
            path.unlink()
        if fate == 0:
            path.mkdir()
        elif fate == 1:
            path.symlink_to(path.name)
        elif fate == 2:
            os.mkfifo(path)
        elif fate == 3:
            path.write_bytes(chance.randbytes(200))
        elif fate == 4:
            path.write_bytes(data[: chance.randrange(len(data) + 1)])
        elif fate == 5:
            path.write_bytes(data.replace(b"0", b"\0").replace(b" ", b"\n\n"))
    found = facts(root, packages=["podman"], paths=["/var/lib/stroke"], users=["stroke"])
    assert set(found) == SCHEMA
    assert found["unreadable"]
    json.dumps(found)


def test_one_failed_section_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("ansible.module_utils.gpu_host.boot.boot", fail)
    found = facts(tree("forky", tmp_path))
    assert found["boot"] == {}
    assert found["unreadable"] == ["boot: RuntimeError: surprise"]
    assert found["distribution"]["codename"] == "forky"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become an ordinary user")
def test_ordinary_user_gets_less_detail_and_is_told(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13", tmp_path)
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path != Path("/") and path.stat().st_mode & 0o077 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    secret = root / "sys/firmware/dmi/entries/17-0/raw"
    secret.chmod(0o400)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        found = facts(root)
        told = any("17-0/raw: Permission denied" in line for line in found["unreadable"])
        os._exit(0 if told and found["memory"]["dmi_bytes"] is None and found["gpus"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_role_ships_its_helpers_and_reads_only(tmp_path: Path) -> None:
    root = tree("strix-halo-debian13", tmp_path / "host")
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))
    book = tmp_path / "book.yml"
    book.write_text(
        "- hosts: localhost\n"
        "  gather_facts: false\n"
        "  tasks:\n"
        "    - ansible.builtin.import_role:\n"
        "        name: gpu_facts\n"
        "    - ansible.builtin.debug:\n"
        "        msg: \"gfx={{ ansible_facts['gpu_facts'].gpus[0].gfx }}\"\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local",
         "-e", f"gpu_facts_root={root}", "-e", f"ansible_python_interpreter={sys.executable}",
         str(book)],
        env={**os.environ, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
             "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"), "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "gfx=gfx1151" in done.stdout, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*")) == before
