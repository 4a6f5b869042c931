"""The boot transaction where GRUB's menu is made of boot entries: Fedora and RHEL."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_host import system
from gpu_host.files import Host as Files

from tests.unit.bls_host import (
    EL9_UPGRADED,
    FEDORA43,
    KINDS,
    MACHINE,
    PERMANENT,
    WORDS,
    BlsHost,
    Kind,
    arm,
    commit,
    found,
    left,
    surrounded,
)
from tests.unit.guard_host import (
    CODE_OF,
    ORDER,
    SMALLEST,
    booted,
    confirm,
    cut_off,
    hold,
    watch,
)
from tests.unit.plugins import ROLES, plugin

probe = CODE_OF["probe"]
plans = plugin("boot_guard", "boot_guard")
STATE = "var/lib/stroke/boot_guard/state.json"
CHECKER = shutil.which("grub-script-check")
Step = Callable[[BlsHost], object]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    return surrounded(monkeypatch)


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> BlsHost:
    return BlsHost(tmp_path / "host", request.param)


def test_a_host_as_its_installer_leaves_it_is_guarded(host: BlsHost) -> None:
    assert found(host) == []
    seen = probe.probe(host.root)
    assert (seen["obstacles"], seen["open"], seen["leftover"]) == ([], False, False)
    assert seen["copies_bytes"] == probe.SPARE + 4 * SMALLEST, "kernel and initramfs"
    assert plans.boot_mode(seen, False) == "guarded"


def test_a_trial_whose_initramfs_finds_no_root_comes_back_in_time() -> None:
    """dracut has its own words for that; it wants to wait longer for disks than it retries."""
    catalog = yaml.safe_load((ROLES / "host_profile/files/catalog/boot.yml").read_text())
    always = [one["argument"] for one in catalog["boot_trial"] if one["when"] == "always"]
    assert {"panic=10", "rd.shell=0", "rd.emergency=reboot"} <= set(always)
    (wait,) = [int(one.partition("=")[2]) for one in always if one.startswith("rd.timeout=")]
    assert 180 < wait < 300, "longer than it retries, and soon enough for who waits"


def test_the_good_case_commits_and_leaves_the_state_only(host: BlsHost) -> None:
    entries = {path.name for path in (host.root / "boot/loader/entries").iterdir()}
    hold(host)
    assert host.boot() == "lkg"
    assert watch(host) == ""
    assert probe.probe(host.root)["open"] is True
    told = system.boot_transaction(Files(host.root))
    assert told is not None
    assert (told["phase"], told["running"], told["open"]) == ("held", "lkg", True)
    arm(host)
    assert (host.boot(), host.running, host.state["phase"]) == ("trial", host.kind.new, "armed")
    assert host.line.split()[1:] == [
        *PERMANENT.split(), "panic=10", "oops=panic", f"stroke.trial={host.state['transaction']}",
    ]  # fmt: skip
    assert watch(host) == "waiting"
    assert host.state["phase"] == "healthy"
    confirm(host)
    commit(host)
    assert host.state["phase"] == "committed"
    assert left(host) == [STATE]
    after = {path.name for path in (host.root / "boot/loader/entries").iterdir()}
    assert after == entries | {f"{MACHINE}-{host.kind.new}.conf"}
    assert (host.boot(), host.running) == ("stock", host.kind.new)
    assert host.line.split()[1:] == PERMANENT.split()
    assert watch(host) == ""


def test_a_trial_that_ends_without_a_word_is_reverted_once_and_for_good(host: BlsHost) -> None:
    hold(host)
    arm(host)
    assert [host.boot(), host.boot(), host.boot()] == ["trial", "lkg", "lkg"]
    assert (host.running, watch(host)) == (host.kind.old, "")
    assert host.state["phase"] == "reverted"
    assert "panic" in host.state["why"]
    hold(host)
    arm(host)
    assert [host.boot(), host.boot()] == ["trial", "lkg"]
    host.guard.abort({})
    assert left(host) == []
    assert (host.boot(), host.running) == ("stock", host.kind.new), (
        "the distribution's choice again"
    )


def test_grub_that_cannot_write_starts_the_good_system(host: BlsHost) -> None:
    hold(host)
    arm(host)
    assert [host.boot(grub_can_write=False) for _ in range(3)] == ["lkg", "lkg", "lkg"]


@pytest.mark.parametrize("name", ["vmlinuz-{}", "initramfs-{}.img"])
def test_a_kernel_that_cannot_be_loaded_is_left_at_once(host: BlsHost, name: str) -> None:
    hold(host)
    arm(host)
    (host.root / "boot" / name.format(host.kind.new)).unlink()
    assert (host.boot(), host.running) == ("lkg", host.kind.old)


@pytest.mark.parametrize(
    ("failing", "seconds", "why"),
    [
        (["there is no default route"], 301, "there is no default route"),
        ([], 901, "nobody confirmed it within 900 s"),
    ],
)
def test_the_guard_goes_back(
    host: BlsHost, world: dict[str, list[Any]], failing: list[str], seconds: float, why: str
) -> None:
    hold(host)
    arm(host)
    host.boot()
    world["failing"] = failing
    assert watch(host, 100) == "waiting"
    assert watch(host, seconds) == why
    assert host.boot() == "lkg"


def test_marks_that_the_distribution_keeps_in_grubenv_decide_nothing(host: BlsHost) -> None:
    """A login of two minutes sets boot_success; grub2-reboot sets next_entry."""
    hold(host)
    arm(host)
    marks = {"boot_success": "1", "next_entry": f"{MACHINE}-{host.kind.new}", "boot_counter": "-1"}
    host.environment(**{**host.known, **marks})
    assert [host.boot(), host.boot()] == ["trial", "lkg"]


@pytest.mark.parametrize("half", ["kernel", "initramfs"])
def test_half_a_kernel_is_not_tried(host: BlsHost, half: str) -> None:
    hold(host)
    host.add(host.kind.new)
    name = {"kernel": f"vmlinuz-{host.kind.new}", "initramfs": f"initramfs-{host.kind.new}.img"}
    (host.root / "boot" / name[half]).write_bytes(b"x")
    with pytest.raises(CODE_OF["guard"].Refused, match="too small") as refused:
        host.guard.arm({**ORDER, "release": host.kind.new})
    assert refused.value.code == "STK-501"
    assert host.boot() == "lkg"


def test_a_default_that_is_pinned_is_told_before_the_reboot(host: BlsHost) -> None:
    """DEFAULTKERNEL or UPDATEDEFAULT=no in /etc/sysconfig/kernel, or grubby --set-default."""
    hold(host)
    host.add(host.kind.new)
    host.environment(**{**host.known, "saved_entry": f"{MACHINE}-{host.kind.old}"})
    order = {**ORDER, "release": host.kind.new}
    with pytest.raises(CODE_OF["guard"].Refused, match="is the boot menu's default") as refused:
        host.guard.arm(order)
    assert refused.value.code == "STK-512"
    assert (host.boot(), host.running) == ("lkg", host.kind.old)
    host.guard.arm({**order, "chosen": True})
    assert (host.boot(), host.running) == ("trial", host.kind.new)


def test_a_chosen_release_without_an_entry_is_not_tried(host: BlsHost) -> None:
    hold(host)
    host.install("6.1.9")
    with pytest.raises(CODE_OF["guard"].Refused, match=r"no entry of its own for vmlinuz-6\.1\.9"):
        host.guard.arm({**ORDER, "release": "6.1.9", "chosen": True})


@pytest.mark.parametrize("words", [WORDS, f"{PERMANENT} late", "root=/dev/sdb1 ro"])
def test_another_default_entry_is_not_committed(host: BlsHost, words: str) -> None:
    hold(host)
    arm(host)
    booted(host)
    confirm(host)
    host.arguments(words)
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        host.guard.commit({})
    assert refused.value.code == "STK-512"
    assert host.boot() == "lkg"


def test_what_was_written_to_boot_has_the_type_of_its_place(
    host: BlsHost, world: dict[str, list[Any]]
) -> None:
    """Not the modules that are kept as links: with a type of /var they could not be loaded."""
    hold(host)
    places = [str(path.relative_to(host.root)) for path in world["labelled"]]
    assert places == [
        "etc/systemd/system/stroke-boot-guard.service", "boot/stroke", "boot/grub2/custom.cfg",
    ]  # fmt: skip


@pytest.mark.skipif(CHECKER is None, reason="grub-script-check is not installed (grub-common)")
def test_grubs_own_checker_takes_the_menu(host: BlsHost) -> None:
    hold(host)
    arm(host)
    custom = (host.root / "boot/grub2/custom.cfg").read_text()
    done = subprocess.run([str(CHECKER)], input=custom, text=True, check=False)
    assert done.returncode == 0
    folder = "" if host.kind.apart else "/boot"
    assert f"'{folder}/initramfs-{host.kind.new}.img'" in custom
    assert f"'{folder}/stroke/initrd.img'" in custom


def test_fedoras_checker_is_asked(host: BlsHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command == ["grub2-script-check"]
        return subprocess.CompletedProcess(command, 1, "", "syntax error")

    monkeypatch.setattr(subprocess, "run", check)
    with pytest.raises(CODE_OF["guard"].Refused, match="does not take its menu: syntax error"):
        hold(host)
    assert host.boot() == "stock"


def prepared(steps: list[Step], root: Path, kind: Kind) -> BlsHost:
    host = BlsHost(root, kind)
    for step in steps:
        step(host)
    return host


# What has happened before, the command whose power is cut, and the systems that may start then.
CUTS: list[tuple[str, list[Step], Step, set[str]]] = [
    ("hold", [], hold, {"stock", "lkg"}),
    ("hold again", [hold, arm, booted, booted], hold, {"lkg"}),
    ("arm", [hold], arm, {"lkg", "trial"}),
    ("judge", [hold, arm, lambda host: host.boot()], watch, {"lkg"}),
    ("confirm", [hold, arm, booted], confirm, {"lkg"}),
    ("commit", [hold, arm, booted, confirm], commit, {"lkg", "stock"}),
]  # fmt: skip


@pytest.mark.parametrize("kind", [FEDORA43, EL9_UPGRADED], ids=["entries", "kernelopts"])
@pytest.mark.parametrize(("name", "before", "step", "allowed"), CUTS, ids=[c[0] for c in CUTS])
def test_power_cut_at_every_write(
    name: str, before: list[Step], step: Step, allowed: set[str], kind: Kind, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A system that was tried starts, later boots agree, and the next run ends in a commit."""
    cuts = 0
    for cuts, host in cut_off(
        lambda place: prepared(before, place, kind), step, tmp_path, monkeypatch
    ):
        started = host.boot()
        assert started in allowed, (cuts, host.state)
        if name == "hold" and started == "stock":
            assert host.running == kind.old
        if name == "commit" and started == "stock":
            assert (host.running, host.boot()) == (kind.new, "stock")
            assert host.line.split()[1:] == PERMANENT.split()
        if started == "trial":
            assert watch(host) == "waiting"
            assert host.boot() == "lkg"  # the next cut: a trial is never started twice
        watch(host)
        assert host.state.get("phase") in (
            None, "held", "reverted", "committed", "healthy", "confirmed"), host.state  # fmt: skip
        if started == "stock" and host.running == kind.new:
            host.guard.commit({})
        else:
            for next_step in (hold, arm, booted, confirm, commit):
                next_step(host)
        assert left(host) == [STATE], cuts
        assert (host.boot(), host.running) == ("stock", kind.new)
    assert cuts >= {"confirm": 2, "judge": 2}.get(name, 6), "the cuts did not reach the writes"
