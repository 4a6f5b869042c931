"""What `stroke status` says of a boot transaction, from the guard's own state file on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gpu_host import system
from gpu_host.files import Host as Files
from rich.console import Console
from stroke import status
from stroke.report import HostRun, Run

from tests.unit.guard_host import CODE_OF, NEW, OLD, ORDER, SMALLEST, STOCK, Host

WHY = "there is no default route"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    answers = {"abstraction": "", "fs": "ext2", "fs_uuid": "1234-abcd"}
    monkeypatch.setattr(CODE_OF["probe"], "grub_probe", lambda target, path: answers[target])
    monkeypatch.setattr(CODE_OF["strictness"], "_systemd", lambda *words: "")
    monkeypatch.setattr(CODE_OF["health"], "baseline", lambda: {"route": True, "login": []})
    monkeypatch.setattr(CODE_OF["guard"], "SMALLEST_BYTES", SMALLEST)
    monkeypatch.setattr(CODE_OF["disk"], "settle", lambda path: None)
    for name in ("reload", "make_menu"):
        monkeypatch.setattr(CODE_OF["units"], name, lambda: None)
    return Host(tmp_path / "host")


def go(host: Host, phase: str) -> None:
    """Take a host to a phase of the transaction by the guard's own steps."""
    if phase == "none":
        return
    host.guard.hold({})
    if phase == "held":
        return
    host.install(NEW)
    host.stock(NEW, STOCK)
    host.guard.arm(ORDER)
    if phase == "armed":
        return
    host.boot()
    data = host.guard.status({})
    states = CODE_OF["state"]
    if phase == "reverted":
        states.save(host.places, data, "reverting", WHY)
        host.boot()
        host.guard.status({})
    elif phase == "committed":
        states.save(host.places, data, "confirmed")
        host.stock(NEW, " ".join(data["permanent"]))
        host.guard.commit({})


def seen(host: Host) -> dict[str, Any] | None:
    return system.boot_transaction(Files(host.root))


def shown(found: dict[str, Any] | None, width: int) -> str:
    run = Run(hosts={"box1": HostRun("box1", state={"boot": found}, changes=())})
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(status.status(run, width))
    return console.export_text()


@pytest.mark.parametrize(
    ("phase", "word", "running", "is_open", "said"),
    [
        ("held", "held", "", True, f"({OLD}) starts by default"),
        ("armed", "armed", "", True, f"the next boot tries {NEW}, once"),
        ("trial", "on trial", "trial", True, f"{NEW} is on trial"),
        ("reverted", "reverted", "lkg", True, f"({OLD}) runs: {WHY}"),
        ("committed", "committed", "trial", False, ""),
    ],
)
def test_each_phase_is_told(
    host: Host, phase: str, word: str, running: str, is_open: bool, said: str
) -> None:
    go(host, phase)
    found = seen(host)
    assert found is not None
    assert (found["phase"], found["running"], found["open"]) == (phase, running, is_open)
    wide = shown(found, 160)
    assert word in wide.splitlines()[1]
    assert " ".join(said.split()) in " ".join(wide.split())
    narrow = shown(found, 80)
    assert "BOOT" not in narrow
    assert ("boot: " in narrow) is bool(said), "a system that was kept is quiet"


def test_a_host_without_a_transaction_has_a_dash(host: Host) -> None:
    assert seen(host) is None
    assert "boot:" not in shown(None, 160)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"trial": 1}'])
def test_a_state_that_nobody_can_read_is_reported(host: Host, text: str) -> None:
    path = host.root / "var/lib/stroke/boot_guard/state.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    files = Files(host.root)
    assert system.boot_transaction(files) is None
    assert json.dumps(files.unreadable).count("state.json") == 1


def test_a_system_that_is_kept_is_as_lenient_as_the_one_before(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's panic on each fault is not for the months that a system runs on."""
    asked: list[tuple[str, ...]] = []

    def systemd(*words: str) -> str:
        asked.append(words)
        return "t 60000000" if host.line.count("stroke.trial=") else "t 0"

    monkeypatch.setattr(CODE_OF["strictness"], "_systemd", systemd)
    place = host.root / "proc/sys/kernel"
    before = {"panic": "0", "panic_on_oops": "0", "softlockup_panic": "1", "watchdog_thresh": "10"}
    for name, value in before.items():
        (place / name).write_text(f"{value}\n")
    go(host, "trial")
    for name, value in {**before, "panic": "10", "panic_on_oops": "1"}.items():
        (place / name).write_text(f"{value}\n")
    data = CODE_OF["state"].save(host.places, host.guard.status({}), "confirmed")
    host.stock(NEW, " ".join(data["permanent"]))
    host.guard.commit({})
    assert {name: (place / name).read_text().strip() for name in before} == before
    assert ("set-property", "RuntimeWatchdogUSec", "t", "0") in asked
