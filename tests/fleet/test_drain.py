"""The hook for load balancers: before and after, where it runs, and a run that was cut off."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.containers import BIN, ROOT
from tests.fleet.hosts import Fleet

pytestmark = pytest.mark.container
MARK = "/var/lib/stroke/drained"
PLAY = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.import_tasks: {tasks}/compare.yml
    - ansible.builtin.import_role:
        name: service_drain
        tasks_from: before
      tags: [before]
    - ansible.builtin.import_role:
        name: service_drain
      tags: [after]
"""


def play(hosts: Fleet, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = hosts.state / "drain.yml"
    hosts.hosts[name].sh("mkdir -p /var/lib/stroke")  # a host that serves has it
    path.write_text(PLAY.format(tasks=ROOT / "playbooks/tasks"), encoding="utf-8")
    return subprocess.run(
        [BIN / "ansible-playbook", "-i", str(hosts.inventory([name])), path, *words],
        env={**hosts.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
             "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        cwd=hosts.state, capture_output=True, text=True, check=False,
    )  # fmt: skip


def hooks(hosts: Fleet, where: str, log: str) -> list[str]:
    """`sh -c` writes down what it was told; the words are the operator's own."""
    script = f'echo "$0 $STROKE_HOST $STROKE_ADDRESS $(id -un)" >>{log}'
    return ["-e", json.dumps({
        "service_drain_on": where,
        "service_drain_before": ["sh", "-c", script, "out"],
        "service_drain_after": ["sh", "-c", script, "in"],
    })]  # fmt: skip


def test_the_controller_is_told_before_and_after(hosts: Fleet) -> None:
    name, log = hosts.names[0], hosts.state / "balancer.log"
    done = play(hosts, name, *hooks(hosts, "controller", str(log)))
    assert done.returncode == 0, done.stdout
    told = [line.split()[:3] for line in log.read_text(encoding="utf-8").splitlines()]
    assert told == [["out", name, "127.0.0.1"], ["in", name, "127.0.0.1"]]
    assert hosts.hosts[name].sh(f"test -e {MARK} && echo drained || echo free") == "free"


def test_a_run_that_was_cut_off_is_finished_by_the_next(hosts: Fleet) -> None:
    name, log = hosts.names[0], "/tmp/balancer.log"
    host, words = hosts.hosts[name], hooks(hosts, "host", log)
    assert play(hosts, name, *words, "--tags", "before,untagged").returncode == 0
    assert host.sh(f"cat {MARK}").startswith("# Managed by stroke")
    inventory = str(hosts.inventory([name]))
    plan = json.loads(hosts.stroke("plan", inventory, "--json").stdout)["hosts"][0]["changes"]
    assert (MARK, "remove") in {(change["what"], change["action"]) for change in plan}
    done = hosts.stroke("provision", inventory, "--yes", "--tags", "service_drain", *words)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in host.sh(f"cat {log}").splitlines()]
    assert [(line[0], line[-1]) for line in told] == [("out", "root"), ("in", "root")]
    assert host.sh(f"test -e {MARK} && echo drained || echo free") == "free"


def test_a_hook_that_fails_stops_before_the_interruption(hosts: Fleet) -> None:
    name = hosts.names[0]
    bad = {"service_drain_before": ["sh", "-c", "echo no route >&2; exit 7"]}
    done = play(hosts, name, "-e", json.dumps(bad), "--tags", "before,untagged")
    hosts.hosts[name].sh(f"rm -f {MARK}")
    assert done.returncode == 2
    assert "STK-523" in done.stdout + done.stderr and "no route" in done.stdout + done.stderr
