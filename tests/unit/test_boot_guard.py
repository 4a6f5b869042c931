"""The boot transaction on the host's side: every way through it, and a power cut at every write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guard_host import (
    CODE_OF,
    NEW,
    OLD,
    ORDER,
    STOCK,
    Host,
    PowerCut,
    confirm,
    cut_off,
    grub_surroundings,
    hold,
    power_cut_before,
    watch,
)

BASELINE = {"route": True, "login": ["ssh.service"]}
Step = Callable[[Host], object]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the guard would ask of a running system."""
    told: dict[str, list[str]] = {"failing": [], "wrong": []}
    grub_surroundings(monkeypatch, told, BASELINE)
    return told


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def arm(host: Host) -> None:
    host.install(NEW)
    host.stock(NEW, STOCK)
    host.guard.arm(ORDER)


def make_permanent(host: Host) -> None:
    """What boot_params and update-grub do."""
    host.stock(NEW, "root=UUID=abc ro console=ttyS0 audit=0 quiet amd_iommu=off ttm.pages_limit=5")


def commit(host: Host) -> None:
    make_permanent(host)
    host.guard.commit({})


def left(host: Host) -> list[str]:
    return sorted(
        str(path.relative_to(host.root))
        for path in host.root.rglob("*")
        if path.is_file() and ("stroke" in str(path.relative_to(host.root)) or
                               path.name == "custom.cfg")
    )  # fmt: skip


def test_the_good_case_commits_and_leaves_the_state_only(host: Host) -> None:
    hold(host)
    assert host.boot() == "lkg"
    assert watch(host) == ""
    arm(host)
    assert host.boot() == "trial"
    assert (host.running, host.state["phase"]) == (NEW, "armed")
    assert host.line.split()[1:] == [
        "root=UUID=abc", "ro", "console=ttyS0", "audit=0", "quiet", "amd_iommu=off",
        "ttm.pages_limit=5", "panic=10", "oops=panic",
        f"stroke.trial={host.state['transaction']}",
    ]  # fmt: skip
    assert watch(host) == "waiting"
    assert host.state["phase"] == "healthy"
    confirm(host)
    assert watch(host) == ""
    commit(host)
    assert left(host) == ["var/lib/stroke/boot_guard/state.json"]
    assert host.state["phase"] == "committed"
    assert (host.boot(), host.running) == ("stock", NEW)
    assert watch(host) == ""


def test_a_trial_that_ends_without_a_word_is_reverted_once_and_for_good(host: Host) -> None:
    hold(host)
    arm(host)
    assert [host.boot(), host.boot(), host.boot()] == ["trial", "lkg", "lkg"]
    assert host.running == OLD
    assert watch(host) == ""
    assert host.state["phase"] == "reverted"
    assert "panic" in host.state["why"]
    hold(host)
    arm(host)
    assert host.boot() == "trial"


def test_grub_that_cannot_write_starts_the_good_system(host: Host) -> None:
    hold(host)
    arm(host)
    assert [host.boot(grub_can_write=False) for _ in range(3)] == ["lkg", "lkg", "lkg"]


@pytest.mark.parametrize("block", [b"", b"\0" * 1024, bytes(range(256)) * 4])
def test_an_unreadable_environment_starts_the_good_system(host: Host, block: bytes) -> None:
    hold(host)
    arm(host)
    (host.root / "boot/stroke/env").write_bytes(block)
    assert (host.boot(), host.running) == ("lkg", OLD)


def test_a_kernel_that_cannot_be_loaded_is_left_at_once(host: Host) -> None:
    hold(host)
    arm(host)
    (host.root / f"boot/vmlinuz-{NEW}").unlink()
    assert (host.boot(), host.running) == ("lkg", OLD)


def test_half_a_kernel_is_not_tried(host: Host) -> None:
    hold(host)
    host.install(NEW, size=1000)
    with pytest.raises(CODE_OF["guard"].Refused, match="too small") as refused:
        host.guard.arm(ORDER)
    assert refused.value.code == "STK-501"
    assert host.boot() == "lkg"


@pytest.mark.parametrize(
    ("failing", "seconds", "why"),
    [
        (["there is no default route"], 301, "there is no default route"),
        ([], 901, "nobody confirmed it within 900 s"),
    ],
)
def test_the_guard_goes_back(
    host: Host, world: dict[str, list[str]], failing: list[str], seconds: float, why: str
) -> None:
    hold(host)
    arm(host)
    host.boot()
    world["failing"] = failing
    assert watch(host, 100) == "waiting"
    assert watch(host, seconds) == why


def test_the_wrong_system_is_left_without_waiting(host: Host, world: dict[str, list[str]]) -> None:
    hold(host)
    arm(host)
    host.boot()
    world["wrong"] = ["kernel 1 runs"]
    assert watch(host, 1) == "kernel 1 runs"


def test_a_run_on_the_machine_itself_needs_nobody_to_confirm(host: Host) -> None:
    hold(host)
    host.install(NEW)
    host.stock(NEW, STOCK)
    host.guard.arm({**ORDER, "confirm": "local"})
    host.boot()
    assert watch(host, 10_000) == ""
    assert host.state["phase"] == "healthy"
    assert host.boot() == "lkg"


def test_what_was_not_confirmed_cannot_be_made_permanent(host: Host) -> None:
    hold(host)
    arm(host)
    host.boot()
    assert watch(host) == "waiting"
    with pytest.raises(CODE_OF["guard"].Refused):
        commit(host)
    assert host.boot() == "lkg"


@pytest.mark.parametrize(
    ("release", "words"),
    [(OLD, STOCK), (NEW, STOCK), (NEW, "root=/dev/sdb1 ro")],
    ids=["kernel", "arguments", "root"],
)
def test_another_default_entry_is_not_committed(host: Host, release: str, words: str) -> None:
    hold(host)
    arm(host)
    host.boot()
    watch(host)
    confirm(host)
    host.stock(release, words)
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        host.guard.commit({})
    assert refused.value.code == "STK-512"
    assert host.boot() == "lkg"


def test_a_menu_of_somebody_else_is_left_alone(host: Host) -> None:
    custom = host.root / "boot/grub/custom.cfg"
    custom.write_text("menuentry mine { true }\n")
    with pytest.raises(CODE_OF["guard"].Refused, match="somebody else"):
        hold(host)
    host.guard.abort({})
    assert custom.read_text() == "menuentry mine { true }\n"


def test_abort_leaves_nothing(host: Host) -> None:
    before = left(host)
    hold(host)
    arm(host)
    assert len(left(host)) >= 6
    host.guard.abort({})
    assert left(host) == before == []
    assert host.boot() == "stock"


def test_the_modules_of_the_good_kernel_come_back(host: Host) -> None:
    hold(host)
    arm(host)
    shutil.rmtree(host.root / f"lib/modules/{OLD}")
    host.boot()
    host.boot()
    assert watch(host) == ""
    assert (host.root / f"lib/modules/{OLD}/modules.dep").is_file()


def prepared(steps: list[Step], root: Path) -> Host:
    host = Host(root)
    for step in steps:
        step(host)
    return host


def booted(host: Host) -> None:
    host.boot()
    watch(host)


# What has happened before, the command whose power is cut, and the systems that may start then.
CUTS: list[tuple[str, list[Step], Step, set[str]]] = [
    ("hold", [], hold, {"stock", "lkg"}),
    ("hold again", [hold, arm, booted, booted], hold, {"lkg"}),
    ("arm", [hold], arm, {"lkg", "trial"}),
    ("arm again", [hold, arm, booted, booted, hold], arm, {"lkg", "trial"}),
    ("judge", [hold, arm, lambda host: host.boot()], watch,
     {"lkg"}),
    ("confirm", [hold, arm, booted], confirm, {"lkg"}),
    ("commit", [hold, arm, booted, confirm], commit, {"lkg", "stock"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "before", "step", "allowed"), CUTS, ids=[c[0] for c in CUTS])
def test_power_cut_at_every_write(
    name: str, before: list[Step], step: Step, allowed: set[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A good system starts, every later boot agrees, and the next run ends in a commit."""
    cuts = 0
    for cuts, host in cut_off(lambda place: prepared(before, place), step, tmp_path, monkeypatch):
        started = host.boot()
        assert started in allowed, (cuts, host.state)
        if name == "hold" and started == "stock":
            assert host.running == OLD
        if name == "commit" and started == "stock":
            assert (host.running, host.boot()) == (NEW, "stock")
        if started == "trial":
            assert watch(host) == "waiting"
            assert host.boot() == "lkg"  # the next cut: a trial is never started twice
        watch(host)
        assert host.state.get("phase") in (
            None, "held", "reverted", "committed", "healthy", "confirmed"), host.state  # fmt: skip
        if host.line.startswith(f"BOOT_IMAGE=/boot/vmlinuz-{NEW}"):
            host.guard.commit({})
        else:
            for next_step in (hold, arm, booted, confirm, commit):
                next_step(host)
        assert left(host) == ["var/lib/stroke/boot_guard/state.json"], cuts
        assert (host.boot(), host.running) == ("stock", NEW)
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
        assert left(host) == []


def test_conditions_that_hold_the_loader_back_are_named(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = CODE_OF["probe"]

    def found(line: str = STOCK) -> list[str]:
        return list(probe.obstacles(host.root, OLD, line))

    assert found() == []
    cases: list[tuple[dict[str, Any], str]] = [
        ({"abstraction": "lvm", "fs": "ext2"}, "lvm"),
        ({"abstraction": "diskfilter mdraid1x", "fs": "ext2"}, "mdraid1x"),
        ({"abstraction": "", "fs": "btrfs"}, "btrfs"),
        ({"abstraction": "?", "fs": "?"}, "grub-probe"),
    ]
    for answers, word in cases:
        with monkeypatch.context() as patched:
            patched.setattr(probe, "grub_probe", lambda target, path, a=answers: a[target])
            (one,) = found()
            assert word in one
    (host.root / "proc/self").mkdir()
    (host.root / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw,data=journal 0 0\n")
    assert "journal" in found()[0]
    (host.root / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw,relatime 0 0\n")
    assert found() == []
    for name in ("sda2", "sda1"):  # a default of the file system itself
        (host.root / f"proc/fs/ext4/{name}").mkdir(parents=True)
        (host.root / f"proc/fs/ext4/{name}/options").write_text("rw\ndata=journal\n")
        assert ["journal" in why for why in found()] == [True] * (name == "sda1")
    (host.root / "proc/fs/ext4/sda1/options").write_text("rw\ndata=ordered\n")
    assert "quotes" in found("root=x foo=it's")[0]
    assert found('root=x dyndbg="file ec.c +p"') == []
    (host.root / "boot/grub/grub.cfg").write_text("blscfg\nsource custom.cfg\n")
    assert "BLS" in found()[0]
    (host.root / "boot/grub/grub.cfg").unlink()
    assert "boot loader is not known" in found()[0]
