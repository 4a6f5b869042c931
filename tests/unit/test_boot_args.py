"""Kernel arguments on every layout: what changes, what stays, and how all of it comes back."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from gpu_host import boot
from gpu_host.arguments import configured
from gpu_host.files import Host

from tests.unit.boot_trees import (
    STATE,
    TREES,
    WANTED,
    changed,
    contents,
    host,
    params,
    run_module,
)
from tests.unit.plugins import plugin
from tests.unit.trees import tree

import boot_args  # isort: skip  # needs the helpers of tests.unit.boot_trees
from ansible.module_utils.boot_config import files  # isort: skip
from ansible.module_utils.boot_config.errors import BootConfigError  # isort: skip

MID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
FEDORA = "6.17.12-300.fc43.x86_64"
OLDER = "6.17.1-300.fc43.x86_64"
DEBIAN = "6.12.107+deb13-amd64"
RECORD = f"{STATE}/originals.json".lstrip("/")
# What changes on each layout, besides the record.
EDITED = {
    "boot-bls-fedora": {
        "etc/kernel/cmdline", "etc/default/grub",
        f"boot/loader/entries/{MID}-{FEDORA}.conf", f"boot/loader/entries/{MID}-{OLDER}.conf",
    },
    "boot-bls-rhel": {
        "etc/default/grub", f"boot/loader/entries/{MID}-5.14.0-570.49.1.el9_6.x86_64.conf",
    },
    "boot-bls-kernelopts": {"etc/default/grub", "boot/efi/EFI/almalinux/grubenv"},
    "boot-systemd-debian": {
        "etc/kernel/cmdline", f"boot/efi/loader/entries/{MID}-{DEBIAN}.conf",
    },
    "boot-systemd-fedora": {
        "etc/kernel/cmdline", f"boot/loader/entries/{MID}-{FEDORA}+3-0.conf",
    },
}  # fmt: skip
ALL = pytest.mark.parametrize("name", sorted(EDITED))
MINE = " ".join(WANTED)


def run(root: Path, *, check: bool = False, **given: Any) -> dict[str, Any]:
    told: dict[str, Any] = boot_args.work(files.Host(root), params(root, **given), check)
    return told


def options(root: Path, path: str) -> str:
    (line,) = re.findall(r"^options\s+(.*)$", (root / path).read_text(), re.MULTILINE)
    return str(line)


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


def test_entries_of_an_image_belong_to_the_host_whose_kernels_they_start(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    (root / "etc/machine-id").write_text("f" * 32 + "\n")
    assert len([path for path in run(root)["files"] if "entries" in path]) == 2


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


@ALL
def test_a_full_disk_leaves_every_file_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at each write in turn; then there is room, and all of it can be undone."""
    writes = len(EDITED[name]) + 1
    for full_at in range(writes):
        root = host(name, tmp_path / f"host{full_at}")
        before = contents(root)
        count = 0

        def fsync(number: int, at: int = full_at) -> None:
            nonlocal count
            if os.path.isdir(f"/proc/self/fd/{number}"):  # noqa: PTH112
                return
            count += 1
            if count == at + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            run(root)
        monkeypatch.undo()
        after = contents(root)
        assert not [path for path in after if ".stroke-" in path]
        assert len(changed(before, after) - {RECORD}) == max(full_at - 1, 0)
        assert all(after[path] for path in EDITED[name] & after.keys())
        again = host(name, tmp_path / f"again{full_at}")
        run(again)
        run(root)
        assert contents(root) == contents(again)
        run(root, state="absent")
        assert contents(root) == before


@ALL
def test_a_change_of_arguments_that_was_cut_off_can_be_undone_and_finished(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.Host.write
    other = ["amd_iommu=pt", "nosmt"]
    for cut_at in range(1, len(EDITED[name]) + 1):
        root = host(name, tmp_path / f"host{cut_at}")
        before = contents(root)
        run(root)
        count = 0

        def cut(self: Any, path: str, text: str, mode: int = 0o644, at: int = cut_at) -> None:
            nonlocal count
            count += 1
            if count > at:
                raise OSError(errno.EIO, "Input/output error")
            write(self, path, text, mode)

        monkeypatch.setattr(files.Host, "write", cut)
        with pytest.raises(OSError, match="Input/output"):
            run(root, arguments=other)
        monkeypatch.undo()
        copy = tmp_path / f"copy{cut_at}"
        shutil.copytree(root, copy, symlinks=True)
        run(copy, state="absent")
        assert contents(copy) == before
        run(root, arguments=other)
        run(root, state="absent")
        assert contents(root) == before


def test_owner_and_mode_stay(tmp_path: Path) -> None:
    root = host("boot-bls-fedora", tmp_path / "host")
    path = root / f"boot/loader/entries/{MID}-{FEDORA}.conf"
    path.chmod(0o600)
    run(root)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (root / RECORD).stat().st_mode & 0o777 == 0o600


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


def test_the_module_fails_with_code_and_hint(tmp_path: Path) -> None:
    told = run_module(host("boot-ostree", tmp_path / "host"))
    assert told["failed"]
    assert told["msg"].startswith("STK-411: ")
    assert ". Hint: " in told["msg"]
    assert "exception" not in json.dumps(told)


def test_grubby_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grubby = tmp_path / "grubby"
    grubby.write_text("#!/bin/sh\necho 'args=\"ro quiet amd_iommu=off $tuned_params\"'\n")
    grubby.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert boot_args.unseen_by_grubby(["amd_iommu=off", "amd_iommu=of"]) == ["amd_iommu=of"]


EVERY = sorted(path.name for path in TREES.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", EVERY)
def test_every_fixture_host_is_given_back_or_refused(name: str, tmp_path: Path) -> None:
    root = tree(name, tmp_path / "host")
    before = contents(root)
    wanted = [*WANTED, "stroke.test=1"]
    try:
        told = run(root, arguments=wanted)
    except BootConfigError as error:
        assert error.code in ("STK-410", "STK-411")
        assert error.hint
        assert contents(root) == before
        return
    assert told["changed"] == (told["layout"] != "grub")
    assert not run(root, arguments=wanted)["changed"]
    run(root, state="absent")
    assert contents(root) == before


@pytest.mark.parametrize("name", EVERY)
def test_the_facts_tell_the_same_layout(name: str, tmp_path: Path) -> None:
    root = tree(name, tmp_path / "host")
    facts = boot.boot(Host(root), [])
    if facts["ostree"]:
        with pytest.raises(BootConfigError, match="ostree"):
            run(root, check=True)
    elif facts["layout"]:
        assert run(root, check=True)["layout"] == facts["layout"]


@ALL
def test_after_a_run_the_manifest_finds_every_argument_where_it_has_to_be(
    name: str, tmp_path: Path
) -> None:
    root = host(name, tmp_path / "host")
    (root / "etc/default").mkdir(exist_ok=True)
    if "systemd" in name:  # what an earlier boot loader left behind is not looked at
        (root / "etc/default/grub").write_text("GRUB_CMDLINE_LINUX=amd_iommu=on\n")

    def sources() -> dict[str, dict[str, list[str]]]:
        seen = Host(root)
        found = boot.boot(seen, [])
        releases = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
        facts = {
            "boot": found,
            "kernel": {"installed": [{"release": release} for release in releases]},
            "arguments": {"configured": configured(seen, found["entries_dir"])},
        }
        items = plugin("boot_params", "boot_params").kernel_argument_items(WANTED, {}, facts)
        return {item["key"]: item["sources"] for item in items}

    assert sources()["ttm.pages_limit"] != {}
    run(root)
    found = sources()
    looked_at = {
        f"/{path}" if "grubenv" not in path else "/boot/grub2/grubenv" for path in EDITED[name]
    }
    if name == "boot-bls-rhel":  # two systems have an entry for one kernel: whose is whose?
        looked_at = {"/etc/default/grub"}
    assert {path for paths in found.values() for path in paths} == looked_at
    for word in WANTED:
        key, _, value = word.partition("=")
        assert set(map(tuple, found[key].values())) == {(value,)}
    run(root, state="absent")
    left = sources()["ttm.pages_limit"]
    assert not any("28311552" in values for values in left.values())
