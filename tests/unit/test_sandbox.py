"""The life of a sandbox, with a stand-in for QEMU: up, status, down, and what stays behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import yaml
from stroke import sandbox as module
from stroke.accel import Trial
from stroke.disk import ESP_TOOLS
from stroke.engine_image import EngineImage
from stroke.errors import StrokeError
from stroke.host_apt import Archive
from stroke.machine import Process
from stroke.sandbox import Sandbox, SandboxOptions
from stroke.tiny_model import TinyModel

QEMU = f"""#!{sys.executable}
import pathlib, sys, time
if "--version" in sys.argv:
    sys.exit(print("QEMU emulator version 7.2.22"))
pathlib.Path(__file__).with_name("qemu.arguments").write_text("\\n".join(sys.argv[1:]))
time.sleep(300)
"""
DEAD_QEMU = "#!/bin/sh\necho 'no such machine' >&2\nsleep 0.3\nexit 1\n"
SSH = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/ssh.arguments"\nexit ${STUB_SSH_EXIT:-0}\n'
SILENT = "#!/bin/sh\nexit 0\n"
KEYGEN = '#!/bin/sh\nwhile [ "$1" != -f ]; do shift; done\necho k > "$2"; echo "t p c" > "$2.pub"\n'


class Repository:
    """Stands in for the package archive, which has tests of its own."""

    uri = "http://10.0.2.2:1/rocm/apt/7.2.4"
    key_url = "http://10.0.2.2:1/rocm.gpg.key"
    fingerprint = "A" * 40

    def __init__(self, directory: Path) -> None:
        self.calls: list[str] = []

    def build(self) -> None:
        self.calls.append("build")

    def serve(self) -> None:
        self.calls.append("serve")

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of stand-ins, and homes of our own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    stubs = {"qemu-system-x86_64": QEMU, "ssh": SSH, "ssh-keygen": KEYGEN}
    stubs["qemu-img"] = '#!/bin/sh\necho \'{"format": "raw", "virtual-size": 4096}\'\n'
    for name in set(module._TOOLS) - set(stubs):
        stubs[name] = SILENT
    for name, text in stubs.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = tmp_path / "disk.raw"
    base.write_bytes(b"\0" * 4096)
    monkeypatch.setattr(module, "PackageRepository", Repository)
    monkeypatch.setattr(module, "read_archive", lambda: Archive("http://archive.example/debian"))
    monkeypatch.setattr(module, "KEYRING", "/")
    monkeypatch.setattr(module, "choose_accelerator", lambda *given: "tcg")
    engine = EngineImage(tmp_path / "engine.tar")
    monkeypatch.setattr(module, "engine_image", lambda *given: engine)
    monkeypatch.setattr(module, "tiny_model", lambda: TinyModel(tmp_path / "m.gguf", "c0ffee"))
    monkeypatch.setattr(Sandbox, "_base", lambda self: (base, Trial(base, "")))
    return tools


def process_of(box: Sandbox) -> Process:
    process = Process.load(box.directory / "qemu.json")
    assert process is not None
    return process


def test_up_writes_an_inventory_and_down_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    said: list[str] = []
    box = Sandbox(SandboxOptions(name="one", declared_memory_gib=64), said.append)
    assert box.status().state == "none"

    inventory = box.up()

    process = process_of(box)
    assert process.alive
    assert box.status().state == "running"
    assert box.status().inventory == inventory
    host = yaml.safe_load(inventory.read_text())["all"]["hosts"]["one"]
    assert host["ansible_host"] == "127.0.0.1"
    assert host["ansible_port"] == box.status().port
    assert host["ansible_user"] == "admin"
    assert "StrictHostKeyChecking=yes" in host["ansible_ssh_common_args"]
    assert str(box.directory / "known_hosts") in host["ansible_ssh_common_args"]
    assert host["stroke_gpu"] == "gfx1151"
    assert host["stroke_memory_gib"] == 64
    assert host["rocm_mirror_uri"] == Repository.uri
    assert host["inference_server_image"] == "localhost/stroke-sandbox/llamacpp:1"
    assert host["model_store_models"] == [
        {"name": "tiny", "source": str(tmp_path / "m.gguf"), "sha256": "c0ffee"}
    ]
    known = (box.directory / "known_hosts").read_text()
    assert known == f"[127.0.0.1]:{box.status().port} t p\n"
    assert box.directory.stat().st_mode & 0o077 == 0
    assert any("one gives a login" in sentence for sentence in said)

    assert box.ssh(["uname", "-r"]) == 0
    assert (tools / "ssh.arguments").read_text().splitlines()[-1].endswith("127.0.0.1 uname -r")

    box.down()
    assert not process.alive
    assert list((tmp_path / "state").iterdir()) == []


def test_up_twice_is_refused_and_the_guest_lives_on(tools: Path) -> None:
    box = Sandbox(SandboxOptions(name="twice"))
    box.up()
    try:
        with pytest.raises(StrokeError) as caught:
            Sandbox(SandboxOptions(name="twice")).up()
        assert caught.value.code == "STK-703"
        assert process_of(box).alive
    finally:
        box.down()


def test_up_after_a_killed_up_starts_over(tools: Path) -> None:
    box = Sandbox(SandboxOptions(name="half"))
    box.up()
    left = process_of(box)
    box.inventory.unlink()  # the inventory is the last thing that `up` writes
    try:
        box.up()
        assert not left.alive
        assert process_of(box).alive
    finally:
        box.down()


def test_a_guest_that_dies_is_told_with_its_last_words(tools: Path) -> None:
    (tools / "qemu-system-x86_64").write_text(DEAD_QEMU)
    (tools / "ssh").write_text("#!/bin/sh\nexit 255\n")
    box = Sandbox(SandboxOptions(name="dead"))
    with pytest.raises(StrokeError, match="no such machine") as caught:
        box.up()
    assert caught.value.code == "STK-702"
    assert box.status().state == "stopped"
    box.down()
    assert not box.directory.exists()


def test_a_failing_up_ends_what_it_started(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> TinyModel:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "tiny_model", interrupt)
    box = Sandbox(SandboxOptions(name="ctrl-c"))
    with pytest.raises(KeyboardInterrupt):
        box.up()
    assert not process_of(box).alive
    box.down()


@pytest.mark.parametrize("verb", ["down", "ssh"])
def test_without_a_sandbox_the_error_names_the_next_command(tools: Path, verb: str) -> None:
    box = Sandbox(SandboxOptions(name="none"))
    with pytest.raises(StrokeError) as caught:
        box.down() if verb == "down" else box.ssh([])
    assert caught.value.code == "STK-703"
    assert caught.value.hint == "stroke sandbox up"
    assert not box.directory.with_suffix(".lock").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SandboxOptions(name="Upper"), "host name"),
        (SandboxOptions(name="../x"), "host name"),
        (SandboxOptions(name="x\n"), "host name"),
        (SandboxOptions(release="buster"), "bookworm, trixie, forky"),
        (SandboxOptions(accel="hvf"), "auto, kvm, tcg"),
        (SandboxOptions(image=Path("/nowhere.qcow2")), "/nowhere.qcow2 does not exist"),
        (SandboxOptions(disk_gib=1), "3 GiB"),
        (SandboxOptions(boot_mib=10), "/boot"),
        (SandboxOptions(boot_loader="lilo"), "grub, grub-efi, systemd-boot"),
        (SandboxOptions(boot_loader="systemd-boot", boot_mib=512), "without a separate /boot"),
        (SandboxOptions(boot_loader="systemd-boot", image=Path("/dev/null")), "does not exist"),
    ],
)
def test_options_that_cannot_work_are_refused(options: SandboxOptions, words: str) -> None:
    with pytest.raises(StrokeError, match=words) as caught:
        options.check()
    assert caught.value.code == "STK-704"


def test_the_default_options_are_fine() -> None:
    SandboxOptions().check()
    SandboxOptions(boot_loader="systemd-boot").check()


def test_a_guest_with_systemd_boot_starts_by_uefi(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ESP_TOOLS:
        (tools / name).write_text(SILENT)
        (tools / name).chmod(0o755)
    code, variables = tmp_path / "code.fd", tmp_path / "variables.fd"
    for path in (code, variables):
        path.write_text("")
    monkeypatch.setattr(module, "installed", lambda: (code, variables))
    monkeypatch.setattr("stroke.firmware.installed", lambda: (code, variables))
    laid: list[bool] = []
    monkeypatch.setattr(
        module, "overlay", lambda base, disk, gib, boot, *, ours, esp: laid.append(esp)
    )
    box = Sandbox(SandboxOptions(name="uefi", boot_loader="systemd-boot"))
    box.up()
    try:
        said = tools / "qemu.arguments"
        deadline = time.monotonic() + 60
        while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        words = said.read_text().split()
        assert words[words.index("-smp") + 1] == "1"  # this QEMU emulates no more without a fault
        assert f"if=pflash,unit=1,format=raw,file={box.directory}/uefi-variables.fd" in words
        assert laid == [True]
    finally:
        box.down()


def test_a_cloud_image_is_given_a_nocloud_disk(tools: Path, tmp_path: Path) -> None:
    image = tmp_path / "cloud.qcow2"
    image.write_bytes(b"QFI\xfb")
    box = Sandbox(SandboxOptions(name="cloud", image=image))
    box.up()
    try:
        assert (box.directory / "seed.img").read_bytes()[16 * 2048 + 1 :][:5] == b"CD001"
        assert "cloud-init status --wait" in (tools / "ssh.arguments").read_text()
    finally:
        box.down()
