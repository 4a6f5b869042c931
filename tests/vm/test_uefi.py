"""A guest whose UEFI firmware starts GRUB: the boot transaction, kept and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start

pytestmark = pytest.mark.slow

ABSENT = "0000:7f:00.0"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    options = SandboxOptions(name="stroke-uefi", boot_loader="grub-efi")
    running = start(tmp_path_factory.mktemp("uefi"), options)
    yield running
    running.sandbox.down()


def words(guest: Guest, prefix: str) -> list[str]:
    return [word for word in guest.run("cat /proc/cmdline").split() if word.startswith(prefix)]


def test_a_new_kernel_is_tried_and_kept(guest: Guest) -> None:
    assert guest.run("test -d /sys/firmware/efi && echo yes") == "yes"
    result = guest.stroke("provision", "--yes")
    assert result.status == 0, result
    boot = result.host["boot"]
    assert (boot["outcome"], boot["kernel_after"]) == ("committed", guest.run("uname -r")), boot
    assert boot["kernel_before"].startswith("6.12.")
    assert words(guest, "stroke.trial=")
    guest.reboot()
    assert words(guest, "stroke.") == []
    assert guest.run("uname -r") == boot["kernel_after"]
    assert len(words(guest, "ttm.pages_limit=")) == 1


def test_a_system_that_lacks_what_is_required_is_left(guest: Guest) -> None:
    before = words(guest, "ttm.pages_limit=")
    result = guest.stroke(
        "provision", "--yes", "-e", "stroke_memory_gib=96", "-e", "boot_guard_health_timeout=60",
        "-e", f'{{"boot_guard_gpus": ["{ABSENT}"]}}',
    )  # fmt: skip
    assert (result.status, result.codes) == (3, ["STK-510"]), result
    assert result.host["boot"]["outcome"] == "reverted"
    assert f"amdgpu does not drive the GPU at {ABSENT}" in result.host["boot"]["reason"]
    assert words(guest, "stroke.lkg=") and words(guest, "ttm.pages_limit=") == before
    again = guest.stroke("provision", "--yes")
    assert again.status == 0, again
    assert guest.run("sudo find /boot -name custom.cfg -o -path /boot/stroke") == ""
