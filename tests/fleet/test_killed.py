"""The controller is killed at random moments; running again converges, and then changes nothing."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time

import pytest
from stroke.interrupts import descendants

from tests.fleet.hosts import TAGS, Fleet
from tests.fleet.test_rule import unchanged

pytestmark = pytest.mark.container
TIMES = int(os.environ.get("STROKE_FLEET_KILLS", "20"))
NAMES = ["node-01", "node-02", "node-04", "node-06"]
DONE = "test -e /etc/default/grub.d/90-stroke.cfg && id -nG stroke"
MESSAGE = "was taken from"


def start(fleet: Fleet, inventory: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        fleet.command("provision", inventory, "--yes", "--tags", TAGS, "--wave", "2"),
        env=fleet.environment, cwd=fleet.state, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill(process: subprocess.Popen[bytes], whole: bool) -> None:
    """Kill the program alone, or everything that it started: what a power cut does."""
    doomed = [process.pid, *(descendants(process.pid) if whole else ())]
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def test_a_killed_run_is_finished_by_the_next(hosts: Fleet) -> None:
    dice = secrets.SystemRandom()
    inventory = str(hosts.inventory(NAMES))
    hosts.undo()
    began = time.monotonic()
    assert start(hosts, inventory).wait() == 0
    whole = time.monotonic() - began
    print(f"a run takes {whole:.0f} s", flush=True)
    taken = held = 0
    for number in range(TIMES):
        hosts.undo()
        process, moment = start(hosts, inventory), dice.uniform(0.05, 1.0) * whole
        tree = dice.random() < 0.5
        try:
            ended = process.wait(moment)
        except subprocess.TimeoutExpired:
            ended = None
            kill(process, tree)
        locks = [
            name
            for name in NAMES
            if hosts.hosts[name].sh("test -e /var/lib/stroke/lock && echo yes || true")
        ]
        held += bool(locks)
        # Where the program was killed alone, the kernel has told ansible to stop.
        again = hosts.stroke("provision", inventory, "--yes", "--tags", TAGS)
        assert again.returncode == 0, (number, moment, again.stdout, again.stderr)
        taken += MESSAGE in again.stdout
        states = [hosts.hosts[name].sh(DONE) for name in NAMES]
        assert states == ["stroke video render"] * 4 or all("render" in one for one in states)
        print(f"{number + 1:2d}: {'all' if tree else 'the program'} killed after {moment:.1f} s "
              f"({'ended before' if ended is not None else ', '.join(locks) or 'no lock'})",
              flush=True)  # fmt: skip
    hosts.boot(NAMES)
    assert unchanged(hosts, inventory) == NAMES
    print(f"{TIMES} times: {held} left a lock, {taken} took one over; changed=0 on all at the end")
