"""A host's service, as its administrator sees it: through the command line and on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from tests.containers import ROOT, Container

UNIT = "stroke-inference.service"
COMPLETION = """
import json, urllib.request
question = json.dumps({"prompt": "a", "max_tokens": 2}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/v1/completions", question,
                                 {"Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request, timeout=60))["usage"]["completion_tokens"])
"""


@dataclass(frozen=True)
class Answer:
    """How one call of stroke ended."""

    status: int
    report: dict[str, Any]
    said: str

    @property
    def host(self) -> dict[str, Any]:
        (host,) = self.report["hosts"]
        return dict(host)

    @property
    def problems(self) -> list[dict[str, str]]:
        return [*self.report["problems"], *self.host["problems"]]

    @property
    def codes(self) -> list[str]:
        return [problem["code"] for problem in self.problems]

    def __str__(self) -> str:
        return f"exit {self.status}: {self.problems}\n{self.said[-4000:]}"


@dataclass(frozen=True)
class Service:
    """The host's service, as its administrator sees it."""

    host: Container

    def began(self, command: str, *words: str, **settings: Any) -> subprocess.Popen[str]:
        """A run of stroke that is under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "stroke", command, self.host.inventory, "--json", *words,
             "-e", json.dumps(settings)],
            cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"),
                 "XDG_STATE_HOME": os.fspath(self.host.state / "xdg")},
        )  # fmt: skip

    def stroke(self, command: str, *words: str, **settings: Any) -> Answer:
        run = self.began(command, *words, **settings)
        stdout, stderr = run.communicate()
        return Answer(run.returncode, json.loads(stdout), stderr)

    def provision(self, **settings: Any) -> Answer:
        return self.stroke("provision", "--yes", **settings)

    def state(self) -> dict[str, Any]:
        """The service's part of `stroke status`."""
        (service,) = self.stroke("status").host["state"]["services"]
        return dict(service)

    @property
    def invocation(self) -> str:
        return self.host.sh(f"systemctl show --property=InvocationID {UNIT}")

    def property(self, name: str) -> str:
        return self.host.sh(f"systemctl show --value --property={name} {UNIT}")

    def serves(self, seconds: float = 90) -> None:
        """Wait for a completion."""
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            said = self.host.sh(f"python3 - 2>&1 <<'EOF'\n{COMPLETION}\nEOF", check=False)
            if said == "2":
                return
            time.sleep(1)
        raise AssertionError(said)

    def until(self, state: str, seconds: float) -> None:
        """Wait for what systemd says of the unit."""
        deadline = time.monotonic() + seconds
        while self.property("ActiveState") != state and time.monotonic() < deadline:
            time.sleep(1)
        assert self.property("ActiveState") == state

    def as_before(self) -> None:
        """Nothing of what failed is left: the inventory's own settings are what the host has."""
        self.serves()
        plan = self.stroke("plan", "--detailed-exitcode")
        assert plan.status == 0, plan.host["changes"]
