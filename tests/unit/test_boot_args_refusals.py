"""Boot configurations and arguments that are refused, each with a code and without a change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.boot_trees import (
    DEBIAN,
    MID,
    RECORD,
    changed,
    contents,
    host,
    run,
    run_module,
)

from ansible.module_utils.boot_config import files  # isort: skip  # needs the helpers of tests.unit.boot_trees
from ansible.module_utils.boot_config.errors import BootConfigError  # isort: skip


def test_a_full_environment_block_is_refused(tmp_path: Path) -> None:
    root = host("boot-bls-kernelopts", tmp_path / "host")
    before = contents(root)
    with pytest.raises(BootConfigError, match="do not fit into the 1024 bytes"):
        run(root, arguments=["amd_iommu=" + "x" * 900])
    assert contents(root) == before


def test_kernelopts_that_nobody_sets_are_refused(tmp_path: Path) -> None:
    root = host("boot-bls-kernelopts", tmp_path / "host")
    (root / "boot/grub2/grubenv").write_text("# GRUB Environment Block\n".ljust(1024, "#"))
    with pytest.raises(BootConfigError, match="which it does not set"):
        run(root)


def test_ostree_hosts_are_refused_with_their_own_command(tmp_path: Path) -> None:
    root = host("boot-ostree", tmp_path / "host")
    before = contents(root)
    with pytest.raises(BootConfigError) as caught:
        run(root)
    assert caught.value.code == "STK-411"
    assert "rpm-ostree kargs" in caught.value.hint
    (root / "usr/bin/rpm-ostree").unlink()
    with pytest.raises(BootConfigError) as caught:
        run(root)
    assert "bootc" in caught.value.hint
    assert changed(before, contents(root)) == {"usr/bin/rpm-ostree"}
    assert not run(root, state="absent")["changed"]


def test_grub_of_an_rpm_host_without_boot_entries_is_refused(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    text = (root / "etc/default/grub").read_text()
    (root / "etc/default/grub").write_text(text.replace("BLSCFG=true", "BLSCFG=false"))
    with pytest.raises(BootConfigError) as caught:
        run(root)
    assert caught.value.code == "STK-410"
    assert "grub2-switch-to-blscfg" in caught.value.hint


def test_a_unified_kernel_image_is_refused(tmp_path: Path) -> None:
    root = host("boot-systemd-debian", tmp_path / "host")
    (root / f"boot/efi/loader/entries/{MID}-{DEBIAN}.conf").unlink()
    (root / "boot/efi/EFI/Linux").mkdir(parents=True)
    (root / f"boot/efi/EFI/Linux/{MID}-{DEBIAN}.efi").write_text("")
    with pytest.raises(BootConfigError, match="inside of the unified kernel image"):
        run(root)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('GRUB_CMDLINE_LINUX="$(cat /etc/args)"', "computed"),
        ("GRUB_CMDLINE_LINUX=`cat /etc/args`", "computed"),
        ('GRUB_CMDLINE_LINUX="${X:-amd_iommu=on}"', "computed"),
        ('GRUB_CMDLINE_LINUX="quiet', "never closed"),
        ('A=1; GRUB_CMDLINE_LINUX="quiet"', "line of its own"),
    ],
)
def test_a_grub_file_that_cannot_be_understood_is_refused(
    line: str, why: str, tmp_path: Path
) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    (root / "etc/default/grub").write_text(f"GRUB_ENABLE_BLSCFG=true\n{line}\n")
    before = contents(root)
    with pytest.raises(BootConfigError, match=f"/etc/default/grub: .*{why}"):
        run(root)
    assert contents(root) == before


@pytest.mark.parametrize("bad", ["a b", 'x="y"', "a\nb", "", "$x", "a;b"])
def test_arguments_that_are_no_plain_words_are_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(BootConfigError) as caught:
        run(host("boot-bls-fedora", tmp_path / "host"), arguments=[bad])
    assert caught.value.code == "STK-303"


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootConfigError, match="given twice"):
        run(host("boot-bls-fedora", tmp_path / "host"), arguments=["a-b=1", "a_b=2"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "files": {}}', "\0\xff"])
def test_a_damaged_record_is_never_taken_for_none(text: str, tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    run(root)
    (root / RECORD).write_text(text)
    for state in ("present", "absent"):
        with pytest.raises(BootConfigError, match="is damaged"):
            run(root, state=state)


def test_odd_files_are_refused_without_waiting(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    path = root / "etc/kernel/cmdline"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BootConfigError, match="not a regular file"):
        run(root)
    path.unlink()
    path.symlink_to("cmdline")
    with pytest.raises(BootConfigError, match="loop of symbolic links"):
        run(root)
    path.unlink()
    path.write_bytes(b"x" * (files.LIMIT + 1))
    with pytest.raises(BootConfigError, match="larger than"):
        run(root)


def test_the_module_fails_with_code_and_hint(tmp_path: Path) -> None:
    told = run_module(host("boot-ostree", tmp_path / "host"))
    assert told["failed"]
    assert told["msg"].startswith("STK-411: ")
    assert ". Hint: " in told["msg"]
    assert "exception" not in json.dumps(told)
