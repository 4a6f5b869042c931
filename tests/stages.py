"""Run the stages of `make test`, show each with its time, and end with one line of counts."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / ".stages"
HEARTBEAT = 60.0
FAILED_LINES = 300
# An hour and a half without KVM: a stage of its own.
GUEST_FAULTS = "tests/vm/test_boot_guard.py"


@dataclass(frozen=True)
class Stage:
    """One command; a pytest stage counts its tests, any other counts as one check."""

    name: str
    command: tuple[str, ...]
    group: str
    lane: str = "light"


@dataclass
class Outcome:
    stage: Stage
    seconds: float
    passed: int
    failed: int
    skipped: int = 0


@dataclass
class Board:
    """What several lanes print to and count in; the lock keeps their lines apart."""

    began: float = field(default_factory=time.monotonic)
    running: dict[str, float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.began)
        print(f"[{elapsed // 60:02d}:{elapsed % 60:02d}] {text}", flush=True)


def pytest(name: str, *arguments: str, lane: str = "light") -> Stage:
    report = f"--junit-xml={OUT / name}.xml"
    command = (sys.executable, "-m", "pytest", "-q", "--durations=5", report, *arguments)
    return Stage(name, command, group=name, lane=lane)


def python(name: str, module: str, *arguments: str, group: str, lane: str = "light") -> Stage:
    return Stage(name, (sys.executable, "-m", module, *arguments), group=group, lane=lane)


def stages() -> list[Stage]:
    """Quick ones first; guests have a lane of their own, so two cores are both in use."""
    return [
        python("ruff", "ruff", "check", ".", group="lint"),
        # From medium on: what is lower says that a program is started at all, which ansible's do.
        python(
            "bandit",
            "bandit",
            "--quiet",
            "--recursive",
            "--severity-level=medium",
            "tool",
            "roles",
            "bench",
            "docs",
            group="lint",
        ),
        python("mypy", "mypy", *python_roots(), group="lint"),
        python("yamllint", "yamllint", "--strict", ".", group="lint"),
        python("ansible-lint", "ansiblelint", group="lint"),
        pytest("unit", "tests/unit", "tests/content"),
        pytest("packaging", "tests/packaging"),
        python("molecule", "molecule", "test", "--scenario-name", "default", group="molecule"),
        python(
            "molecule-host", "molecule", "test", "--scenario-name", "host", group="molecule-host"
        ),
        python("molecule-dnf", "molecule", "test", "--scenario-name", "dnf", group="molecule-dnf"),
        pytest("oracle", "-m", "container", "tests/oracle"),
        pytest("fleet", "-s", "-m", "container", "tests/fleet"),
        pytest("secrets", "-m", "container", "tests/secrets"),
        pytest("faults", "-m", "container", "tests/faults"),
        pytest("boot-faults", "-m", "container", "tests/boot"),
        pytest("this-machine", "-m", "container", "tests/this_machine"),
        pytest("downloads", "-m", "container", "tests/downloads"),
        pytest("vm", "-m", "vm and not slow", "-x", "tests/vm", lane="guest"),
        pytest("acceptance", "-m", "slow", f"--ignore={GUEST_FAULTS}", "tests/vm", lane="guest"),
        pytest("boot-guests", "-m", "slow", GUEST_FAULTS, lane="guest"),
    ]


def python_roots() -> list[str]:
    """mypy gets whole trees; those that hold no Python are left out, as it refuses them."""
    roots = (ROOT / name for name in ("tool", "roles", "tests", "bench", "docs"))
    return [str(root.relative_to(ROOT)) for root in roots if any(root.rglob("*.py"))]


def counts(stage: Stage, status: int) -> tuple[int, int, int]:
    """Passed, failed, skipped; a pytest stage that died without a report is one failure."""
    report = OUT / f"{stage.name}.xml"
    if not any(argument.startswith("--junit-xml=") for argument in stage.command):
        return (int(status == 0), int(status != 0), 0)
    if not report.is_file():
        return (0, 1, 0)
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314  # our own file
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    # A bad status with no failed test (nothing collected, a plugin that died) is a failure too.
    if status != 0 and failed == 0:
        failed = 1
    return (max(total - failures - errors - skipped, 0), failed, skipped)


def run(stage: Stage, board: Board) -> None:
    log = OUT / f"{stage.name}.log"
    (OUT / f"{stage.name}.xml").unlink(missing_ok=True)
    with board.lock:
        board.running[stage.name] = time.monotonic()
        board.say(f"start   {stage.name}")
    began = time.monotonic()
    with log.open("wb") as output:
        status = subprocess.run(
            stage.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment()
        ).returncode
    outcome = Outcome(stage, time.monotonic() - began, *counts(stage, status))
    with board.lock:
        del board.running[stage.name]
        board.outcomes.append(outcome)
        word = "FAILED" if outcome.failed else "ok"
        board.say(f"{word:<7} {stage.name} ({outcome.seconds:.0f} s)")
        if outcome.failed:
            print(f"--- {log.relative_to(ROOT)}", flush=True)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            print("\n".join(lines[-FAILED_LINES:]), flush=True)
            print(f"--- end of {log.relative_to(ROOT)}", flush=True)


def environment() -> dict[str, str]:
    """The tools of this virtual environment come first, whoever started us."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def last_line(name: str) -> str:
    log = OUT / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip()[:100] for line in reversed(lines) if line.strip()), "")


def watch(board: Board, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT):
        with board.lock:
            for name, began in board.running.items():
                seconds = time.monotonic() - began
                board.say(f"...     {name} ({seconds:.0f} s) {last_line(name)}")


def run_lanes(chosen: list[Stage], board: Board) -> None:
    lanes: dict[str, list[Stage]] = {}
    for stage in chosen:
        lanes.setdefault(stage.lane, []).append(stage)

    def follow(lane: list[Stage]) -> None:
        for stage in lane:
            run(stage, board)

    threads = [threading.Thread(target=follow, args=(lane,)) for lane in lanes.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    known = stages()
    groups = list(dict.fromkeys(stage.group for stage in known))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="+", choices=groups)
    wanted = parser.parse_args().groups
    OUT.mkdir(exist_ok=True)
    board = Board()
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(board, done), daemon=True)
    watcher.start()
    run_lanes([stage for stage in known if stage.group in wanted], board)
    done.set()
    print("\nstage            time  passed  failed  skipped")
    for outcome in board.outcomes:
        print(
            f"{outcome.stage.name:<14} {outcome.seconds:5.0f}s  {outcome.passed:6d}"
            f"  {outcome.failed:6d}  {outcome.skipped:7d}"
        )
    passed = sum(outcome.passed for outcome in board.outcomes)
    failed = sum(outcome.failed for outcome in board.outcomes)
    print(f"total {time.monotonic() - board.began:.0f} s\n{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
