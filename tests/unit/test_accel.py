"""KVM is believed only after a boot in it; the verdict is kept, the reason is told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from stroke import accel
from stroke.accel import Trial, choose_accelerator, probe
from stroke.errors import StrokeError

# The console is where the arguments say; a stand-in for QEMU writes there what a guest would.
BOOTS = """#!/bin/sh
echo run >> "$(dirname "$0")/runs"
for word; do case $word in file,id=console,*) console=${word#*path=}; console=${console%%,*};; esac
done
echo "Run /init as init process" > "$console"
sleep 300
"""
BREAKS = """#!/bin/sh
echo run >> "$(dirname "$0")/runs"
echo 'KVM internal error. Suberror: 1' >&2
sleep 300
"""
ASSERTS = """#!/bin/sh
echo '../../target/i386/kvm/kvm.c:3183: set_msrs: Assertion failed.' >&2
exit 134
"""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accel, "_DEVICE", device)
    (tmp_path / "disk.raw").write_bytes(b"0")
    return Trial.of_kernel(tmp_path / "disk.raw", tmp_path / "vmlinuz", tmp_path / "initrd")


def qemu(tmp_path: Path, text: str) -> None:
    (tmp_path / "qemu-system-x86_64").write_text(text)
    (tmp_path / "qemu-system-x86_64").chmod(0o755)


def test_a_guest_that_boots_proves_kvm_once(tmp_path: Path, trial: Trial) -> None:
    qemu(tmp_path, BOOTS)
    said: list[str] = []
    assert choose_accelerator("auto", trial, said.append) == "kvm"
    assert choose_accelerator("kvm", trial, said.append) == "kvm"
    assert (tmp_path / "runs").read_text() == "run\n"
    assert said[-1] == "Using KVM: the guest boots in it"


def test_a_broken_kvm_falls_back_with_the_reason(tmp_path: Path, trial: Trial) -> None:
    qemu(tmp_path, BREAKS)
    said: list[str] = []
    started = time.monotonic()
    assert choose_accelerator("auto", trial, said.append) == "tcg"
    assert time.monotonic() - started < 20  # QEMU waits for ever after that message
    assert "KVM internal error" in said[-1]
    with pytest.raises(StrokeError, match="KVM does not work here") as caught:
        choose_accelerator("kvm", trial, said.append)
    assert caught.value.code == "STK-702"
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_qemu_that_dies_at_once_is_a_verdict_too(tmp_path: Path, trial: Trial) -> None:
    qemu(tmp_path, ASSERTS)
    verdict, reason = probe(trial)
    assert verdict == "tcg"
    assert "set_msrs: Assertion failed." in reason


def test_no_device_needs_no_probe(
    tmp_path: Path, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "_DEVICE", tmp_path / "absent")
    said: list[str] = []
    assert choose_accelerator("auto", trial, said.append) == "tcg"
    assert "there is no" in said[-1]
    assert not (tmp_path / "runs").exists()


def test_emulation_can_be_asked_for(trial: Trial) -> None:
    said: list[str] = []
    assert choose_accelerator("tcg", trial, said.append) == "tcg"
    assert "asked for" in said[-1]


def test_a_damaged_verdict_is_found_out_again(tmp_path: Path, trial: Trial) -> None:
    qemu(tmp_path, BOOTS)
    (tmp_path / "cache/stroke").mkdir(parents=True)
    (tmp_path / "cache/stroke/kvm.json").write_text("{")
    assert choose_accelerator("auto", trial, lambda sentence: None) == "kvm"


@pytest.mark.parametrize(
    ("version", "kind", "wanted"),
    [
        ("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "tcg", 1),
        ("8.0.5", "tcg", 1),
        ("8.1.0", "tcg", 2),
        ("10.0.2 (Debian 1:10.0.2+ds-2)", "tcg", 2),
        ("7.2.22", "kvm", 2),
        ("of another kind", "tcg", 1),
    ],
)
def test_an_old_emulation_gets_the_one_processor_that_is_sound(
    version: str, kind: str, wanted: int, tmp_path: Path, trial: Trial
) -> None:
    qemu(tmp_path, f"#!/bin/sh\necho 'QEMU emulator version {version}'\n")
    assert accel.processors(kind) == wanted


def test_processors_need_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "which", lambda name: None)
    with pytest.raises(StrokeError, match="qemu-system-x86_64"):
        accel.processors("tcg")
