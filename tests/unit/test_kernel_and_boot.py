"""Where the kernel comes from, which arguments are set, and when a reboot is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.unit.facts import GIB, strix_halo
from tests.unit.plugins import ROLES, plugin

kernel = plugin("kernel", "kernel")
guard = plugin("boot_guard", "boot_guard")
preflight = plugin("preflight", "preflight")
OWN = "/etc/apt/sources.list.d/stroke-kernel.sources"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def archive(facts: dict[str, Any], suite: str = "trixie-backports") -> dict[str, Any]:
    found: dict[str, Any] = kernel.kernel_archive(
        facts, suite, ["main", "non-free-firmware"], KEYRING, OWN
    )
    return found


def test_backports_are_taken_from_where_the_host_takes_the_rest() -> None:
    assert archive(strix_halo()) == {
        "uri": "http://archive.example/debian",
        "suite": "trixie-backports",
        "components": ["main", "non-free-firmware"],
        "signed_by": KEYRING,
    }


def test_an_archive_that_the_admin_has_set_up_is_used() -> None:
    facts = strix_halo()
    backports = facts["apt"]["sources"][0] | {
        "suites": ["trixie-backports"],
        "components": ["main", "contrib", "non-free-firmware"],
    }
    facts["apt"]["sources"].append(backports)
    assert archive(facts)["components"] == []


def test_a_disabled_source_does_not_count() -> None:
    facts = strix_halo()
    backports = facts["apt"]["sources"][0] | {"suites": ["trixie-backports"], "enabled": False}
    facts["apt"]["sources"].append(backports)
    assert archive(facts)["components"] == ["main", "non-free-firmware"]


def test_strokes_own_source_does_not_make_itself_unneeded() -> None:
    facts = strix_halo()
    own = facts["apt"]["sources"][0] | {
        "file": OWN,
        "suites": ["trixie-backports"],
        "components": ["main", "non-free-firmware"],
    }
    facts["apt"]["sources"].append(own)
    assert archive(facts)["components"] == ["main", "non-free-firmware"]


def test_only_the_missing_component_is_added() -> None:
    assert archive(strix_halo(), suite="trixie")["components"] == ["non-free-firmware"]


@pytest.mark.parametrize(
    ("running", "args", "differences"),
    [
        ("7.2.12+deb13-amd64", ["quiet", "amd_iommu=off"], 0),
        ("6.18.4", ["amd_iommu=off"], 0),
        ("6.12.107+deb13-amd64", ["amd_iommu=off"], 1),
        ("7.2.12", ["amd_iommu=offx"], 1),
        ("7.2.12", ["amd_iommu=off", "amd_iommu=off"], 1),
        ("7.2.12", ["amd_iommu=on", "amd_iommu=off"], 1),
        ("7.2.12", ["xamd_iommu=off"], 1),
        ("6.9.99", [], 2),
    ],
)
def test_a_reboot_is_needed_when_the_running_system_differs(
    running: str, args: list[str], differences: int
) -> None:
    facts = strix_halo(kernel__running=running, kernel__args=args)
    assert len(guard.boot_differences(facts, "6.18.4", ["amd_iommu=off"])) == differences


def test_the_newest_kernel_is_newest_by_number() -> None:
    facts = strix_halo()
    facts["kernel"]["installed"] += [{"release": "6.9.1-amd64"}, {"release": "7.2.12+deb13-amd64"}]
    assert guard.newest_kernel(facts) == "7.2.12+deb13-amd64"


def drop_in(arguments: list[str], keys: list[str], kernel: str = "") -> str:
    folder = ROLES / "boot_params" / "templates" / "etc" / "default" / "grub.d"
    text = (folder / "90-stroke.cfg.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    return environment.from_string(text).render(
        boot_params_args=arguments, __boot_params_keys=keys, boot_params_default_kernel=kernel
    )


@pytest.mark.parametrize(
    ("linux", "default", "wanted_linux", "wanted_default"),
    [
        ("", "quiet", "", "quiet amd_iommu=off ttm.pages_limit=5"),
        ("console=ttyS0", "", "console=ttyS0", "amd_iommu=off ttm.pages_limit=5"),
        ("amd_iommu=on audit=0", "quiet", "audit=0", "quiet amd_iommu=off ttm.pages_limit=5"),
        ("", "amd_iommu amd_iommu=on quiet", "", "quiet amd_iommu=off ttm.pages_limit=5"),
        (
            "amd_iommu_dump=1",
            "ttmxpages_limit=1",
            "amd_iommu_dump=1",
            "ttmxpages_limit=1 amd_iommu=off ttm.pages_limit=5",
        ),
        (
            "",
            'dyndbg="file ec.c +p" a$b',
            "",
            'dyndbg="file ec.c +p" a$b amd_iommu=off ttm.pages_limit=5',
        ),
        ("ttm.pages_limit=1 ttm.pages_limit=2", "x", "", "x amd_iommu=off ttm.pages_limit=5"),
    ],
)
def test_the_drop_in_keeps_the_admins_arguments(
    tmp_path: Path, linux: str, default: str, wanted_linux: str, wanted_default: str
) -> None:
    script = tmp_path / "90-stroke.cfg"
    script.write_text(
        drop_in(["amd_iommu=off", "ttm.pages_limit=5"], ["amd_iommu", "ttm.pages_limit"]),
        encoding="utf-8",
    )
    shown = subprocess.run(
        [
            "sh",
            "-euc",
            '. "$0"; printf "%s\\n%s\\n" "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"',
            script,
        ],
        env={
            "GRUB_CMDLINE_LINUX": linux,
            "GRUB_CMDLINE_LINUX_DEFAULT": default,
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[0] == wanted_linux
    assert shown[1] == wanted_default


KERNEL_CHANGE = {"role": "kernel", "kind": "package", "what": "linux-image-amd64"}
PROFILE = {"kernel": {"boot_free_mib": 350, "root_free_mib": 1500}}


def problems(facts: dict[str, Any], needs: list[dict[str, Any]] | None = None) -> list[str]:
    found = preflight.preflight_problems(facts, PROFILE, [KERNEL_CHANGE], needs or [])
    return [problem["code"] for problem in found]


def test_a_host_with_room_has_no_problem() -> None:
    assert problems(strix_halo()) == []


def test_a_small_boot_file_system_stops_a_kernel() -> None:
    facts = strix_halo()
    facts["filesystems"]["/boot"]["free_bytes"] = 100 * 1024**2
    assert problems(facts) == ["STK-403"]
    assert preflight.preflight_problems(facts, PROFILE, [], []) == []


def test_needs_on_one_file_system_are_added_up() -> None:
    facts = strix_halo()
    need = {"path": "/var/lib/containers", "bytes": 79 * GIB, "what": "the container image"}
    assert problems(facts, [need]) == ["STK-404"]
    assert problems(facts, [need | {"bytes": 78 * GIB}]) == []


@pytest.mark.parametrize("place", ["broken", "interrupted"])
def test_a_broken_package_database_stops_an_installation(place: str) -> None:
    facts = strix_halo(**{f"apt__{place}": ["grub-pc"]})
    assert problems(facts) == ["STK-407"]
    agreed = preflight.preflight_problems(facts, PROFILE, [KERNEL_CHANGE], [], True)
    assert agreed == [], "somebody agreed that it is repaired first"


def test_a_transaction_that_does_not_end_stops_an_installation() -> None:
    facts = strix_halo(apt__locked_by="pid 7 (apt-get)", apt__broken=["grub-pc"])
    assert problems(facts) == ["STK-408"]


def test_a_hold_on_what_has_to_change_is_a_refusal() -> None:
    facts = strix_halo()
    facts["packages"]["linux-image-amd64"]["held"] = True
    assert problems(facts) == ["STK-415"]
    assert preflight.preflight_problems(facts, PROFILE, [], []) == []
    facts["state"]["packages"]["kernel"] = {"holds": ["linux-image-amd64"]}  # stroke's own
    assert problems(facts) == []
    locked = strix_halo(dnf={"locked_by": "pid 7 (dnf)"})
    assert problems(locked) == ["STK-408"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"environment__container": True}, "STK-402"),
        ({"environment__ostree": True}, "STK-411"),
        ({"boot__loader": "unknown"}, "STK-410"),
    ],
)
def test_hosts_that_stroke_cannot_work_on(changes: dict[str, Any], code: str) -> None:
    found = preflight.identity_problems(strix_halo(**changes), {"refusals": []}, [], True)
    assert [problem["code"] for problem in found] == [code]


@pytest.mark.parametrize("loader", ["grub", "systemd-boot"])
def test_both_boot_loaders_are_handled(loader: str) -> None:
    facts = strix_halo(boot__loader=loader)
    assert preflight.identity_problems(facts, {"refusals": []}, [], True) == []


def test_an_ostree_host_is_refused_once() -> None:
    refusal = {"code": "STK-411", "what": "x", "hint": "y"}
    facts = strix_halo(environment__ostree=True)
    assert preflight.identity_problems(facts, {"refusals": [refusal]}, [], True) == [refusal]


def test_wrong_settings_come_first() -> None:
    wrong = {"code": "STK-301", "what": "x", "hint": "y"}
    found = preflight.identity_problems(strix_halo(environment__container=True), {}, [wrong], True)
    assert found == [wrong]
