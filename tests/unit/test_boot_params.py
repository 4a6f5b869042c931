"""What the manifest wants of boot entries, and what boot_guard looks for before a reboot."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.facts import strix_halo
from tests.unit.plugins import plugin

guard = plugin("boot_guard", "boot_guard")
boot_params = plugin("boot_params", "boot_params")
ENTRY = "/boot/loader/entries/0f1e-6.18.9-200.fc43.x86_64.conf"


def bls_host() -> dict[str, Any]:
    facts = strix_halo(boot__layout="grub-bls")
    facts["kernel"]["installed"] = [{"release": "6.18.9-200.fc43.x86_64"}]
    settings = [
        ("/etc/default/grub", "amd_iommu", "off"), ("/etc/default/grub.d/9.cfg", "amd_iommu", "x"),
        (ENTRY, "amd-iommu", "off"), (ENTRY, "amd_iommu", "on"), (ENTRY, "quiet", None),
        ("/boot/loader/entries/0f1e-0-rescue.conf", "quiet", None),
    ]  # fmt: skip
    facts["arguments"] = {
        "configured": [{"source": s, "key": k, "value": v} for s, k, v in settings]
    }
    return facts


def test_items_of_a_host_with_boot_entries_say_what_each_file_has() -> None:
    iommu, pages = boot_params.kernel_argument_items(
        ["amd_iommu=off", "ttm.pages_limit=5"], {"boot.args.amd_iommu": "why"}, bls_host()
    )
    assert iommu["sources"] == {"/etc/default/grub": ["off"], ENTRY: ["off", "on"]}
    assert pages["sources"] == {"/etc/default/grub": [], ENTRY: []}
    assert iommu["reason"] == "why"


def test_another_systems_entry_for_the_same_kernel_leaves_it_open_whose_is_whose() -> None:
    facts = bls_host()
    other = {"source": ENTRY.replace("0f1e", "beef"), "key": "quiet", "value": None}
    facts["arguments"]["configured"].append(other)
    (item,) = boot_params.kernel_argument_items(["a=1"], {}, facts)
    assert list(item["sources"]) == ["/etc/default/grub"]


def test_items_of_a_host_with_grubs_own_menu_are_about_the_running_kernel() -> None:
    facts = bls_host()
    facts["boot"]["layout"] = "grub"
    for known in (facts, None):
        (item,) = boot_params.kernel_argument_items(["a=1"], {}, known)
        assert "sources" not in item


@pytest.mark.parametrize(("facts", "layout"), [(None, "auto"), ({"boot": {}}, "auto"),
                         ({"boot": {"layout": "grub-bls"}}, "grub-bls")])  # fmt: skip
def test_a_layout_that_nobody_saw_is_looked_for(facts: Any, layout: str) -> None:
    assert boot_params.boot_layout(facts) == layout


@pytest.mark.parametrize(
    ("manager", "layout", "files", "repair", "question"),
    [
        ("apt", "grub", ["/boot/vmlinuz-7", "/boot/initrd.img-7"], "update-grub", "GRUB_DEFAULT"),
        ("apt", "systemd-boot", ["/boot/vmlinuz-7", "/boot/initrd.img-7"], "-c -k all", "bootctl"),
        ("dnf", "grub-bls", ["/boot/vmlinuz-7", "/boot/initramfs-7.img"], "add-all", "grubby"),
        ("dnf", "systemd-boot", ["/usr/lib/modules/7/vmlinuz"], "add-all", "bootctl"),
    ],
)
def test_what_starts_is_looked_for_where_the_distribution_puts_it(
    manager: str, layout: str, files: list[str], repair: str, question: str
) -> None:
    facts = strix_halo(package_manager=manager, boot__layout=layout)
    facts["kernel"]["installed"] = [{"release": "7"}]
    assert guard.boot_files(facts) == files
    assert guard.boot_repair(facts).endswith(repair)
    assert question in guard.boot_question(facts)
