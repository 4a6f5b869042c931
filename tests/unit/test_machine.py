"""Processes that outlive stroke are ended only if they are ours; QEMU is told what was asked."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from stroke import firmware
from stroke.errors import StrokeError
from stroke.machine import Hardware, Process, free_port, spawn, tail, watch

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]
# exit() of one thread: its number in the kernel's asm/unistd.h.
EXIT = {"x86_64": 60, "aarch64": 93}


def test_a_spawned_process_is_known_across_runs_and_stops(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log")
    process.save(tmp_path / "it.json")
    again = Process.load(tmp_path / "it.json")
    assert again == process
    assert again is not None
    assert again.alive
    assert os.getpgid(process.pid) == process.pid  # Ctrl-C of the terminal does not reach it
    again.stop()
    assert not process.alive
    assert not Path(f"/proc/{process.pid}").exists()  # collected, no zombie


def test_another_process_with_the_same_id_is_left_alone() -> None:
    with subprocess.Popen(SLEEP) as stranger:
        ours = Process.of(stranger.pid)
        assert ours.alive
        recycled = replace(ours, started=ours.started + "1")
        assert not recycled.alive
        recycled.stop(patience=0.2)
        assert stranger.poll() is None
        stranger.kill()


def test_a_suspended_process_still_ends_politely(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log")
    os.kill(process.pid, signal.SIGSTOP)
    while "State:\tT" not in Path(f"/proc/{process.pid}/status").read_text():
        time.sleep(0.01)
    started = time.monotonic()
    process.stop()
    assert not process.alive
    assert time.monotonic() - started < 10


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); "
        "time.sleep(300)"
    )
    process = spawn([sys.executable, "-c", code], tmp_path / "log")
    assert watch(process, tmp_path / "log", "on", 20)
    process.stop(patience=0.3)
    assert not process.alive


@pytest.mark.skipif(platform.machine() not in EXIT, reason="its number of exit() is not known")
def test_a_process_is_there_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    """QEMU's disk is locked until then, and what is told by the leader alone is a zombie."""
    leave = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
        f"ctypes.CDLL(None).syscall({EXIT[platform.machine()]}, 0)"
    )
    process = spawn([sys.executable, "-c", leave], tmp_path / "log")
    stat = Path(f"/proc/{process.pid}/stat")
    deadline = time.monotonic() + 30
    while ") Z " not in stat.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.alive
    process.stop()
    assert not process.alive


@pytest.mark.parametrize("text", ["", "{}", '{"pid": "x", "started": "1"}', "[]"])
def test_a_damaged_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.json").write_text(text)
    assert Process.load(tmp_path / "it.json") is None
    assert Process.load(tmp_path / "absent.json") is None


def test_a_missing_program_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(StrokeError) as caught:
        spawn(["no-such-program-here"], tmp_path / "log")
    assert caught.value.code == "STK-701"


def test_watch_sees_the_end_of_the_process(tmp_path: Path) -> None:
    process = spawn(["true"], tmp_path / "log")
    started = time.monotonic()
    assert not watch(process, tmp_path / "console", "never", 60)
    assert time.monotonic() - started < 10
    process.stop()


def test_watch_gives_up_on_a_fatal_sign(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log")
    try:
        assert not watch(process, tmp_path / "console", "never", 60, fatal=lambda: True)
    finally:
        process.stop()


def test_the_disk_comes_first_and_is_the_one_that_boots(tmp_path: Path) -> None:
    hardware = Hardware(
        "tcg", 2048, 3, tmp_path / "a,b.qcow2", seed=tmp_path / "seed.img", seed_serial="s",
        ssh_port=2222, console=tmp_path / "console",
    )  # fmt: skip
    arguments = hardware.arguments("-snapshot")
    line = " ".join(arguments)
    assert "-accel tcg,thread=multi -cpu max -smp 3 -m 2048M" in line
    assert f"file={tmp_path}/a,,b.qcow2,if=none,id=disk" in line
    assert line.index("drive=disk,bootindex=1") < line.index("drive=seed,serial=s")
    assert "readonly=on" in line
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in line
    assert arguments[-1] == "-snapshot"


def test_kvm_takes_the_processor_of_the_host(tmp_path: Path) -> None:
    line = " ".join(Hardware("kvm", 512, 1, tmp_path / "disk.raw").arguments())
    assert "-accel kvm -cpu host" in line
    assert "format=raw" in line
    assert "hostfwd" not in line
    assert "pflash" not in line


def test_a_guest_with_uefi_has_a_store_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "usr/share/OVMF"
    place.mkdir(parents=True)
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (place / name).write_text(name)
    found = firmware.installed(tmp_path)
    monkeypatch.setattr(firmware, "installed", lambda: found)
    (tmp_path / "a,b").mkdir()
    ours = firmware.for_guest(tmp_path / "a,b")
    line = " ".join(Hardware("tcg", 512, 1, tmp_path / "disk.raw", firmware=ours).arguments())
    assert f"if=pflash,unit=0,format=raw,readonly=on,file={place}/OVMF_CODE_4M.fd" in line
    assert f"if=pflash,unit=1,format=raw,file={tmp_path}/a,,b/uefi-variables.fd" in line
    assert ours.variables.read_text() == "OVMF_VARS_4M.fd"


def test_missing_firmware_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(StrokeError) as caught:
        firmware.installed(tmp_path)
    assert caught.value.code == "STK-701"
    assert "ovmf" in str(caught.value.hint)


def test_tail_keeps_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(str(number) for number in range(50)))
    assert tail(tmp_path / "log", 2) == "48\n49"
    assert tail(tmp_path / "absent") == "(no output)"


def test_free_ports_are_on_loopback_and_high() -> None:
    assert 1024 < free_port() < 65536
