"""Every fixture host is given back or refused, and the facts and the manifest tell the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_host import boot
from gpu_host.arguments import configured
from gpu_host.files import Host

from tests.unit.boot_trees import (
    EDITED,
    TREES,
    WANTED,
    contents,
    host,
    run,
)
from tests.unit.plugins import plugin
from tests.unit.trees import tree

from ansible.module_utils.boot_config.errors import BootConfigError  # isort: skip

ALL = pytest.mark.parametrize("name", sorted(EDITED))


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


def test_entries_of_an_open_boot_transaction_keep_what_they_have(tmp_path: Path) -> None:
    """The last known good system is to start as it did, where entries have no machine id, too."""
    root = host("boot-systemd-debian", tmp_path / "host")
    (root / "etc/machine-id").unlink()
    folder = root / "boot/efi/loader/entries"
    good = folder / "stroke-lkg.conf"
    text = "version 6.12.107+deb13-amd64\nlinux /stroke/vmlinuz\noptions ro amd_iommu=on\n"
    good.write_text(text)
    told = run(root)
    assert good.read_text() == text
    assert not [path for path in (*told["files"], *told["others"]) if "stroke-" in path]
    assert [path for path in told["files"] if "/loader/entries/" in path]
    seen = configured(Host(root), "/boot/efi/loader/entries")
    assert seen and not [one for one in seen if "stroke-" in str(one)]
