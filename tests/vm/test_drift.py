"""Drift of what only a machine with a kernel and a boot loader has: reported, mended, proven.

The rest of the oracle is in tests/oracle, natively in a container.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.vm.guest import Guest, values
from tests.vm.provisioned import UNIT, Provisioned

pytestmark = pytest.mark.slow

# Edits the generated boot entries, which is what a hand does that knows no drop-in.
EDIT = "sudo sed -i '/^[[:space:]]*linux/ {}' /boot/grub/grub.cfg"


@dataclass(frozen=True)
class Drift:
    """What is done to the host, and what the plan has to say of it."""

    name: str
    inject: str
    reboot: bool
    report: tuple[tuple[str, str, str], ...]
    rebooted: bool


DRIFTS = (
    Drift(
        "an argument is removed by hand from the boot entries",
        EDIT.format("s/ amd_iommu=off//"),
        True,
        (("boot_params", "reboot", "amd_iommu"),),
        True,
    ),
    Drift(
        "an argument is duplicated by hand in the boot entries",
        EDIT.format("s/$/ amd_iommu=off/"),
        True,
        (("boot_params", "reboot", "amd_iommu"),),
        True,
    ),
    Drift(
        "an argument is given by hand with another value, in a drop-in that sorts after ours",
        "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX amd_iommu=on\"'"
        " | sudo tee /etc/default/grub.d/95-hand.cfg >/dev/null; sudo update-grub 2>/dev/null;"
        " sudo rm /etc/default/grub.d/95-hand.cfg",
        True,
        (("boot_params", "reboot", "amd_iommu"),),
        True,
    ),
    Drift(
        "the drop-in is deleted and the boot loader's file is made again",
        "sudo rm /etc/default/grub.d/90-stroke.cfg; sudo update-grub 2>/dev/null",
        True,
        (
            ("boot_params", "create", "/etc/default/grub.d/90-stroke.cfg"),
            ("boot_params", "reboot", "amd_iommu"),
            ("boot_params", "reboot", "amdgpu.gttsize"),
            ("boot_params", "reboot", "ttm.pages_limit"),
        ),
        True,
    ),
    Drift(
        "the drop-in is deleted and nothing was booted since",
        "sudo rm /etc/default/grub.d/90-stroke.cfg",
        False,
        (("boot_params", "create", "/etc/default/grub.d/90-stroke.cfg"),),
        False,
    ),
    Drift(
        "the kernel's meta package is removed",
        "sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y remove linux-image-amd64",
        False,
        (("kernel", "install", "linux-image-amd64"),),
        False,
    ),
    Drift(
        "the firmware package is removed",
        "sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y remove firmware-amd-graphics",
        False,
        (("kernel", "install", "firmware-amd-graphics"),),
        False,
    ),
)


@pytest.fixture(scope="module")
def guest(provisioned: Provisioned) -> Guest:
    provisioned.start()
    return provisioned.guest


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: str(drift.name))
def test_drift_of_kernel_and_boot_is_reported_and_mended(guest: Guest, drift: Drift) -> None:
    guest.run(drift.inject)
    if drift.reboot:
        guest.reboot()
        # A service that is loading is not drift.
        guest.wait_for_unit(UNIT)
    plan = guest.stroke("plan")
    assert plan.status == 0, plan
    assert sorted(values(plan.host, "role", "action", "what")) == sorted(drift.report)
    mended = guest.stroke("provision", "--yes")
    assert mended.status == 0, mended
    assert mended.host["rebooted"] is drift.rebooted
    after = guest.stroke("plan", "--detailed-exitcode")
    assert after.status == 0, after


def test_after_all_that_every_role_in_full_changes_nothing(guest: Guest) -> None:
    result = guest.stroke("provision", "--yes", "--full")
    assert (result.status, result.host["changed"]) == (0, 0), result
    assert result.host["rebooted"] is False
