"""Waves over 16 hosts, some of them broken: who finishes, who is not touched, what is said."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.containers import BIN, ROOT
from tests.fleet.hosts import TAGS, Fleet

pytestmark = pytest.mark.container
Json = dict[str, Any]
DROP_IN = "/etc/default/grub.d/90-stroke.cfg"
# Refused: its package database is broken. Fails: nothing can be written where the arguments go.
REFUSED, FAILS, DARK, SLOW = "node-05", "node-09", "node-12", "node-03"
BREAK = {
    REFUSED: "sed -i '0,/^Status: install ok installed/s//Status: install reinstreq "
    "half-installed/' /var/lib/dpkg/status",
    FAILS: "mount -t tmpfs -o ro tmpfs /etc/default/grub.d",
    SLOW: "printf '#!/bin/sh\\nsleep 4\\nexec /usr/bin/python3 \"$@\"\\n' "
    ">/usr/local/bin/slow-python; chmod 0755 /usr/local/bin/slow-python",
}
MEND = {
    REFUSED: "sed -i 's/^Status: install reinstreq half-installed/Status: install ok installed/' "
    "/var/lib/dpkg/status",
    FAILS: "umount /etc/default/grub.d",
}


def provision(fleet: Fleet, *words: str) -> tuple[int, dict[str, str], Json, str]:
    began = time.monotonic()
    done = fleet.stroke("provision", *words, "--yes", "--json", "--tags", TAGS)
    report = json.loads(done.stdout)
    became = {host["name"]: host["status"] for host in report["hosts"]}
    counted = {word: list(became.values()).count(word) for word in sorted({*became.values()})}
    print(f"{' '.join(words)}: exit {done.returncode}, {counted}, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return done.returncode, became, report, done.stderr


def test_waves_stop_by_the_rule_and_go_on_when_the_causes_are_gone(hosts: Fleet) -> None:
    hosts.undo()
    hosts.more[SLOW] = {"ansible_python_interpreter": "/usr/local/bin/slow-python"}
    inventory = str(hosts.inventory())
    for name, script in BREAK.items():
        hosts.hosts[name].sh(script)
    hosts.hosts[DARK].stop()

    code, became, report, said = provision(
        hosts, inventory, "--canary", "1", "--wave", "4", "--forks", "8"
    )
    waiting = ["node-11", "node-13", "node-14", "node-15", "node-16"]
    done = [f"node-{n:02d}" for n in (1, 2, 3, 4, 6, 7, 8, 10)]
    wanted = {**dict.fromkeys(done, "done"), **dict.fromkeys(waiting, "not started"),
              REFUSED: "refused", FAILS: "failed", DARK: "unreachable"}  # fmt: skip
    assert became == wanted, said
    assert code == 3, "a host failed"
    there = {name: host.sh(f"test -e {DROP_IN} && echo yes || echo no")
             for name, host in hosts.hosts.items() if name not in (DARK, FAILS)}  # fmt: skip
    assert [name for name, answer in there.items() if answer == "yes"] == done
    codes = {h["name"]: [p["code"] for p in h["problems"]] for h in report["hosts"]}
    assert codes[REFUSED] == ["STK-407"] and codes[FAILS] == ["STK-801"]
    assert codes[DARK] == ["STK-201"] and all(codes[name] == [] for name in [*done, *waiting])
    undone = (hosts.state / "xdg/stroke/unfinished.hosts").read_text(encoding="utf-8").split()
    assert undone == sorted([*waiting, REFUSED, FAILS, DARK])
    locks = [n for n, h in hosts.hosts.items()
             if h.process and h.sh("test -e /var/lib/stroke/lock && echo yes || true")]  # fmt: skip
    assert locks == [], "let go by those that are done and by the one that failed"

    for name, script in MEND.items():
        hosts.hosts[name].sh(script)
    hosts.hosts[DARK].start()
    hosts.hosts[DARK].wait()
    code, became, _, said = provision(hosts, "--resume", "--forks", "8")
    left = sorted([*waiting, REFUSED, FAILS, DARK])
    assert (code, became) == (0, dict.fromkeys(left, "done")), said
    hosts.boot()
    assert unchanged(hosts, inventory) == hosts.names


def test_as_many_may_fail_as_are_allowed(hosts: Fleet) -> None:
    hosts.undo()
    inventory = str(hosts.inventory())
    bad = ("node-06", "node-11")
    for name in bad:
        hosts.hosts[name].sh(BREAK[FAILS])
    code, became, _, said = provision(
        hosts, inventory, "--wave", "4", "--max-failures", "2", "--forks", "8"
    )
    for name in bad:
        hosts.hosts[name].sh(MEND[FAILS])
    wanted = {name: "failed" if name in bad else "done" for name in hosts.names}
    assert (code, became) == (3, wanted), said


def unchanged(fleet: Fleet, inventory: str, *words: str) -> list[str]:
    """Hosts that plain ansible-playbook reports with changed=0 and without a failure."""
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, ROOT / "site.yml", "--tags", TAGS,
         "--forks", "8", *words],
        env={**fleet.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
             "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        cwd=Path(fleet.state), capture_output=True, text=True, check=False,
    )  # fmt: skip
    recap = done.stdout.partition("PLAY RECAP")[2].splitlines()
    rows = [line for line in recap if " ok=" in line]
    good = ("changed=0 ", "unreachable=0 ", "failed=0 ")
    return [line.split()[0] for line in rows if all(word in line for word in good)]
