"""`make bench`: what converged hosts cost, as ratios measured in one run.

Without `--inventory` a container is started and provisioned first, has eight names, and is removed
afterwards.
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
sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tool")]

from bench import peer  # noqa: E402
from tests.containers import container  # noqa: E402

BIN = Path(sys.executable).parent
STROKE = (sys.executable, "-m", "stroke")
MANY = 8
OURS = ("`stroke provision`", "`ansible-playbook site.yml`")
PING, FULL, PEER = "`ansible -m ping`", "every role in full", "pyinfra, the same checks"
# What stroke aims at: at most so many times what the other one takes.
AIMS = ((PING, 1.5), (FULL, 0.1), (PEER, 1.0))


@dataclass
class Contender:
    """One command and its times."""

    label: str
    command: tuple[str, ...]
    rounds: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def row(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"| {self.label} | {self.median:.2f} s | {low:.2f} to {high:.2f} s |"


def measure(contenders: list[Contender], where: Path) -> None:
    """Rounds, not blocks: what disturbs the machine disturbs all of them."""
    configuration = where / "ansible.cfg"
    configuration.touch()
    # Ansible as it is installed: an empty configuration, and the way to the roles.
    environment = {**os.environ, "ANSIBLE_CONFIG": os.fspath(configuration), "NO_COLOR": "1",
                   "ANSIBLE_ROLES_PATH": os.fspath(ROOT / "roles"),
                   "PYTHONPATH": os.fspath(ROOT / "tool"),
                   "XDG_STATE_HOME": os.fspath(where / "state")}  # fmt: skip
    for number in range(max(contender.rounds for contender in contenders) + 1):
        for contender in contenders:
            if number > contender.rounds or (number == 0 and contender.rounds == 1):
                continue
            began = time.monotonic()
            run = subprocess.run(
                contender.command, cwd=where, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - began
            if run.returncode != 0:
                raise SystemExit(f"{contender.label}: {run.stdout[-3000:]}{run.stderr[-3000:]}")
            if number:  # the first round fills caches; what takes a minute is measured once
                contender.seconds.append(seconds)
                print(f"{contender.label}: {seconds:.2f} s", file=sys.stderr, flush=True)


def table(contenders: list[Contender]) -> str:
    head = "| command | median | range |\n| --- | ---: | ---: |"
    return "\n".join([head, *(contender.row() for contender in contenders)])


def ratios(contenders: list[Contender]) -> str:
    median = {contender.label: contender.median for contender in contenders}
    lines = ["| | to | ratio | aim |", "| --- | --- | ---: | ---: |"]
    for ours in OURS:
        for other, aim in AIMS:
            ratio = median[ours] / median[other]
            word = "" if ratio <= aim else " (missed)"
            lines.append(f"| {ours} | {other} | {ratio:.2f} | ≤ {aim:g}{word} |")
    return "\n".join(lines)


@contextmanager
def converged(where: Path) -> Iterator[tuple[Path, str]]:
    """An inventory of converged hosts, and the first of them."""
    names = tuple(f"bench-{number}" for number in range(1, MANY + 1))
    with container("stroke-bench", where / "container", names) as made:
        made.converge()
        yield made.inventory, names[0]


def hosts(inventory: Path, limit: str | None, rounds: int, where: Path) -> list[Contender]:
    file, site = os.fspath(inventory), os.fspath(ROOT / "site.yml")
    playbook, ad_hoc = os.fspath(BIN / "ansible-playbook"), os.fspath(BIN / "ansible")
    only = ("--limit", limit) if limit else ()
    contenders = [
        Contender(OURS[0], (*STROKE, "provision", file, "--yes", *only), rounds),
        Contender(OURS[1], (playbook, "-i", file, site, *only), rounds),
        Contender(PING, (ad_hoc, "-i", file, limit or "all", "-m", "ping"), rounds),
        Contender(PEER, (*peer.deploy(inventory, where), *only), rounds),
        Contender(FULL, (playbook, "-i", file, site, "-e", "stroke_full=true", *only), 1),
    ]
    measure(contenders, where)
    return contenders


def start_up(rounds: int, where: Path) -> list[Contender]:
    contenders = [
        Contender("`stroke --help`", (*STROKE, "--help"), rounds),
        Contender("`python -c pass`", (sys.executable, "-c", "pass"), rounds),
    ]
    measure(contenders, where)
    return contenders


def report(inventory: Path, first: str, rounds: int, where: Path) -> None:
    number = len(peer.names(inventory))
    print(f"\n{os.cpu_count()} processors, Python {platform.python_version()}, medians of "
          f"{rounds} rounds ({FULL}: one).")  # fmt: skip
    for count, limit in {1: first, number: None}.items():
        found = hosts(inventory, limit, rounds, where)
        print(f"\n{count} converged host{'s' * (count > 1)}:\n\n{table(found)}\n\n{ratios(found)}",
              flush=True)  # fmt: skip
    print(f"\nStart-up:\n\n{table(start_up(4 * rounds, where))}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", type=Path, help="hosts that are converged already")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        if arguments.inventory:
            inventory = arguments.inventory.absolute()
            report(inventory, peer.names(inventory)[0], arguments.rounds, where)
        else:
            with converged(where) as (inventory, first):
                report(inventory, first, arguments.rounds, where)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
