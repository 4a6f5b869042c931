"""`make bench`: what a converged host costs, as ratios measured in one run.

Without `--inventory` a sandbox is started and provisioned first, and taken down afterwards.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
STROKE = (sys.executable, "-m", "stroke")
NAME = "stroke-bench"


@dataclass
class Contender:
    """One command, its times, and the one that it is compared with."""

    label: str
    command: tuple[str, ...]
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def row(self, base: float) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return (f"| {self.label} | {self.median:.2f} s | {low:.2f} to {high:.2f} s "
                f"| {self.median / base:.1f} |")  # fmt: skip


def measure(contenders: list[Contender], rounds: int, where: Path) -> None:
    """Rounds, not blocks: what disturbs the machine disturbs all of them."""
    # Ansible as it is installed: no configuration file, only the way to the roles.
    environment = {**os.environ, "ANSIBLE_CONFIG": os.devnull, "NO_COLOR": "1",
                   "ANSIBLE_ROLES_PATH": os.fspath(ROOT / "roles")}  # fmt: skip
    for number in range(rounds + 1):
        for contender in contenders:
            began = time.monotonic()
            run = subprocess.run(
                contender.command, cwd=where, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - began
            if run.returncode != 0:
                raise SystemExit(f"{contender.label}: {run.stdout[-3000:]}{run.stderr[-3000:]}")
            if number:  # the first round fills caches
                contender.seconds.append(seconds)
                print(f"{contender.label}: {seconds:.2f} s", file=sys.stderr, flush=True)


def table(contenders: list[Contender]) -> str:
    base = contenders[-1].median
    head = f"| command | median | range | to {contenders[-1].label} |\n| --- | ---: | ---: | ---: |"
    return "\n".join([head, *(contender.row(base) for contender in contenders)])


@contextmanager
def converged_guest() -> Iterator[Path]:
    """A sandbox that has been provisioned."""
    up = subprocess.run(
        [*STROKE, "sandbox", "up", "--name", NAME], stdout=subprocess.PIPE, text=True, check=True
    )
    inventory = Path(up.stdout.strip())
    try:
        subprocess.run([*STROKE, "provision", inventory, "--yes"], check=True)
        yield inventory
    finally:
        subprocess.run([*STROKE, "sandbox", "down", "--name", NAME], check=False)


def run_host(inventory: Path, rounds: int, where: Path) -> str:
    file = os.fspath(inventory)
    contenders = [
        Contender("`ansible-playbook site.yml`", (
            os.fspath(BIN / "ansible-playbook"), "-i", file, os.fspath(ROOT / "site.yml"))),
        Contender("`stroke provision`", (*STROKE, "provision", file, "--yes")),
        Contender("`ansible -m ping`", (
            os.fspath(BIN / "ansible"), "-i", file, "all", "-m", "ping")),
    ]  # fmt: skip
    measure(contenders, rounds, where)
    return table(contenders)


def run_start(rounds: int, where: Path) -> str:
    contenders = [
        Contender("`stroke --help`", (os.fspath(BIN / "stroke"), "--help")),
        Contender("`python -c pass`", (sys.executable, "-c", "pass")),
    ]
    measure(contenders, rounds, where)
    return table(contenders)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", type=Path, help="hosts that are converged already")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        start = run_start(4 * arguments.rounds, where)
        if arguments.inventory:
            host = run_host(arguments.inventory.absolute(), arguments.rounds, where)
        else:
            with converged_guest() as inventory:
                host = run_host(inventory, arguments.rounds, where)
    print(f"\n{os.cpu_count()} processors, Python {platform.python_version()}, medians of "
          f"{arguments.rounds} rounds ({4 * arguments.rounds} for start-up).\n")  # fmt: skip
    print(f"A converged host:\n\n{host}\n\nStart-up:\n\n{start}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
