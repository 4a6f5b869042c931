"""Podman as root, Podman without root and Docker in turn, in one guest: served, booted, stopped.

Each has an API key, which must be in its file and nowhere else. The GPU is a declared one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stroke.results import PACKAGE_RECORDS
from stroke.sandbox import SandboxOptions

from tests.vm.guest import Guest, start

pytestmark = pytest.mark.slow

KEY = "canary-backends-0123456789abcdef"
SERVICE = "stroke-inference"
STOP_SECONDS = 30  # of llama.cpp in engines.yml
SECRET = f"/etc/stroke/secrets/{SERVICE}/api_key"
# The service user's own session, as root enters it.
SESSION = (
    "uid=$(id -u stroke); sudo runuser -u stroke -- env --chdir=/ HOME=$(getent passwd stroke | "
    "cut -d: -f6) XDG_RUNTIME_DIR=/run/user/$uid"
)
# Nothing of stroke but what the sandbox itself laid into the guest.
LEFT = r"""
sudo find / -xdev \( -path /proc -o -path /sys -o -path /home -o -path /usr/share/grub \) -prune \
    -o \( -name '*stroke*' -print \) | grep -v stroke-backends || true
sudo grep -rlI 'Managed by stroke' /etc 2>/dev/null || true
grep -l '^stroke:' /etc/subuid /etc/subgid /etc/passwd 2>/dev/null || true
"""
# A stream that is under way when the unit is told to stop: its last line has to come.
STREAM = r"""
cat >/tmp/stream.py <<'PYTHON'
import http.client, json, sys, time
key = open("/dev/stdin").read().strip()
connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=300)
question = {"prompt": "a", "max_tokens": TOKENS, "stream": True, "ignore_eos": True}
connection.request("POST", "/v1/completions", json.dumps(question),
                   {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
chunks, done = 0, False
for line in connection.getresponse():
    chunks += line.startswith(b"data: ")
    done = done or b"[DONE]" in line
    if chunks == 3:
        open("/tmp/streaming", "w").close()
print(json.dumps({"chunks": chunks, "done": done, "ended": time.time()}))
PYTHON
rm -f /tmp/streaming
sudo cat SECRET | python3 /tmp/stream.py >/tmp/stream.json 2>&1 &
for i in $(seq 300); do [ -e /tmp/streaming ] && break; sleep 0.1; done
[ -e /tmp/streaming ] || { cat /tmp/stream.json; exit 1; }
date +%s.%N
STOP
wait
cat /tmp/stream.json
"""


@dataclass(frozen=True)
class Backend:
    """How a service is run, and how an administrator speaks to it."""

    name: str
    settings: dict[str, Any]
    unit: str
    systemctl: str
    program: str


BACKENDS = (
    Backend(
        "podman rootful",
        {"inference_server_runtime": "podman"},
        f"/etc/containers/systemd/{SERVICE}.container",
        "sudo systemctl",
        "sudo podman",
    ),
    Backend(
        "podman rootless",
        {"inference_server_runtime": "podman", "inference_server_rootless": True},
        f"$(getent passwd stroke | cut -d: -f6)/.config/containers/systemd/{SERVICE}.container",
        f"{SESSION} systemctl --user",
        f"{SESSION} podman",
    ),
    Backend(
        "docker",
        {"inference_server_runtime": "docker"},
        f"/etc/systemd/system/{SERVICE}.service",
        "sudo systemctl",
        "sudo docker",
    ),
)


@dataclass(frozen=True)
class Served:
    """A guest that one of the backends serves in."""

    guest: Guest
    backend: Backend
    settings: Path

    def stroke(self, *arguments: str) -> Any:
        return self.guest.stroke(*arguments, "-e", f"@{self.settings}")

    def status(self) -> dict[str, Any]:
        """What `stroke status` says of the one service."""
        (seen,) = self.stroke("status").host["state"]["services"]
        return dict(seen)

    def wait(self) -> None:
        """Until systemd says that the service is ready, which is its first completion."""
        self.guest.run(
            f"for i in $(seq 150); do {self.backend.systemctl} is-active -q {SERVICE} && exit 0; "
            f"sleep 2; done; {self.backend.systemctl} status {SERVICE}; exit 1"
        )

    def complete(self, tokens: int = 4) -> int:
        """Tokens of a completion that is asked for with the key, from inside the guest."""
        said = self.guest.run(f"""sudo cat {SECRET} | python3 -c '
import json, sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:8000/v1/completions",
    json.dumps(dict(prompt="ok", max_tokens={tokens}, ignore_eos=True)).encode(),
    {{"Content-Type": "application/json", "Authorization": "Bearer " + sys.stdin.read().strip()}})
print(urllib.request.urlopen(request, timeout=300).read().decode())'""")
        return int(json.loads(said)["usage"]["completion_tokens"])


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    running = start(
        tmp_path_factory.mktemp("backends"), SandboxOptions(name="stroke-backends", disk_gib=16)
    )
    try:
        yield running
    finally:
        running.sandbox.down()


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: str(backend.name))
def served(
    request: pytest.FixtureRequest, guest: Guest, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    backend: Backend = request.param
    place = tmp_path_factory.mktemp("settings")
    key, settings = place / "key", place / "settings.yml"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    settings.write_text(
        json.dumps(backend.settings | {"inference_server_api_key_file": str(key)}), encoding="utf-8"
    )
    found = Served(guest, backend, settings)
    result = found.stroke("provision", "--yes")
    assert result.status == 0, result
    assert result.host["endpoint"]["completion"]["tokens"] > 0
    assert [c for c in result.host["verify"] if c["status"] == "failed"] == []
    return found


def test_it_serves_from_the_archive_and_the_second_run_changes_nothing(served: Served) -> None:
    served.guest.run(f"sudo test -e {served.backend.unit}")
    assert served.complete() == 4
    again = served.stroke("provision", "--yes", "--full")
    assert (again.status, again.host["changed"]) == (0, 0), again


def test_the_key_is_in_its_file_and_nowhere_else(served: Served) -> None:
    mode = served.guest.run(f"sudo stat -c '%a %U' {SECRET}")
    assert mode == "400 stroke"
    texts = served.guest.run(f"""
cd /
{served.backend.systemctl} cat {SERVICE}
{served.backend.program} container inspect {SERVICE}
ps -eww -o args
sudo journalctl --no-pager --boot
""")
    assert SERVICE in texts and "/run/stroke/api_key" in texts
    assert KEY not in texts
    closed = served.guest.run(
        'python3 -c \'import urllib.request as u; u.urlopen("http://127.0.0.1:8000/v1/completions"'
        ', b"{}")\' 2>&1 | tail -n 1'
    )
    assert "401" in closed


def test_a_wrong_mode_of_the_key_is_mended(served: Served) -> None:
    served.guest.run(f"sudo chmod 0644 {SECRET}")
    plan = served.stroke("plan", "--detailed-exitcode")
    assert (plan.status, plan.host["changes"][0]["what"]) == (10, SECRET), plan
    mended = served.stroke("provision", "--yes")
    assert mended.status == 0, mended
    assert served.guest.run(f"sudo stat -c %a {SECRET}") == "400"


def test_it_is_back_by_itself_after_a_reboot(served: Served) -> None:
    served.guest.reboot()
    served.wait()
    assert served.complete() == 4


def test_out_of_memory_is_a_new_start_and_the_status_says_why(served: Served) -> None:
    """Its limit falls below what it uses, so that the kernel's killer has to work.

    The limit is lifted once the server is gone: what cleans up after it needs memory, too.
    """
    systemctl = served.backend.systemctl
    limit = f"{systemctl} set-property --runtime {SERVICE}"
    started = f"{systemctl} show --value --property InvocationID {SERVICE}"
    served.guest.run(f"""
before=$({started})
server=$(pgrep -o llama-server)
{limit} MemorySwapMax=0 MemoryMax=4M
for i in $(seq 100); do [ -e /proc/$server ] || break; sleep 0.2; done
{limit} MemoryMax=infinity
for i in $(seq 300); do [ "$({started})" = "$before" ] || exit 0; sleep 1; done
{systemctl} status {SERVICE}
exit 1""")
    served.wait()
    assert served.complete() == 4
    # What the status says of the health is the watchdog's last look, which may be 30 seconds old.
    deadline = time.monotonic() + 300
    while (seen := served.status())["health"] != "serving":
        assert time.monotonic() < deadline, seen
    assert seen["last_stop"] == "the kernel killed it for lack of memory", seen


def test_a_streaming_request_finishes_on_stop(served: Served) -> None:
    began = time.monotonic()
    served.complete(32)
    # A third of the time that a stop may take: without KVM a guest is slow. Its context is 512.
    tokens = max(40, min(400, int(32 / (time.monotonic() - began) * STOP_SECONDS / 3)))
    stop = f"{served.backend.systemctl} stop {SERVICE}"
    script = STREAM.replace("TOKENS", str(tokens)).replace("SECRET", SECRET).replace("STOP", stop)
    told, last = served.guest.run(script).splitlines()[-2:]
    said = json.loads(last)
    assert said["ended"] > float(told), "it was over before the unit was told to stop"
    assert said["done"] is True and said["chunks"] >= tokens
    state = served.guest.run(f"{served.backend.systemctl} is-active {SERVICE} || true")
    assert state == "inactive"


def test_it_is_removed_without_a_trace(served: Served) -> None:
    """Where packages stay, the record of them stays, too: what it takes to remove them later."""
    last = served.backend is BACKENDS[-1]
    result = served.stroke("remove", "--yes", *(["--packages"] if last else []))
    assert result.status == 0, result
    kept = [] if last else [PACKAGE_RECORDS]
    assert result.host["leftover"] == kept, result
    assert served.guest.run(LEFT).split() == kept
    if last:
        assert served.guest.run("command -v podman docker || true") == ""
