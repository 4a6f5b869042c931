"""From a stock Debian 13 with kernel 6.12 to a served endpoint, and back again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.vm

MANAGED = ("amd_iommu", "amdgpu.gttsize", "ttm.pages_limit")
UNIT = "stroke-inference.service"
LEFT = r"""
sudo find / -xdev \( -path /proc -o -path /sys -o -path /home -o -path /usr/share/grub \) -prune \
    -o \( -name '*stroke*' -print \)
sudo grep -rlI 'Managed by stroke' /etc 2>/dev/null || true
"""
seen: dict[str, Any] = {}


def version_at_least(guest: Guest, version: str, minimum: str) -> bool:
    question = f"dpkg --compare-versions '{version}' ge '{minimum}' && echo yes || true"
    return guest.run(question) == "yes"


def packages(guest: Guest) -> list[str]:
    """Every package with its version and state, as long as it has any."""
    listed = guest.run("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n'")
    return [line for line in listed.splitlines() if not line.endswith(" not-installed")]


def test_the_guest_is_stock(guest: Guest) -> None:
    assert guest.run("uname -r").startswith("6.12.")
    assert guest.run("command -v podman || true") == ""
    seen["arguments"] = guest.run("cat /proc/cmdline").split()
    seen["boot"] = guest.boot_id
    seen["stock"] = packages(guest)
    assert "audit=0" in seen["arguments"]


def test_provision_reboots_once_and_ends_with_a_completion(guest: Guest) -> None:
    result = guest.stroke("provision", "--yes")
    assert result.status == 0, result
    host = result.host
    assert host["rebooted"] is True
    assert host["boot"]["boot_id_before"] == seen["boot"]
    assert host["boot"]["boot_id_after"] == guest.boot_id
    assert host["endpoint"]["completion"]["tokens"] > 0
    assert host["endpoint"]["completion"]["text"].strip()
    seen["profile"], seen["model"] = host["profile"], host["endpoint"]["model"]
    seen["verify"] = host["verify"]


def test_checks_that_need_the_gpu_are_skipped_and_none_failed(guest: Guest) -> None:
    states = [check["status"] for check in seen["verify"]]
    assert "failed" not in states
    assert states.count("skipped (simulated)") >= 1
    assert states.count("passed") >= 5


def test_the_kernel_is_new_enough_and_from_backports(guest: Guest) -> None:
    running = guest.run("uname -r")
    package = guest.run(f"dpkg-query -W -f '${{Version}}' linux-image-{running}")
    assert "~bpo13" in package
    assert version_at_least(guest, package, "6.16.9")


def test_the_firmware_is_new_enough(guest: Guest) -> None:
    version = guest.run("dpkg-query -W -f '${Version}' firmware-amd-graphics")
    assert version_at_least(guest, version, "20260110")


def test_arguments_are_there_once_beside_those_of_the_administrator(guest: Guest) -> None:
    arguments = guest.run("cat /proc/cmdline").split()
    for key in MANAGED:
        assert len([word for word in arguments if word.startswith(f"{key}=")]) == 1, arguments
    before = [word for word in seen["arguments"] if not word.startswith("BOOT_IMAGE=")]
    assert [word for word in before if word not in arguments] == []


def test_arguments_follow_from_the_declared_memory(guest: Guest) -> None:
    memory = seen["profile"]["memory"]
    words = dict(
        word.split("=", 1) for word in guest.run("cat /proc/cmdline").split() if "=" in word
    )
    pages = int(words["ttm.pages_limit"])
    assert pages == memory["pages"]
    assert int(words["amdgpu.gttsize"]) == pages * 4096 // 2**20
    # 128 GiB are declared: most of it is for the GPU, and the system keeps some.
    assert 96 * 2**30 <= pages * 4096 < 128 * 2**30
    assert words["amd_iommu"] == "off"


def test_the_driver_takes_the_limit_over(guest: Guest) -> None:
    guest.run("sudo modprobe amdgpu")
    live = int(guest.run("cat /sys/module/ttm/parameters/pages_limit"))
    assert live == seen["profile"]["memory"]["pages"]


def test_the_service_user_may_use_the_gpu(guest: Guest) -> None:
    assert {"render", "video"} <= set(guest.run("id -nG stroke").split())


def test_rocm_came_from_the_signed_repository(guest: Guest) -> None:
    policy = guest.run("apt-cache policy rocminfo")
    assert "10.0.2.2" in policy
    assert guest.run("/opt/rocm-*/bin/rocminfo || rocminfo").startswith("rocminfo")


def test_the_unit_is_active_and_the_endpoint_on_loopback_only(guest: Guest) -> None:
    assert guest.run(f"systemctl is-active {UNIT}") == "active"
    assert guest.complete(seen["model"])["choices"][0]["message"]["content"]
    listening = guest.run("sudo ss -Hltn 'sport = :8000' | awk '{print $4}'").split()
    assert listening == ["127.0.0.1:8000"]


def test_second_provision_says_converged_and_touches_nothing(guest: Guest) -> None:
    before, boot = guest.fingerprint(), guest.boot_id
    result = guest.stroke("provision", "--yes")
    assert result.status == 0, result
    assert (result.host["status"], result.host["applied"]) == ("converged", False)
    assert result.host["changes"] == []
    assert (guest.fingerprint(), guest.boot_id) == (before, boot)


def test_plan_of_a_converged_host_is_empty(guest: Guest) -> None:
    result = guest.stroke("plan", "--detailed-exitcode")
    assert result.status == 0, result


def test_every_role_in_full_changes_nothing(guest: Guest) -> None:
    before, boot = guest.fingerprint(), guest.boot_id
    result = guest.stroke("provision", "--yes", "--full")
    assert result.status == 0, result
    assert (result.host["applied"], result.host["changed"]) == (True, 0), result
    assert result.host["rebooted"] is False
    assert (guest.fingerprint(), guest.boot_id) == (before, boot)


def test_the_service_is_back_by_itself_after_a_reboot(guest: Guest) -> None:
    guest.reboot()
    guest.wait_for_unit(UNIT)
    assert guest.complete(seen["model"])["choices"]


def test_verify_alone_passes(guest: Guest) -> None:
    result = guest.stroke("verify")
    assert result.status == 0, result


def test_remove_announces_the_packages(guest: Guest) -> None:
    before = guest.fingerprint()
    result = guest.stroke("remove", "--check")
    assert result.status == 0, result
    seen["packages"] = result.host["packages"]
    names = {package["name"] for package in seen["packages"]}
    assert {"podman", "firmware-amd-graphics", "rocminfo"} <= names
    assert guest.fingerprint() == before


def test_remove_takes_the_host_back(guest: Guest) -> None:
    result = guest.stroke("remove", "--yes", "--packages")
    assert result.status == 0, result
    assert result.host["leftover"] == []
    left = [path for path in guest.run(LEFT).splitlines() if "stroke-vm" not in path]
    assert left == []
    assert guest.run("getent passwd stroke || true") == ""
    assert guest.run("command -v podman || true") == ""


def test_the_arguments_of_before_are_back_after_a_reboot(guest: Guest) -> None:
    guest.reboot()
    words = guest.run("cat /proc/cmdline").split()
    assert [word for word in words if word.startswith(MANAGED)] == []
    assert words == seen["arguments"], json.dumps(words)


def test_every_package_is_what_it_was(guest: Guest) -> None:
    """Those of stroke and what they pulled in are gone, upgraded ones have their old version."""
    assert len(seen["packages"]) >= 5
    assert packages(guest) == seen["stock"]
    assert guest.run("uname -r").startswith("6.12.")
