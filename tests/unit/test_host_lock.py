"""The lock of a host: one run has it, a dead one loses it, and nobody takes it from a live one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gpu_host import lock

import tests.unit.trees  # noqa: F401  # makes the module's helpers importable
from tests.unit.plugins import plugin

import host_lock  # isort: skip

owner = plugin("host_lock", "host_lock")
Json = dict[str, Any]
HOUR = 3600


class Host:
    """A host of a few files, with an uptime that a test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        (root / "run/stroke").mkdir(parents=True)
        self.boot("boot-1", 1000)

    def boot(self, boot_id: str, uptime: float) -> None:
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"{boot_id}\n")
        (self.root / "proc/uptime").write_text(f"{uptime} 1.0\n")

    def ask(self, state: str, run: str, name: str = "box1", **more: Any) -> Json:
        params: Json = {"state": state, "name": name, "dead": [], "seen": None, "force": False,
                  "stale_seconds": 2 * HOUR, "reboot_seconds": HOUR // 2,
                  "owner": {"run": run, "user": "alice", "controller": "desk",
                            "pid": "7"}}  # fmt: skip
        done: Json = host_lock.work(self.root, {**params, **more})
        return done

    @property
    def file(self) -> Path:
        return self.root / "var/lib/stroke/lock"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_one_run_has_it_and_another_is_told_who(host: Host) -> None:
    assert host.ask("taken", "run-a")["taken"]
    host.boot("boot-1", 1180)
    refused = host.ask("taken", "run-b")
    assert not refused["taken"]
    assert lock.owner(refused["held"]) == "alice@desk (run run-a, pid 7) for 3 min"


def test_it_is_free_again_when_every_name_of_the_host_let_it_go(host: Host) -> None:
    for name in ("box1", "alias"):
        assert host.ask("taken", "run-a", name)["taken"]
    host.ask("released", "run-a", "box1")
    assert host.file.exists()
    host.ask("released", "run-a", "alias")
    assert not host.file.exists()
    assert not host.file.parent.exists(), "nothing is left where nothing was"
    assert host.ask("taken", "run-b")["taken"]


def test_another_run_cannot_let_it_go(host: Host) -> None:
    host.ask("taken", "run-a")
    host.ask("released", "run-b")
    assert not host.ask("taken", "run-b")["taken"]


def test_a_run_that_the_controller_knows_to_be_dead_loses_it_at_once(host: Host) -> None:
    host.ask("taken", "run-a")
    taken = host.ask("taken", "run-b", dead=["run-a"])
    assert taken["taken"]
    assert taken["over"].endswith("its run has ended on the controller")
    assert not host.ask("taken", "run-c", dead=["run-a"])["taken"], "it is another one's now"


@pytest.mark.parametrize(("seconds", "gone"), [(HOUR, False), (3 * HOUR, True)])
def test_an_owner_without_a_sign_is_gone(host: Host, seconds: int, gone: bool) -> None:
    host.ask("taken", "run-a")
    stored = json.loads(host.file.read_text())
    host.file.write_text(json.dumps(stored | {"session": []}))
    host.boot("boot-1", 1000 + seconds)
    assert host.ask("taken", "run-b")["taken"] is gone


def test_an_owner_that_is_connected_is_not_gone_however_long_it_takes(host: Host) -> None:
    host.ask("taken", "run-a")
    session = host.root / "proc/77"
    session.mkdir()
    (session / "stat").write_text(f"77 (sshd-session) S 1 {'0 ' * 17}4242 0\n")
    stored = json.loads(host.file.read_text())
    host.file.write_text(json.dumps(stored | {"session": ["77", "4242"]}))
    host.boot("boot-1", 1000 + 30 * HOUR)
    assert not host.ask("taken", "run-b")["taken"]
    (session / "stat").write_text(f"77 (cron) S 1 {'0 ' * 17}9999 0\n")
    assert host.ask("taken", "run-b")["taken"], "the number belongs to another process now"


@pytest.mark.parametrize(("uptime", "gone"), [(60, False), (HOUR, True)])
def test_after_a_reboot_the_owner_has_some_time_to_come_back(
    host: Host, uptime: int, gone: bool
) -> None:
    host.ask("taken", "run-a")
    host.boot("boot-2", uptime)
    assert host.ask("taken", "run-b")["taken"] is gone


def test_the_owner_comes_back_after_a_reboot_and_says_so(host: Host) -> None:
    host.ask("taken", "run-a")
    host.boot("boot-2", 50)
    assert host.ask("kept", "run-a")["taken"]
    host.boot("boot-2", HOUR)
    assert not host.ask("taken", "run-b")["taken"]


def test_a_lost_lock_is_noticed(host: Host) -> None:
    host.ask("taken", "run-a")
    assert host.ask("taken", "run-b", force=True)["taken"]
    assert not host.ask("kept", "run-a")["taken"]
    host.ask("released", "run-a")
    assert not host.ask("taken", "run-c")["taken"], "and not let go for another one"


def test_work_of_another_run_since_the_look_is_noticed(host: Host) -> None:
    seen = lock.look(host.root)["stamp"]
    assert not host.ask("taken", "run-a", seen=seen)["moved"]
    host.ask("released", "run-a")
    assert host.ask("taken", "run-b", seen=seen)["moved"], "run-a was here in between"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": 7, "names": 3}', "\x00" * 50])
def test_a_file_that_is_no_lock_stops_nobody_for_ever(host: Host, content: str) -> None:
    host.file.parent.mkdir(parents=True)
    host.file.write_text(content)
    host.boot("boot-1", 9 * HOUR)
    assert host.ask("taken", "run-b")["taken"]


def test_a_run_is_the_same_in_all_its_tasks_and_another_in_another() -> None:
    mine = owner.lock_owner("box1")
    assert mine == owner.lock_owner("box2")
    assert mine["run"] and mine["started"]
    assert owner.lock_dead(mine) == "", "this process lives"


def test_the_run_of_a_process_that_ended_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    started = owner._stat(child.pid)[1]
    held = {**owner.lock_owner("box1"), "pid": str(child.pid), "started": started}
    assert owner.lock_dead(held) == ""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.lock_dead(held) == "its run has ended", "a zombie is no run"
    child.wait()
    assert owner.lock_dead({**held, "pid": str(os.getpid())}) == "its run has ended"


def test_nothing_is_said_of_runs_of_other_machines() -> None:
    mine = owner.lock_owner("box1")
    assert owner.lock_dead({**mine, "machine": "another", "pid": "1"}) == ""
    assert owner.lock_dead({**mine, "pidns": "pid:[1]", "started": "1"}) == ""
    assert owner.lock_dead({**mine, "boot": "before"}) == "this machine was restarted since"
    assert owner.lock_dead(None) == ""
