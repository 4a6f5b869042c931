"""More goes wrong than the trial: the state is lost, /var is late or full, stroke is removed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.unit.guard_host import (
    ASKED,
    CODE_OF,
    NEW,
    OLD,
    ORDER,
    STOCK,
    Host,
    confirm,
    cut_off,
    grub_surroundings,
    hold,
    watch,
)
from tests.unit.plugins import plugin

plans = plugin("boot_guard", "boot_guard")
KERNEL = "proc/sys/kernel"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    grub_surroundings(monkeypatch, {"failing": [], "wrong": []}, {"route": True, "login": []})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def arm(host: Host, **order: object) -> None:
    host.install(NEW)
    host.stock(NEW, STOCK)
    host.guard.arm({**ORDER, **order})


def on_trial(host: Host) -> None:
    hold(host)
    arm(host)
    assert host.boot() == "trial"
    assert watch(host) == "waiting"


def sysctls(host: Host, **values: int) -> None:
    for name, value in values.items():
        (host.root / KERNEL / name).write_text(f"{value}\n")


def test_removal_in_a_trial_ends_the_watching_first(host: Host) -> None:
    """Its process would find no state, and take that for a reason to go back."""
    sysctls(host, panic=0, panic_on_oops=0)
    on_trial(host)
    sysctls(host, panic=10, panic_on_oops=1)
    ASKED.clear()
    host.guard.abort({})
    assert ASKED[0] == "stop"
    assert [(host.root / KERNEL / name).read_text() for name in ("panic", "panic_on_oops")] == [
        "0\n", "0\n"]  # fmt: skip


def test_what_the_user_sets_is_not_set_again_by_the_trial(host: Host) -> None:
    hold(host)
    arm(host, arguments=["panic=60", "amd_iommu=off"], managed=["panic", "amd_iommu"])
    assert host.boot() == "trial"
    assert [word for word in host.line.split() if word.startswith(("panic", "oops"))] == [
        "panic=60", "oops=panic"]  # fmt: skip


def test_a_kernel_that_stays_in_its_panic_is_not_tried(host: Host) -> None:
    hold(host)
    with pytest.raises(CODE_OF["guard"].Refused, match="panic=0"):
        arm(host, arguments=["panic=0"])
    assert host.boot() == "lkg"


def test_grub_that_could_not_write_is_told_as_that(host: Host) -> None:
    hold(host)
    arm(host)
    assert host.boot(grub_can_write=False) == "lkg"
    assert watch(host) == ""
    assert host.state["why"].startswith("GRUB could not write")


def test_settings_of_a_trial_do_not_become_those_of_before(host: Host) -> None:
    sysctls(host, panic=0)
    on_trial(host)
    confirm(host)
    sysctls(host, panic=10)
    with pytest.raises(CODE_OF["guard"].Refused):
        host.guard.commit({})
    hold(host)
    arm(host, arguments=["amd_iommu=off", "ttm.pages_limit=6"])
    assert (host.boot(), watch(host)) == ("trial", "waiting")
    confirm(host)
    host.stock(NEW, "root=UUID=abc ro console=ttyS0 audit=0 quiet amd_iommu=off ttm.pages_limit=6")
    host.guard.commit({})
    assert (host.root / KERNEL / "panic").read_text() == "0\n"


def test_half_an_initramfs_is_not_kept_as_the_good_one(host: Host) -> None:
    (host.root / f"boot/initrd.img-{OLD}").write_bytes(b"")
    with pytest.raises(CODE_OF["guard"].Refused, match="too small") as refused:
        hold(host)
    assert refused.value.code == "STK-501"
    assert not host.guard.loader.open()


def test_a_menu_whose_state_is_lost_never_names_copies_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(place: Path) -> Host:
        host = Host(place)
        on_trial(host)
        assert host.boot() == "lkg"
        watch(host)
        host.places.state.write_text("")
        return host

    cuts = 0
    for cuts, host in cut_off(prepare, hold, tmp_path, monkeypatch):
        assert host.boot() in ("lkg", "stock"), cuts
        hold(host)
        assert host.boot() == "lkg"
    assert cuts > 6


def test_the_last_good_system_waits_for_its_state(host: Host) -> None:
    """/var may be a file system of its own, and late."""
    on_trial(host)
    shutil.rmtree(host.root / f"lib/modules/{OLD}")
    assert host.boot() == "lkg"
    (host.root / "var").rename(host.root / "later")
    (host.root / "var").mkdir()
    assert watch(host, 3) == "waiting"
    shutil.rmtree(host.root / "var")
    ASKED.clear()
    assert watch(host, 901) == "", "from here there is no way back"
    assert "reboot" not in ASKED
    shutil.rmtree(host.root / "var")
    (host.root / "later").rename(host.root / "var")
    assert watch(host, 5) == ""
    assert ASKED == ["reboot"], "drivers were looked for before their modules were there"
    assert host.boot() == "lkg"
    assert watch(host, 5) == ""
    assert ASKED == ["reboot"]


def test_modules_that_find_no_room_leave_it_as_it_was(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        (host.root / f"lib/modules/{OLD}/{number}.ko").write_bytes(b"m" * 99)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with pytest.raises(OSError, match="cannot be kept") as error:
            hold(host)
        assert len(str(error.value)) < 600
    with monkeypatch.context() as patched:
        patched.setattr(CODE_OF["disk"], "_together", lambda one, other: False)
        patched.setattr(os, "statvfs", lambda path: os.statvfs_result((1, 1) + (0,) * 8))
        with pytest.raises(OSError, match="lacks 65 MiB for the modules"):
            hold(host)
    kept = host.places.modules
    assert not kept.exists() or list(kept.iterdir()) == []
    assert host.boot() == "stock"
    hold(host)
    assert len(list((kept / OLD).iterdir())) == 201


def test_an_end_that_is_not_written_down_is_told_from_one_that_did_not_come(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = CODE_OF["guard"]
    on_trial(host)
    confirm(host)
    assert guard._problem(host.guard, "STK-512", "x")["open"] is True
    host.stock(NEW, "root=UUID=abc ro console=ttyS0 audit=0 quiet amd_iommu=off ttm.pages_limit=5")

    def full(places: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(CODE_OF["units"], "remove", full)
        with pytest.raises(OSError, match="No space"):
            host.guard.commit({})
    assert guard._problem(host.guard, "STK-511", "x")["open"] is False
    assert (host.boot(), host.running) == ("stock", NEW)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"running": "lkg", "why": "no GPU"},
         "STK-510: the new system did not prove itself, and the host went back to kernel 6.1, "),
        ({"running": "", "phase": "armed"}, "STK-511: kernel 6.1 runs, which is neither the trial"),
        ({"problem": {"what": "No space left", "passing": True}}, "STK-511: it is not known"),
        ({"problem": {"what": "another run"}}, "STK-511: it is not known"),
        ({"running": "trial", "phase": "healthy"}, "STK-511: it is not known"),
        (None, "STK-511: it is not known"),
    ],
)  # fmt: skip
def test_only_a_host_that_says_so_has_gone_back(
    answer: dict[str, object] | None, said: str
) -> None:
    found = plans.boot_left("" if answer is None else json.dumps(answer), "6.1")
    assert found.startswith(said)
    assert ("went back" in found) == said.startswith("STK-510")


def test_a_disk_that_is_full_is_asked_again() -> None:
    full = json.dumps({"problem": {"code": "STK-511", "what": "No space", "passing": True}})
    assert plans.boot_decided(full) and not plans.boot_ended(full)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.8.0-45-generic", "6.8.0-47-generic"),
        ("6.8.0-9-generic", "6.8.0-110-generic"),
        ("5.14.0-570.el9.x86_64", "5.14.0-611.5.1.el9.x86_64"),
        ("6.12.107+deb13-amd64", "7.2.12+deb13-amd64"),
        ("7.0-rc7-amd64", "7.0.1-amd64"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_builds_of_a_version_the_later_is_the_newest(
    older: str, newer: str, turned: bool
) -> None:
    releases = [newer, older] if turned else [older, newer]
    facts = {"kernel": {"running": older, "installed": [{"release": one} for one in releases]}}
    assert plans.newest_kernel(facts) == newer


def test_module_options_are_tried_as_arguments() -> None:
    options = {"amdgpu": "lockup_timeout=10000 mes=0", "softdog": ""}
    assert plans.module_words(options) == ["amdgpu.lockup_timeout=10000", "amdgpu.mes=0"]
