"""`make bench`, second part: how the cost of converged hosts grows with their number.

The hosts are names of one container with systemd: an sshd on 16 ports, one file system, one kernel.
So what a host itself does is as real as anywhere and competes for this machine's processors; what
many machines would do side by side is not shown. It is the controller's part that grows here.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tool")]

from bench.run import BIN, PING, STROKE, Contender, measure  # noqa: E402
from tests.containers import container  # noqa: E402

COUNTS = (1, 4, 16, 64)
PROVISION, STATUS, PLAYBOOK = (
    "`stroke provision`",
    "`stroke status`",
    "`ansible-playbook site.yml`",
)


def contenders(inventory: Path, names: Sequence[str], rounds: int) -> list[Contender]:
    """The four commands on these hosts; Ansible has no configuration of its own."""
    file, site, limit = os.fspath(inventory), os.fspath(ROOT / "site.yml"), ",".join(names)
    playbook, ad_hoc = os.fspath(BIN / "ansible-playbook"), os.fspath(BIN / "ansible")
    return [
        Contender(PROVISION, (*STROKE, "provision", file, "--yes", "--limit", limit), rounds),
        Contender(STATUS, (*STROKE, "status", file, "--limit", limit), rounds),
        Contender(PLAYBOOK, (playbook, "-i", file, site, "--limit", limit), rounds),
        Contender(PING, (ad_hoc, "-i", file, limit, "-m", "ping"), rounds),
    ]


def growth(first: tuple[int, float], last: tuple[int, float]) -> float:
    """The exponent: 0 is the same for any number of hosts, 1 is so much more for each."""
    (few, little), (many, much) = first, last
    return math.log(much / little) / math.log(many / few)


def table(found: dict[int, list[Contender]]) -> str:
    """Seconds, and seconds per host, for each command and number of hosts."""
    counts = sorted(found)
    heads = [f"{number} host{'s' * (number > 1)}" for number in counts]
    lines = [f"| command | {' | '.join(heads)} | growth |"]
    lines.append("| --- |" + " ---: |" * (len(counts) + 1))
    for place, contender in enumerate(found[counts[0]]):
        medians = {number: found[number][place].median for number in counts}
        cells = [f"{seconds:.2f} s ({seconds / n:.2f})" for n, seconds in medians.items()]
        exponent = "-"
        if len(counts) > 1:
            few, many = counts[0], counts[-1]
            exponent = f"n^{growth((few, medians[few]), (many, medians[many])):.2f}"
        lines.append(f"| {contender.label} | {' | '.join(cells)} | {exponent} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=list(COUNTS), metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    names = tuple(f"scale-{number:02d}" for number in range(1, max(given.hosts) + 1))
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        with container("stroke-scale", where / "container", names) as made:
            made.converge()
            found = {}
            for count in sorted(given.hosts):
                found[count] = contenders(made.inventory, names[:count], max(given.rounds, 2))
                measure(found[count], where)
        print(f"\n{os.cpu_count()} processors, Python {platform.python_version()}, medians of")
        print(f"{max(given.rounds, 2)} rounds; in brackets: seconds per host.\n\n{table(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
