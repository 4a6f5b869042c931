"""Ctrl-C in the middle of a real run: exit 130, a word on where it was, no process left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.playing import ROOT, STAND_IN

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


class Started:
    """A stroke that runs in a process of its own, marked so that its children can be found."""

    def __init__(self, home: Path, *words: str) -> None:
        self.mark = f"STROKE_TEST_MARK={uuid.uuid4().hex}"
        self.state = home / "state"
        name, _, value = self.mark.partition("=")
        env = {**os.environ, name: value, "PYTHONPATH": str(ROOT / "tool"), "NO_COLOR": "1"}
        env |= {"STROKE_CONTENT": str(STAND_IN), "XDG_STATE_HOME": str(self.state)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stroke", *words],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def marked(self) -> list[str]:
        """The command lines of all processes that carry the mark."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (directory / "environ").read_text(errors="replace"):
                    command = (directory / "cmdline").read_text(errors="replace")
                    found.append(command.replace("\0", " ").strip())
            except OSError:
                continue
        return [command for command in found if command]

    def wait_for(self, command: str) -> None:
        """Wait until a child with this command line runs."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any(command in line for line in self.marked()):
                return
            time.sleep(0.1)
        raise AssertionError(f"{command} did not start: {self.process.poll()} {self.marked()}")

    def end(self, within: float) -> tuple[int, str]:
        """Wait for the end and return exit code and stderr."""
        _, said = self.process.communicate(timeout=within)
        return self.process.returncode, said


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "hosts.ini").write_text(
        "box1 ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n",
        encoding="utf-8",
    )
    yield tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_leaves_nothing(home: Path, number: signal.Signals) -> None:
    run = Started(home, "provision", "hosts.ini", "-y", "-e", "nap=291")
    run.wait_for("sleep 291")
    run.process.send_signal(number)
    code, said = run.end(within=20)
    assert code == 130
    assert "stopping; press Ctrl-C again to stop now" in said
    assert "box1 was in “kernel: Install the kernel”" in said
    assert "stroke provision hosts.ini" in said
    assert run.marked() == []
    report = json.loads((run.state / "stroke/last-run/report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["hosts"][0]["status"]) == ("interrupted", "interrupted")


def test_on_this_machine_the_step_is_finished_first(home: Path) -> None:
    run = Started(home, "provision", "-y", "-e", "nap=3")
    run.wait_for("sleep 3")
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(within=30)
    assert code == 130
    assert "stopping after the current step" in said
    assert "Install the kernel  changed" in said, "the step came to its end"
    assert "Start the service" not in said, "the next ones did not begin"
    assert run.marked() == []


def test_the_second_signal_ends_it_at_once(home: Path) -> None:
    run = Started(home, "provision", "-y", "-e", "nap=292")
    run.wait_for("sleep 292")
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert any("sleep 292" in line for line in run.marked()), "the first one waits"
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(within=20)
    assert code == 130
    assert "stopping now" in said
    assert run.marked() == []


def test_an_interrupted_plan_says_that_nothing_was_changed(home: Path) -> None:
    run = Started(home, "plan")
    run.wait_for("ansible-playbook")
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(within=20)
    assert code == 130
    assert "nothing was changed" in said
    assert run.marked() == []


def test_a_closed_terminal_stops_the_run_and_keeps_its_report(home: Path) -> None:
    run = Started(home, "provision", "hosts.ini", "-y", "-e", "nap=293")
    run.wait_for("sleep 293")
    for stream in (run.process.stdout, run.process.stderr):
        assert stream is not None
        stream.close()
    run.process.send_signal(signal.SIGHUP)
    assert run.process.wait(timeout=20) == 130
    assert run.marked() == []
    report = json.loads((run.state / "stroke/last-run/report.json").read_text(encoding="utf-8"))
    assert report["hosts"][0]["interrupted_in"] == "Install the kernel"


def test_a_killed_run_leaves_no_ansible_behind(home: Path) -> None:
    """Without its terminal it would keep the hosts' locks, and wait for ever."""
    run = Started(home, "provision", "hosts.ini", "-y", "-e", "nap=45")
    run.wait_for("sleep 45")
    run.process.kill()
    run.process.wait()
    deadline = time.monotonic() + 30
    while left := [line for line in run.marked() if "ansible-playbook" in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_reader_that_goes_away_does_not_stop_the_run(home: Path) -> None:
    run = Started(home, "provision", "hosts.ini", "-y", "--json")
    run.wait_for("ansible-playbook")
    for stream in (run.process.stdout, run.process.stderr):
        assert stream is not None
        stream.close()
    assert run.process.wait(timeout=60) == 0
    report = json.loads((run.state / "stroke/last-run/report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["hosts"][0]["changed"]) == ("ok", 2)
