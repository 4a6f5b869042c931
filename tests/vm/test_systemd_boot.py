"""A guest that starts by UEFI and systemd-boot: its arguments are in boot entries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start

pytestmark = pytest.mark.slow

MANAGED = ("amd_iommu", "amdgpu.gttsize", "ttm.pages_limit")
ENTRIES = "/boot/efi/loader/entries"
RECORD = "/var/lib/stroke/boot_params/originals.json"
DEFAULT = "LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ABSENT = "0000:7f:00.0"
seen: dict[str, str] = {}


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    options = SandboxOptions(name="stroke-systemd-boot", boot_loader="systemd-boot")
    running = start(tmp_path_factory.mktemp("state"), options)
    yield running
    running.sandbox.down()


def options(text: str) -> list[str]:
    """The words of every line `options`."""
    lines = [line for line in text.splitlines() if line.startswith("options")]
    return [word for line in lines for word in line.split()[1:]]


def entries(guest: Guest) -> dict[str, str]:
    names = guest.run(f"sudo ls {ENTRIES}").split()
    return {name: guest.run(f"sudo cat {ENTRIES}/{name}") for name in names}


def values(words: list[str], key: str) -> list[str]:
    return [word for word in words if word.partition("=")[0] == key]


def default(guest: Guest) -> str:
    """The entry that the loader is told to prefer; empty where it is told nothing."""
    path = f"/sys/firmware/efi/efivars/{DEFAULT}"
    return guest.run(f"sudo cat {path} 2>/dev/null | tail -c +5 | tr -d '\\0'")


def test_the_guest_was_started_by_systemd_boot(guest: Guest) -> None:
    assert "systemd-boot" in guest.run("sudo bootctl status 2>/dev/null | grep -m1 Product:")
    assert guest.run("test -d /sys/firmware/efi && echo yes") == "yes"
    assert guest.run("command -v update-grub || true") == ""
    (name,) = entries(guest)
    assert guest.run("uname -r") in name
    seen["entry"], seen["before"] = name, entries(guest)[name]
    seen["source"] = guest.run("sudo cat /etc/kernel/cmdline")
    seen["default"] = default(guest)
    assert "audit=0" in guest.run("cat /proc/cmdline")


def test_it_provisions_and_ends_with_a_completion(guest: Guest) -> None:
    result = guest.stroke("provision", "--yes")
    assert result.status == 0, result
    assert result.host["rebooted"] is True
    assert result.host["boot"]["outcome"] == "committed", result.host["boot"]
    assert values(guest.run("cat /proc/cmdline").split(), "stroke.trial")
    assert result.host["endpoint"]["completion"]["tokens"] > 0


def test_what_was_tried_starts_without_the_transaction(guest: Guest) -> None:
    kernel = guest.run("uname -r")
    guest.reboot()
    assert guest.run("uname -r") == kernel
    words = guest.run("cat /proc/cmdline").split()
    assert not [word for word in words if word.startswith("stroke.")], words
    assert not [name for name in entries(guest) if name.startswith("stroke")]
    assert guest.run("sudo test -e /boot/efi/stroke || echo gone") == "gone"
    assert default(guest) == seen["default"]


def test_a_system_that_lacks_what_is_required_is_left(guest: Guest) -> None:
    before = values(guest.run("cat /proc/cmdline").split(), "ttm.pages_limit")
    result = guest.stroke(
        "provision", "--yes", "-e", "stroke_memory_gib=96", "-e", "boot_guard_health_timeout=60",
        "-e", f'{{"boot_guard_gpus": ["{ABSENT}"]}}',
    )  # fmt: skip
    assert (result.status, result.codes) == (3, ["STK-510"]), result
    assert result.host["boot"]["outcome"] == "reverted"
    assert f"amdgpu does not drive the GPU at {ABSENT}" in result.host["boot"]["reason"]
    words = guest.run("cat /proc/cmdline").split()
    assert values(words, "stroke.lkg") and values(words, "ttm.pages_limit") == before
    assert default(guest) == "stroke-lkg.conf"
    again = guest.stroke("provision", "--yes")
    assert again.status == 0, again
    assert not [name for name in entries(guest) if name.startswith("stroke")]
    assert default(guest) == seen["default"]


def test_the_new_kernel_runs_with_the_arguments_of_both(guest: Guest) -> None:
    assert not guest.run("uname -r").startswith("6.12.")
    words = guest.run("cat /proc/cmdline").split()
    for key in MANAGED:
        assert len(values(words, key)) == 1, words
    for word in ("audit=0", "net.ifnames=0", "mitigations=off", "console=tty0"):
        assert word in words


def test_every_entry_and_the_source_have_each_argument_once(guest: Guest) -> None:
    found = entries(guest)
    assert len(found) == 2
    source = guest.run("sudo cat /etc/kernel/cmdline").split()
    for words in (source, *(options(text) for text in found.values())):
        for key in MANAGED:
            assert len(values(words, key)) == 1, words
    assert guest.run("test -e /etc/default/grub.d/90-stroke.cfg || echo none") == "none"


def test_a_second_run_changes_nothing(guest: Guest) -> None:
    before, boot = entries(guest), guest.boot_id
    result = guest.stroke("provision", "--yes", "--full")
    assert result.status == 0, result
    assert (result.host["changed"], result.host["rebooted"]) == (0, False), result
    assert (entries(guest), guest.boot_id) == (before, boot)


def test_an_entry_that_the_distribution_writes_anew_has_the_arguments(guest: Guest) -> None:
    release = guest.run("uname -r")
    guest.run(f"sudo kernel-install add {release} /boot/vmlinuz-{release}")
    words = options(entries(guest)[f"debian-{release}.conf"])
    for key in MANAGED:
        assert len(values(words, key)) == 1, words


def test_remove_gives_the_first_kernels_entry_back_byte_by_byte(guest: Guest) -> None:
    result = guest.stroke("remove", "--yes")
    assert result.status == 0, result
    assert entries(guest)[seen["entry"]] == seen["before"]
    assert guest.run("sudo cat /etc/kernel/cmdline") == seen["source"]
    for text in entries(guest).values():
        assert not [key for key in MANAGED if values(options(text), key)]
    assert guest.run(f"sudo test -e {RECORD} || echo gone") == "gone"


def test_the_guest_starts_without_them(guest: Guest) -> None:
    guest.reboot()
    words = guest.run("cat /proc/cmdline").split()
    assert not [key for key in MANAGED if values(words, key)]
