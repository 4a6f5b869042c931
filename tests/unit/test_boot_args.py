"""Kernel arguments on every layout: what changes, what stays, and how all of it comes back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.unit.boot_trees import (
    DEBIAN,
    EDITED,
    FEDORA,
    MID,
    OLDER,
    RECORD,
    WANTED,
    changed,
    contents,
    host,
    options,
    run,
    run_module,
)

import boot_args  # isort: skip  # needs the helpers of tests.unit.boot_trees

ALL = pytest.mark.parametrize("name", sorted(EDITED))
MINE = " ".join(WANTED)


@ALL
def test_only_the_files_with_arguments_change(name: str, tmp_path: Path) -> None:
    root = host(name, tmp_path / "host")
    before = contents(root)
    told = run(root)
    assert told["changed"]
    assert {path.lstrip("/") for path in told["files"]} == {
        path if "grubenv" not in path else "boot/grub2/grubenv" for path in EDITED[name]
    }
    assert changed(before, contents(root)) == EDITED[name] | {RECORD}


@ALL
def test_the_second_run_changes_nothing(name: str, tmp_path: Path) -> None:
    root = host(name, tmp_path / "host")
    first = run(root)
    after = contents(root)
    second = run(root)
    assert (second["changed"], second["files"], second["diff"]) == (False, [], [])
    assert second["replaced"] == first["replaced"]
    assert contents(root) == after


@ALL
def test_absent_gives_every_byte_back(name: str, tmp_path: Path) -> None:
    root = host(name, tmp_path / "host")
    before = contents(root)
    run(root)
    told = run(root, state="absent")
    assert told["changed"]
    assert contents(root) == before
    assert not run(root, state="absent")["changed"]


@ALL
def test_absent_gives_back_what_was_there_before_the_first_of_several_runs(
    name: str, tmp_path: Path
) -> None:
    root = host(name, tmp_path / "host")
    before = contents(root)
    run(root)
    run(root, arguments=["amd_iommu=pt", "ttm.pages_limit=5"], managed_keys=["quiet"])
    run(root, arguments=["iommu=pt"], managed_keys=[])
    run(root, state="absent")
    assert contents(root) == before


@ALL
def test_check_mode_tells_the_same_and_writes_nothing(name: str, tmp_path: Path) -> None:
    root = host(name, tmp_path / "host")
    before = contents(root)
    asked = run(root, check=True)
    assert contents(root) == before
    assert run(root) == asked
    planned = run(root, check=True, state="absent")
    assert planned["changed"]
    assert run(root, state="absent") == planned


@ALL
def test_the_diff_is_of_whole_files(name: str, tmp_path: Path) -> None:
    root = host(name, tmp_path / "host")
    for part in run(root)["diff"]:
        shown = (root / part["after_header"].lstrip("/")).read_text()
        assert part["after"] == shown
        assert part["before"] != shown


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("boot-grub-debian", "grub"), ("boot-bls-fedora", "grub-bls"),
        ("boot-bls-rhel", "grub-bls"), ("boot-bls-kernelopts", "grub-bls"),
        ("boot-systemd-debian", "systemd-boot"), ("boot-systemd-fedora", "systemd-boot"),
    ],
)  # fmt: skip
def test_the_layout_is_seen(name: str, layout: str, tmp_path: Path) -> None:
    assert run(host(name, tmp_path / "host"), check=True)["layout"] == layout


def test_fedoras_entry_keeps_the_admins_words_in_order(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    told = run(root)
    for release in (FEDORA, OLDER):
        assert options(root, f"boot/loader/entries/{MID}-{release}.conf") == (
            'root=UUID=5d1c ro rootflags=subvol=root rhgb quiet dyndbg="file ec.c +p; file x.c +p" '
            + MINE
        )
    assert "rescue" in str(told["others"])
    assert {"source": "/etc/kernel/cmdline", "had": "amd_iommu=on", "now": "amd_iommu=off"} in (
        told["replaced"]
    )


def test_the_admins_grub_file_keeps_quoting_and_comments(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    before = (root / "etc/default/grub").read_text()
    run(root)
    after = (root / "etc/default/grub").read_text()
    assert after == before.replace(" amd_iommu=on", "").replace('x.c +p\\""', f'x.c +p\\" {MINE}"')
    assert '# serial console of the rack; "keep" it' in after
    defaults, line = (root / path for path in ("etc/default/grub", "etc/kernel/cmdline"))
    assert line.stat().st_mtime_ns >= defaults.stat().st_mtime_ns, "20-grub.install would rewrite"


def test_single_quotes_stay_single_and_tuned_keeps_its_word(tmp_path: Path) -> None:
    root = host("boot-bls-rhel", tmp_path / "host")
    told = run(root)
    text = (root / "etc/default/grub").read_text()
    assert f"rd.lvm.lv=rhel/swap {MINE}'\n" in text
    entry = f"boot/loader/entries/{MID}-5.14.0-570.49.1.el9_6.x86_64.conf"
    assert options(root, entry).endswith(f"$tuned_params {MINE}")
    assert {"source": "/etc/tuned/bootcmdline", "key": "amd_iommu", "value": "on"} in (
        told["duplicates"]
    )


def test_another_systems_entry_is_left_alone(tmp_path: Path) -> None:
    root = host("boot-bls-rhel", tmp_path / "host")
    (other,) = run(root)["others"]
    assert "fedcba" in other


def test_kernelopts_carry_the_arguments_in_a_block_of_the_same_size(tmp_path: Path) -> None:
    root = host("boot-bls-kernelopts", tmp_path / "host")
    run(root)
    block = (root / "boot/grub2/grubenv").read_text()
    assert len(block) == 1024
    assert (root / "boot/grub2/grubenv").is_symlink()
    assert f"auto rd.lvm.lv=cl/root rhgb quiet {MINE} \nboot_success=0\n#" in block
    (entry,) = (root / "boot/loader/entries").iterdir()
    assert options(root, f"boot/loader/entries/{entry.name}") == "$kernelopts $tuned_params"


def test_a_source_for_future_kernels_is_made_where_there_is_none(tmp_path: Path) -> None:
    root = host("boot-systemd-debian", tmp_path / "host")
    run(root)
    # Neither the machine id, which kernel-install adds itself, nor the initrd of one kernel.
    assert (root / "etc/kernel/cmdline").read_text() == f"root=UUID=3a4b ro quiet {MINE}\n"
    assert (root / "etc/kernel/cmdline").stat().st_mode & 0o777 == 0o644
    entry = options(root, f"boot/efi/loader/entries/{MID}-{DEBIAN}.conf")
    assert entry == f"root=UUID=3a4b ro quiet systemd.machine_id={MID} {MINE}"


def test_the_vendors_line_is_where_a_new_source_begins(tmp_path: Path) -> None:
    root = host("boot-systemd-debian", tmp_path / "host")
    (root / "usr/lib/kernel").mkdir(parents=True)
    (root / "usr/lib/kernel/cmdline").write_text("rw\nroot=LABEL=x iommu=soft\n")
    run(root)
    assert (root / "etc/kernel/cmdline").read_text() == f"rw root=LABEL=x {MINE}\n"


def test_lines_comments_and_init_arguments_stay(tmp_path: Path) -> None:
    root = host("boot-systemd-fedora", tmp_path / "host")
    told = run(root)
    assert (root / "etc/kernel/cmdline").read_text() == (
        "# what every kernel gets\nroot=UUID=5d1c rw\nrootflags=subvol=root\n"
        f"quiet {MINE} -- splash"
    )
    assert "ttm.pages-limit=1000" in {entry["had"] for entry in told["replaced"]}


def test_a_kernel_that_came_since_is_cleaned_as_its_source_was(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    run(root)
    entries = root / "boot/loader/entries"
    new = (entries / f"{MID}-{FEDORA}.conf").read_text().replace(FEDORA, "6.18.1-300.fc43.x86_64")
    (entries / f"{MID}-6.18.1-300.fc43.x86_64.conf").write_text(new)
    (entries / f"{MID}-{OLDER}.conf").unlink()
    assert not run(root)["changed"]
    run(root, state="absent")
    line = options(root, f"boot/loader/entries/{MID}-6.18.1-300.fc43.x86_64.conf")
    assert "ttm.pages_limit" not in line
    assert line.endswith("amd_iommu=on")


def test_what_the_admin_changes_later_survives_both_ways(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    run(root)
    path = root / "etc/default/grub"
    path.write_text(path.read_text().replace("rhgb quiet", "nosmt quiet"))
    assert not run(root)["changed"]
    run(root, arguments=["amd_iommu=pt"], managed_keys=[])
    text = path.read_text()
    assert "nosmt quiet" in text
    assert "amd_iommu=pt" in text
    assert "amd_iommu=o" not in text
    run(root, state="absent")
    text = path.read_text()
    assert "nosmt quiet" in text
    assert "amd_iommu=on" in text
    assert "pages_limit" not in text
    assert text.count("amd_iommu") == 1


@pytest.mark.parametrize("harm", ["removed", "duplicated", "changed"])
def test_an_argument_that_was_tampered_with_is_mended(harm: str, tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    run(root)
    path = root / f"boot/loader/entries/{MID}-{FEDORA}.conf"
    text = path.read_text()
    to = {"removed": "", "duplicated": " amd_iommu=off amd_iommu=off", "changed": " amd_iommu=on"}
    path.write_text(text.replace(" amd_iommu=off", to[harm]))
    assert run(root)["files"] == [f"/{path.relative_to(root)}"]
    assert sorted(options(root, str(path.relative_to(root))).split()[-3:]) == sorted(WANTED)


def test_arguments_that_the_admin_had_set_already_are_not_taken_away(tmp_path: Path) -> None:
    root = host("boot-systemd-fedora", tmp_path / "host")
    line = f"options root=UUID=5d1c {MINE} quiet\n"
    entry = root / f"boot/loader/entries/{MID}-{FEDORA}+3-0.conf"
    entry.write_text(re.sub(r"options.*\n", line, entry.read_text()))
    (root / "etc/kernel/cmdline").write_text(f"root=UUID=5d1c {MINE} quiet\n")
    before = contents(root)
    assert not run(root)["changed"]
    run(root, state="absent")
    assert contents(root) == before


def test_grub_on_debian_is_only_looked_at(tmp_path: Path) -> None:
    root = host("boot-grub-debian", tmp_path / "host")
    before = contents(root)
    told = run(root)
    assert not told["changed"]
    assert contents(root) == before
    assert told["replaced"] == [
        {"source": "/etc/default/grub", "had": "amd_iommu=on", "now": "amd_iommu=off"},
        {"source": "/etc/default/grub.d/50-site.cfg", "had": "iommu=soft", "now": ""},
    ]
    assert told["duplicates"] == [
        {"source": "/etc/default/grub.d/99-late.cfg", "key": "ttm.pages_limit", "value": "1"},
        {"source": "/etc/modprobe.d/ttm.conf", "key": "ttm.pages_limit", "value": "27648000"},
    ]
    assert told["initramfs"] == "update-initramfs"


@pytest.mark.parametrize(
    ("name", "source", "key"),
    [
        ("boot-bls-fedora", "/etc/modprobe.d/amdgpu.conf", "amdgpu.gttsize"),
        ("boot-systemd-debian", "/etc/kernel/cmdline.d/10-site.conf", "iommu"),
    ],
)
def test_other_places_with_the_same_keys_are_told(
    name: str, source: str, key: str, tmp_path: Path
) -> None:
    told = run(host(name, tmp_path / "host"), check=True)
    assert [(one["source"], one["key"]) for one in told["duplicates"]] == [(source, key)]


def test_entries_of_an_image_belong_to_the_host_whose_kernels_they_start(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    (root / "etc/machine-id").write_text("f" * 32 + "\n")
    assert len([path for path in run(root)["files"] if "entries" in path]) == 2


def test_owner_and_mode_stay(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    path = root / f"boot/loader/entries/{MID}-{FEDORA}.conf"
    path.chmod(0o600)
    run(root)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (root / RECORD).stat().st_mode & 0o777 == 0o600


def test_the_module_answers_ansible(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    planned = run_module(root, check_mode=True, diff=True)
    assert planned["changed"]
    assert planned["diff"]
    assert "amdgpu.conf sets amdgpu.gttsize too" in json.dumps(planned["warnings"])
    assert not (root / RECORD).exists()
    assert run_module(root)["changed"]
    assert not run_module(root)["changed"]
    assert run_module(root, state="absent")["changed"]


def test_grubby_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grubby = tmp_path / "grubby"
    grubby.write_text("#!/bin/sh\necho 'args=\"ro quiet amd_iommu=off $tuned_params\"'\n")
    grubby.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert boot_args.unseen_by_grubby(["amd_iommu=off", "amd_iommu=of"]) == ["amd_iommu=of"]
