"""One virtual machine for tests: what runs in it, and what stroke says about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stroke.sandbox import Sandbox, SandboxOptions

ROOT = Path(__file__).resolve().parents[2]
ENDPOINT = "http://127.0.0.1:8000"
# Everything in /etc with owner and mode, and the package list. Lists of apt and machine state
# that changes by itself are elsewhere.
FINGERPRINT = r"""
sudo find /etc -xdev -printf '%p %M %u:%g %l\n' | sort
sudo find /etc -xdev -type f -print0 | sort -z | sudo xargs -0 sha256sum
sudo find /boot /var/lib/stroke /usr/local -xdev -printf '%p\n' 2>/dev/null | sort
dpkg-query -W -f '${Package} ${Version} ${Status}\n'
"""


@dataclass
class Result:
    """How one call of stroke ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.stdout))

    @property
    def host(self) -> dict[str, Any]:
        """The report's one host."""
        (host,) = self.report["hosts"]
        return dict(host)

    @property
    def codes(self) -> list[str]:
        problems = list(self.report["problems"])
        for host in self.report["hosts"]:
            problems += host["problems"]
        return [problem["code"] for problem in problems]

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.stdout[-6000:]}\n{self.stderr[-6000:]}"


@dataclass
class Guest:
    """A running sandbox."""

    sandbox: Sandbox
    state: Path

    @property
    def inventory(self) -> Path:
        return self.sandbox.inventory

    @property
    def environment(self) -> dict[str, str]:
        """Plain words, and a state directory of its own."""
        quiet = {"NO_COLOR": "1", "TERM": "dumb", "XDG_STATE_HOME": os.fspath(self.state)}
        return {**os.environ, **quiet}

    def stroke(
        self,
        *arguments: str | Path,
        hosts: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run the command line as a user would, with the JSON report on stdout."""
        run = subprocess.run(
            self.command(*arguments, hosts=hosts), cwd=ROOT,
            env={**self.environment, **(environment or {})},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        print(run.stderr, file=sys.stderr)
        return Result(run.returncode, run.stdout, run.stderr)

    def command(self, *arguments: str | Path, hosts: str | Path | None = None) -> list[str]:
        name, *rest = (os.fspath(argument) for argument in arguments)
        target = os.fspath(self.inventory if hosts is None else hosts)
        return [sys.executable, "-m", "stroke", name, target, "--json", *rest]

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in the guest as its administrator, and give what it printed."""
        done = subprocess.run(
            self.sandbox.login().command("sh", "-e"), input=script, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {script}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def fingerprint(self) -> list[str]:
        return self.run(FINGERPRINT).splitlines()

    @property
    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id")

    def reboot(self, seconds: float = 600) -> None:
        """Restart the guest, and wait until it gives a login in another boot."""
        before = self.boot_id
        self.run("sudo systemctl reboot", check=False)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.run("cat /proc/sys/kernel/random/boot_id", check=False)
            if now and now != before:
                return
            time.sleep(2)
        raise AssertionError(f"no login {seconds:.0f} s after a reboot")

    def wait_for_unit(self, name: str, seconds: int = 240) -> None:
        """Until systemd calls a unit active: one that loads a model takes a while after a boot."""
        self.run(f"for i in $(seq {seconds // 2}); do systemctl is-active -q {name}"
                 " && exit 0; sleep 2; done; exit 1")  # fmt: skip

    def complete(self, model: str) -> dict[str, Any]:
        """Ask the endpoint for a chat completion, from inside the guest."""
        question = json.dumps({
            "model": model, "max_tokens": 8,
            "messages": [{"role": "user", "content": "Say something."}],
        })  # fmt: skip
        # Its own Python: a stock server has no curl.
        answer = self.run(f"""python3 - <<'PYTHON'
import urllib.request
request = urllib.request.Request("{ENDPOINT}/v1/chat/completions", {question.encode()!r},
                                 {{"Content-Type": "application/json"}})
print(urllib.request.urlopen(request, timeout=300).read().decode())
PYTHON""")
        return dict(json.loads(answer))


def start(state: Path, options: SandboxOptions) -> Guest:
    """Boot a guest whose state is in a directory of the test's own."""
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    sandbox = Sandbox(options, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    sandbox.up()
    return Guest(sandbox, state)


def children(pid: int) -> list[str]:
    """Command lines of all processes below one; numbers wrap, so their order says nothing."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    below = {str(pid)}
    while more := {own for own, parent, _ in rows if parent in below} - below:
        below |= more
    return [words for own, _, words in rows if own in below and own != str(pid)]


def interrupt(process: subprocess.Popen[str]) -> None:
    """What a terminal does on Ctrl-C: the signal goes to the whole foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def values(report: Mapping[str, Any], *keys: str) -> list[Any]:
    """Some fields of every change of a report's host."""
    return [tuple(change[key] for key in keys) for change in report["changes"]]
