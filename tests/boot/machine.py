"""A host whose boot loader and kernel are played, and all else is real: systemd, sshd, the guard.

A reboot restarts the container, and `firmware.py` decides as GRUB would what runs then. A power cut
is the end of all its processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.containers import BIN, ROOT, Container, container

OLD, NEW = "6.12.107+deb13-amd64", "7.2.12+deb13-amd64"
HERE = Path(__file__).parent
STATE = "/var/lib/stroke/boot_guard/state.json"


class Machine:
    """One such host."""

    def __init__(self, made: Container) -> None:
        self.made = made

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in it as root."""
        return self.made.sh(script, check=check)

    @property
    def state(self) -> dict[str, Any]:
        """What the guard has written."""
        return dict(json.loads(self.sh(f"cat {STATE}")))

    @property
    def running(self) -> str:
        """The kernel that runs."""
        return self.sh("cat /proc/sys/kernel/osrelease")

    @property
    def words(self) -> list[str]:
        """The running command line."""
        return self.sh("cat /proc/cmdline").split()[1:]

    @property
    def console(self) -> list[str]:
        """Every start so far: entry, kernel and command line."""
        return [line.partition(" ")[2] for line in self.sh("cat /srv/fake/console").splitlines()]

    def starts(self) -> list[str]:
        """The entries that were started, in order, without the first."""
        return [line.split()[0] for line in self.console if not line.startswith("Kernel")][1:]

    def forget(self) -> None:
        """Begin the list of starts anew."""
        self.sh("sed -i '2,$d' /srv/fake/console")

    @property
    def environment(self) -> dict[str, str]:
        """As in a checkout."""
        return {**os.environ, "ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1"}  # fmt: skip

    def command(self, *words: str) -> list[str]:
        """The transaction of play.yml."""
        return [os.fspath(BIN / "ansible-playbook"), "-i", os.fspath(self.made.inventory),
                os.fspath(HERE / "play.yml"), *words]  # fmt: skip

    def play(self, *words: str) -> str:
        """Run it; what it says, with its exit code in front."""
        done = subprocess.run(self.command(*words), cwd=ROOT, capture_output=True, text=True,
                              check=False, env=self.environment)  # fmt: skip
        return f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"

    def cut(self) -> None:
        """The power goes, and comes back at once."""
        subprocess.run(["podman", "exec", self.made.name, "sh", "-c", "sync"], check=True)
        subprocess.run(["podman", "kill", "--signal", "KILL", self.made.name], check=True,
                       capture_output=True)  # fmt: skip
        subprocess.run(["podman", "start", self.made.name], check=False, capture_output=True)
        self.wait()

    def wait(self, seconds: float = 180) -> None:
        """Until it has started and gives a login."""
        self.until("systemctl is-active --quiet ssh.service", seconds)

    def until(self, question: str, seconds: float = 180) -> None:
        """Until a shell script succeeds in it, whatever starts in between."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done = subprocess.run(["podman", "exec", self.made.name, "sh", "-c", question],
                                  capture_output=True, check=False)  # fmt: skip
            if done.returncode == 0:
                return
            time.sleep(1)
        raise AssertionError(f"not within {seconds:.0f} s: {question}")


def address() -> str:
    """An address of its own near the end of Podman's network: a restart may give another one."""
    done = subprocess.run(["podman", "network", "inspect", "podman"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    (network,) = json.loads(done.stdout)
    (subnet,) = [one["subnet"] for one in network["subnets"] if ":" not in one["subnet"]]
    return str(ip_network(subnet)[-20])


@contextmanager
def machine(name: str, state: Path) -> Iterator[Machine]:
    """A host with two kernels that runs the older one, as before a run of stroke."""
    with container(name, state, more=("--restart=always", "--ip", address())) as made:
        made.sh((HERE / "setup.sh").read_text(encoding="utf-8"), OLD, NEW)
        for source in ("grub.py", "firmware.py"):
            subprocess.run(["podman", "cp", HERE / source, f"{name}:/srv/firmware/{source}"],
                           check=True)  # fmt: skip
        running = Machine(made)
        running.sh("systemctl --no-block reboot")
        running.until("test -s /srv/fake/console")
        running.wait()
        yield running
