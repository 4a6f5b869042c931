"""The boot transaction with systemd-boot: every way through it, and a power cut at every write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.guard_host import (
    CODE_OF,
    NEW,
    OLD,
    ORDER,
    STOCK,
    PowerCut,
    booted,
    confirm,
    cut_off,
    hold,
    power_cut_before,
    surroundings,
    watch,
)
from tests.unit.systemd_host import SystemdHost

STATE = "var/lib/stroke/boot_guard/state.json"
PERMANENT = "root=UUID=abc ro console=ttyS0 audit=0 quiet amd_iommu=off ttm.pages_limit=5"
# What LoaderEntryDefault was before, and `default` of loader.conf.
BEFORE = [("", ""), ("debian-*", ""), ("", "debian-*"), ("@saved", ""), ("nothing-*", "")]
Step = Callable[[SystemdHost], object]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the guard would ask of a running system."""
    told: dict[str, list[str]] = {"failing": [], "wrong": []}
    surroundings(monkeypatch, told, {"route": True, "login": []})
    return told


@pytest.fixture
def host(tmp_path: Path) -> SystemdHost:
    return SystemdHost(tmp_path / "host")


def arm(host: SystemdHost) -> None:
    if not (host.esp / f"loader/entries/debian-{NEW}.conf").exists():
        host.install(NEW)
    host.guard.arm(ORDER)


def commit(host: SystemdHost) -> None:
    host.arguments(PERMANENT)
    host.guard.commit({})


def ended(host: SystemdHost, default: str = "") -> None:
    """Nothing of a transaction is left, and the distribution's entries decide again."""
    assert [path for path in host.left() if path != STATE] == []
    assert not [name for name in host.entries() if name.startswith("stroke")]
    assert host.told("LoaderEntryDefault") == default
    assert host.told("LoaderEntryOneShot") == ""


@pytest.mark.parametrize(("default", "configured"), BEFORE)
def test_the_good_case_commits_and_leaves_the_state_only(
    tmp_path: Path, default: str, configured: str
) -> None:
    host = SystemdHost(tmp_path / "host", default=default, configured=configured)
    last = f"debian-{NEW}.conf" if default == "@saved" else ""
    host.variable("LoaderEntryLastBooted", last)
    hold(host)
    assert host.boot() == "lkg"
    assert watch(host) == ""
    arm(host)
    assert (host.boot(), host.running, host.state["phase"]) == ("trial", NEW, "armed")
    assert host.line.split() == [
        *PERMANENT.split(), "panic=10", "oops=panic",
        f"stroke.trial={host.state['transaction']}",
    ]  # fmt: skip
    assert watch(host) == "waiting"
    assert host.state["phase"] == "healthy"
    confirm(host)
    commit(host)
    assert host.state["phase"] == "committed"
    ended(host, default)
    assert host.told("LoaderEntryLastBooted") == last
    assert (host.boot(), host.running, host.line) == ("stock", NEW, PERMANENT)
    assert watch(host) == ""


def test_a_trial_that_ends_without_a_word_is_reverted_once_and_for_good(host: SystemdHost) -> None:
    hold(host)
    arm(host)
    assert [host.boot(), host.boot(), host.boot()] == ["trial", "lkg", "lkg"]
    assert (host.running, watch(host)) == (OLD, "")
    assert host.state["phase"] == "reverted"
    assert "panic" in host.state["why"]
    hold(host)
    assert host.boot() == "lkg"
    arm(host)
    assert [host.boot(), host.boot()] == ["trial", "lkg"]


@pytest.mark.parametrize("marks", [{"can_rename": False}, {"can_unset": False}])
def test_one_mark_that_cannot_be_taken_away_is_not_enough_for_a_second_trial(
    host: SystemdHost, marks: dict[str, bool]
) -> None:
    hold(host)
    arm(host)
    assert [host.boot(**marks) for _ in range(3)] == ["trial", "lkg", "lkg"]


def test_a_trial_that_systemd_found_good_is_not_started_again(host: SystemdHost) -> None:
    """systemd-bless-boot takes the counter off, before anybody has confirmed the trial."""
    hold(host)
    arm(host)
    booted(host)
    entries = host.esp / "loader/entries"
    (entries / "stroke-trial+0-1.conf").rename(entries / "stroke-trial.conf")
    assert [host.boot(), host.boot()] == ["lkg", "lkg"]
    watch(host)
    hold(host)
    arm(host)
    assert [name for name in host.entries() if "trial" in name] == ["stroke-trial+1.conf"]
    assert host.boot() == "trial"
    assert host.line.endswith(f"stroke.trial={host.state['transaction']}")
    assert host.boot() == "lkg"


def test_a_kernel_that_is_gone_is_not_tried(host: SystemdHost) -> None:
    hold(host)
    arm(host)
    (host.esp / f"debian/{NEW}/linux").unlink()
    assert (host.boot(), host.running) == ("lkg", OLD)


def test_half_a_kernel_is_not_tried(host: SystemdHost) -> None:
    hold(host)
    host.install(NEW, size=1000)
    with pytest.raises(CODE_OF["guard"].Refused, match="too small") as refused:
        host.guard.arm(ORDER)
    assert refused.value.code == "STK-501"
    assert host.boot() == "lkg"


def test_every_initrd_of_an_entry_is_kept_and_microcode_may_be_small(host: SystemdHost) -> None:
    (host.esp / "ucode.img").write_text("microcode")
    for release in (OLD, NEW):
        host.install(release)
        path = host.esp / f"loader/entries/debian-{release}.conf"
        path.write_text(path.read_text().replace("initrd ", "initrd /ucode.img\ninitrd ", 1))
    hold(host)
    host.guard.arm(ORDER)
    good = host.entries()["stroke-lkg.conf"]
    assert "initrd /stroke/initrd-1\ninitrd /stroke/initrd-2\n" in good
    assert (host.esp / "stroke/initrd-1").read_text() == "microcode"
    tried = host.entries()["stroke-trial+1.conf"]
    assert f"initrd /ucode.img\ninitrd /debian/{NEW}/initrd.img-{NEW}\n" in tried
    (host.esp / "ucode.img").unlink()
    with pytest.raises(CODE_OF["guard"].Refused, match=r"ucode\.img is missing"):
        host.guard.arm(ORDER)


def test_the_power_that_goes_before_the_choice_is_told(host: SystemdHost) -> None:
    hold(host)
    arm(host)
    host.variable("LoaderEntryOneShot", "")
    assert host.boot() == "lkg"
    watch(host)
    assert host.state["why"] == "the power went before the trial was chosen"


def test_the_guard_goes_back(host: SystemdHost, world: dict[str, list[str]]) -> None:
    hold(host)
    arm(host)
    host.boot()
    world["failing"] = ["amdgpu does not drive the GPU at 0000:7f:00.0"]
    assert watch(host, 301) == world["failing"][0]
    assert host.boot() == "lkg"


@pytest.mark.parametrize("pin", ["variable", "configuration"])
def test_an_entry_that_is_pinned_is_told_before_the_reboot_and_before_the_commit(
    tmp_path: Path, pin: str
) -> None:
    pinned = f"debian-{OLD}.conf"
    host = SystemdHost(tmp_path / "host", default=pinned if pin == "variable" else "",
                       configured=pinned if pin == "configuration" else "")  # fmt: skip
    hold(host)
    with pytest.raises(CODE_OF["guard"].Refused, match=f"{OLD} is the boot menu's default"):
        arm(host)
    host.guard.arm({**ORDER, "chosen": True})
    booted(host)
    assert host.running == NEW
    confirm(host)
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        commit(host)
    assert refused.value.code == "STK-512"
    assert host.boot() == "lkg"


@pytest.mark.parametrize("words", [STOCK, "root=/dev/sdb1 ro"], ids=["arguments", "root"])
def test_other_arguments_are_not_committed(host: SystemdHost, words: str) -> None:
    for step in (hold, arm, booted, confirm):
        step(host)
    host.arguments(words)
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        host.guard.commit({})
    assert refused.value.code == "STK-512"
    assert host.boot() == "lkg"


@pytest.mark.parametrize(("default", "configured"), BEFORE)
def test_abort_leaves_what_was_there(tmp_path: Path, default: str, configured: str) -> None:
    host = SystemdHost(tmp_path / "host", default=default, configured=configured)
    before = host.entries()
    hold(host)
    arm(host)
    assert len(host.left()) >= 6
    host.guard.abort({})
    assert host.left() == []
    ended(host, default)
    assert {name: text for name, text in host.entries().items() if NEW not in name} == before


def test_a_default_that_somebody_set_meanwhile_stays(host: SystemdHost) -> None:
    hold(host)
    host.variable("LoaderEntryDefault", f"debian-{OLD}.conf")
    host.guard.abort({})
    ended(host, f"debian-{OLD}.conf")


def prepared(steps: list[Step], root: Path, default: str = "") -> SystemdHost:
    host = SystemdHost(root, default=default)
    for step in steps:
        step(host)
    return host


# What has happened before, the command whose power is cut, and the systems that may start then.
CUTS: list[tuple[str, list[Step], Step, set[str]]] = [
    ("hold", [], hold, {"stock", "lkg"}),
    ("hold again", [hold, arm, booted, booted], hold, {"lkg"}),
    ("arm", [hold], arm, {"lkg", "trial"}),
    ("arm again", [hold, arm, booted, booted, hold], arm, {"lkg", "trial"}),
    ("judge", [hold, arm, lambda host: host.boot()], watch, {"lkg"}),
    ("confirm", [hold, arm, booted], confirm, {"lkg"}),
    ("commit", [hold, arm, booted, confirm], commit, {"lkg", "stock"}),
]  # fmt: skip


@pytest.mark.parametrize("default", ["", "debian-*"], ids=["no default", "a default"])
@pytest.mark.parametrize(("name", "before", "step", "allowed"), CUTS, ids=[c[0] for c in CUTS])
def test_power_cut_at_every_write(
    name: str, before: list[Step], step: Step, allowed: set[str], default: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A good system starts, every later boot agrees, and the next run ends in a commit."""
    cuts = 0
    for cuts, host in cut_off(
        lambda place: prepared(before, place, default), step, tmp_path, monkeypatch
    ):
        started = host.boot()
        assert started in allowed, (cuts, host.state)
        if name == "hold":
            assert host.running == OLD
        if name == "commit" and started == "stock":
            assert (host.running, host.boot()) == (NEW, "stock")
        if started == "trial":
            assert watch(host) == "waiting"
            assert host.boot() == "lkg"  # the next cut: a trial is never started twice
        watch(host)
        assert host.state.get("phase") in (
            None, "held", "reverted", "committed", "healthy", "confirmed"), host.state  # fmt: skip
        host.guard.tidy({})
        if host.running == NEW:
            assert host.state["phase"] == "committed"
        else:
            for next_step in (hold, arm, booted, confirm, commit):
                next_step(host)
        ended(host, default)
        assert (host.boot(), host.running, host.line) == ("stock", NEW, PERMANENT)
    assert cuts >= {"confirm": 2, "judge": 2}.get(name, 6), "the cuts did not reach the writes"


def test_power_cut_while_everything_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in range(1, 100):
        host = prepared([hold], tmp_path / str(call))
        with power_cut_before(call, monkeypatch):
            try:
                host.guard.abort({})
            except PowerCut:
                pass
            else:
                assert call > 8
                break
        assert host.boot() in ("lkg", "stock")
        host.guard.abort({})
        assert host.left() == []
        ended(host)
