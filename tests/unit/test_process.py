"""A missing program is told with its package, a failing one with its own words."""

from __future__ import annotations

import os
from pathlib import Path

import distro
import pytest
from stroke.errors import StrokeError
from stroke.process import missing_tools, require, run, search_path


@pytest.mark.parametrize(
    ("family", "like", "hint"),
    [
        ("debian", "", "sudo apt-get install mmdebstrap qemu-utils"),
        ("linuxmint", "ubuntu debian", "sudo apt-get install mmdebstrap qemu-utils"),
        ("fedora", "", "sudo dnf install mmdebstrap qemu-img"),
        ("almalinux", "rhel centos fedora", "sudo dnf install mmdebstrap qemu-img"),
    ],
)
def test_the_hint_is_the_install_command_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, family: str, like: str, hint: str
) -> None:
    monkeypatch.setattr(distro, "id", lambda: family)
    monkeypatch.setattr(distro, "like", lambda: like)
    error = missing_tools(["qemu-img", "qemu-io", "mmdebstrap"])
    assert error.code == "STK-701"
    assert error.hint == hint
    assert "qemu-io" in str(error)


def test_require_names_only_what_is_absent() -> None:
    require(["sh"])
    with pytest.raises(StrokeError, match="needs no-such-tool,") as caught:
        require(["sh", "no-such-tool"])
    assert caught.value.code == "STK-701"


def test_a_required_file_is_told_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(distro, "id", lambda: "ubuntu")
    keyring = tmp_path / "debian-archive-keyring.gpg"
    with pytest.raises(StrokeError) as caught:
        require(["sh"], files=[keyring])
    assert caught.value.hint == "sudo apt-get install debian-archive-keyring"
    keyring.touch()
    require(["sh"], files=[keyring])


def test_system_directories_are_searched_after_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/opt/mine:/usr/bin")
    parts = search_path().split(":")
    assert parts[:2] == ["/opt/mine", "/usr/bin"]
    assert "/usr/sbin" in parts
    assert len(parts) == len(set(parts))


def test_a_failure_carries_the_programs_last_words() -> None:
    with pytest.raises(StrokeError, match=r"sh failed \(exit 3\): disk on fire") as caught:
        run(["sh", "-c", "echo disk on fire >&2; exit 3"])
    assert caught.value.code == "STK-704"
    assert run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_a_program_never_waits_for_the_terminal() -> None:
    saved, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)  # somebody's terminal, on which nobody types
    try:
        assert run(["cat"], timeout=20).stdout == ""
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, reading, writing):
            os.close(descriptor)
    assert run(["cat"], stdin="given").stdout == "given"


def test_an_absent_program_is_a_missing_tool() -> None:
    with pytest.raises(StrokeError) as caught:
        run(["no-such-tool"])
    assert caught.value.code == "STK-701"
