"""A guest looked after by hand: held packages, a busy package manager, a GRUB of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start

pytestmark = pytest.mark.slow

GRUB = r"""# our own settings, do not touch
GRUB_DEFAULT=0   # the first one
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`
GRUB_CMDLINE_LINUX_DEFAULT="quiet loglevel=3 amd_iommu=on \
splash"
# GRUB_CMDLINE_LINUX="commented=out"
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200 net.ifnames=0 audit=0 \
dyndbg=\"file drivers/usb/* +p\" mitigations=off"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
"""
WORDS = ("loglevel=3", "audit=0", "mitigations=off", "net.ifnames=0", "console=ttyS0,115200")
LOCK_SECONDS = 60


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    running = start(tmp_path_factory.mktemp("odd"), SandboxOptions(name="stroke-odd"))
    yield running
    running.sandbox.down()


def test_a_held_kernel_is_refused_and_nothing_is_changed(guest: Guest) -> None:
    guest.run("sudo apt-mark hold linux-image-amd64")
    before = guest.fingerprint()
    refused = guest.stroke("provision", "--yes")
    assert (refused.status, refused.codes) == (5, ["STK-415"]), refused
    assert "apt-mark unhold linux-image-amd64" in refused.host["problems"][0]["hint"]
    assert guest.fingerprint() == before
    guest.run("sudo apt-mark unhold linux-image-amd64")


def test_it_waits_for_a_running_upgrade_and_keeps_a_file_written_by_hand(guest: Guest) -> None:
    """The argument with spaces is one that GRUB would hand over changed: it is told, not tried."""
    guest.run(f"sudo tee /etc/default/grub >/dev/null <<'END'\n{GRUB}END\nsudo update-grub")
    guest.reboot()
    told = guest.stroke("plan")
    if told.codes:
        assert told.codes == ["STK-420"], told
    guest.run(f"""sudo python3 - <<'PYTHON' >/dev/null 2>&1 &
import fcntl, time
files = [open(path, "w") for path in ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")]
for file in files:
    fcntl.lockf(file, fcntl.LOCK_EX)
time.sleep({LOCK_SECONDS})
PYTHON
sleep 2""")
    result = guest.stroke("provision", "--yes", "-e", "boot_guard_attended=true")
    assert result.status == 0, result
    assert guest.run("cat /etc/default/grub") == GRUB.strip()
    words = guest.run("cat /proc/cmdline").split()
    assert [word for word in WORDS if word not in words] == []
    assert [word for word in words if word.startswith("amd_iommu=")] == ["amd_iommu=off"]
    assert "drivers/usb/*" in guest.run("cat /proc/cmdline")
    again = guest.stroke("plan", "--detailed-exitcode")
    assert again.status == 0, again


def test_it_gets_its_own_arguments_back(guest: Guest) -> None:
    result = guest.stroke("remove", "--yes")
    assert result.status == 0, result
    assert guest.run("cat /etc/default/grub") == GRUB.strip()
    guest.reboot()
    words = guest.run("cat /proc/cmdline").split()
    assert [word for word in words if word.startswith("amd_iommu=")] == ["amd_iommu=on"]
    assert [word for word in WORDS if word not in words] == []


def test_a_boot_menu_that_grub_cannot_write_to_is_told_and_needs_consent(guest: Guest) -> None:
    """GRUB knows nothing of a journal: with data in it, what GRUB wrote would be undone."""
    guest.run("sudo tune2fs -o journal_data $(findmnt --noheadings --output SOURCE --target /boot)")
    guest.reboot()
    before = guest.fingerprint()
    refused = guest.stroke("provision", "--yes")
    assert (refused.status, set(refused.codes)) == (5, {"STK-420"}), refused
    said = [problem["what"] for problem in refused.host["problems"]]
    assert [what for what in said if "journal of /boot/grub has data" in what], said
    assert all("boot_guard_attended" in problem["hint"] for problem in refused.host["problems"])
    assert guest.fingerprint() == before
    agreed = guest.stroke("plan", "-e", "boot_guard_attended=true")
    assert (agreed.status, agreed.codes) == (0, []), agreed
    assert "a plain reboot" in json.dumps(agreed.host), agreed
