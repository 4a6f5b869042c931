"""The watchdog under a real systemd: what it restarts, what it leaves alone, what it keeps.

The engine is a stand-in that can be told to hang; the unit, its journal, the restarts and the
bundles are systemd's own. Looks are made by starting the watchdog's unit instead of waiting for
its timer, which the converged service has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers import Container
from tests.unit.plugins import plugin

pytestmark = pytest.mark.container

Json = dict[str, Any]
PORT = 18123
KEY = "canary-watchdog-key"
ENGINE = r"""
import http.server, os, sys, time

def mode():
    return open("/srv/fake-engine/mode").read().strip()

if mode() == "deaf":
    time.sleep(10**6)

class Engine(http.server.BaseHTTPRequestHandler):
    def send(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        moving = int(time.time() * 100) if mode() == "slow" else 7
        self.send(200, "vllm:generation_tokens_total %d\n" % moving)

    def do_POST(self):
        if mode() == "key" and self.headers.get("Authorization") != "Bearer KEY":
            return self.send(401, "no")
        if mode() in ("silent", "slow"):
            time.sleep(30)
        self.send(200, '{"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}')

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(1, 2, 1)
        self.socket.bind(self.server_address)

Server(("127.0.0.1", PORT), Engine).serve_forever()
"""
UNIT = """[Service]
ExecStart=/usr/bin/python3 /srv/fake-engine/engine.py
TimeoutStopSec=5
"""


class Engine:
    """The stand-in on the host, and how the watchdog sees it."""

    def __init__(self, host: Container) -> None:
        self.host = host
        sh = host.sh
        sh("systemctl stop fake.service 2>/dev/null; rm -rf /var/lib/stroke/watchdog/fake.json "
           "/var/lib/stroke/evidence /etc/stroke/secrets/fake; mkdir -p /srv/fake-engine "
           "/etc/stroke/secrets/fake")  # fmt: skip
        self.began = sh("date +%s")
        program = ENGINE.replace("PORT", str(PORT)).replace("KEY", KEY)
        sh(f"cat >/srv/fake-engine/engine.py <<'EOF'\n{program}\nEOF")
        sh(f"cat >/etc/systemd/system/fake.service <<'EOF'\n{UNIT}\nEOF\nsystemctl daemon-reload")
        limits = {"restart": True, "timeout": 1, "failures": 3, "backoff": 0, "start_seconds": 1,
                  "restarts_per_day": 2, "evidence_keep": 3, "evidence_mib": 8,
                  "evidence_path": "/var/lib/stroke/evidence",
                  "state_path": "/var/lib/stroke/watchdog"}  # fmt: skip
        service = {"name": "fake", "url": f"http://127.0.0.1:{PORT}", "model": "m",
                   "progress": [{"path": "/metrics", "form": "prometheus",
                                 "names": ["vllm:generation_tokens_total"]}]}  # fmt: skip
        filters = plugin("service_watchdog", "service_watchdog")
        ((path, text),) = filters.watchdog_settings(
            [service], limits, "/etc/stroke/watchdog"
        ).items()
        sh(f"cat >{path} <<'EOF'\n{text}EOF")

    def start(self, mode: str) -> None:
        self.mode(mode)
        self.host.sh("systemctl restart fake.service; sleep 2")

    def mode(self, word: str) -> None:
        self.host.sh(f"echo {word} >/srv/fake-engine/mode")

    def look(self, times: int = 1) -> Json:
        """Some looks by the watchdog's own unit, and the state after them."""
        self.host.sh(f"for n in $(seq {times}); do systemctl start stroke-watchdog@fake.service; "
                     "sleep 1.5; done")  # fmt: skip
        found: Json = json.loads(self.host.sh("cat /var/lib/stroke/watchdog/fake.json"))
        return found

    @property
    def invocation(self) -> str:
        return self.host.sh("systemctl show --property=InvocationID fake.service")


@pytest.fixture
def engine(host: Container) -> Iterator[Engine]:
    made = Engine(host)
    yield made
    host.sh("systemctl stop fake.service; rm -rf /etc/systemd/system/fake.service "
            "/etc/stroke/watchdog/fake.json /etc/stroke/secrets /srv/fake-engine "
            "/var/lib/stroke/watchdog/fake.json /var/lib/stroke/evidence; "
            "systemctl daemon-reload")  # fmt: skip


def test_health_up_and_no_tokens_is_restarted_within_bounds(engine: Engine) -> None:
    engine.start("serve")
    assert engine.look()["verdict"] == "serving"
    engine.mode("silent")
    before = engine.invocation
    assert engine.look(2)["failures"] == 2 and engine.invocation == before
    state = engine.look()
    assert state["verdict"] == "restarting" and len(state["restarts"]) == 1
    assert engine.invocation != before
    bundle = state["restarts"][0]["evidence"]
    listed = engine.host.sh(f"stat -c '%a %U %n' {bundle} {bundle}/*")
    assert listed.startswith("700 root")
    names = {line.rsplit("/", 1)[-1] for line in listed.splitlines()[1:]}
    assert {"summary.json", "unit.txt", "journal.txt", "kernel.txt", "gpu.txt", "threads.txt",
            "container.json", "endpoint.txt"} <= names  # fmt: skip
    assert all(line.startswith("600 root") for line in listed.splitlines()[1:])
    assert "python3" in engine.host.sh(f"cat {bundle}/threads.txt")
    assert "HTTP 200" in engine.host.sh(f"cat {bundle}/endpoint.txt")
    # It hangs again and again: one more restart, then it gives up, once, and says so.
    second = engine.invocation
    assert len(engine.look(4)["restarts"]) == 2 and engine.invocation != second
    third, state = engine.invocation, engine.look(5)
    assert "2 restarts within a day" in state["given_up"] and engine.invocation == third
    said = engine.host.sh(
        f"journalctl --no-pager --since=@{engine.began} --unit=stroke-watchdog@fake.service"
    )
    assert said.count("given up: ") == 1 and "evidence is in /var/lib/stroke" in said
    assert int(engine.host.sh("ls /var/lib/stroke/evidence | wc -l")) == 3
    engine.mode("serve")
    engine.host.sh("systemctl restart fake.service; sleep 2")
    state = engine.look()
    assert state["given_up"] is None and state["events"][-1]["what"] == "recovered"


def test_slow_but_alive_is_left_alone(engine: Engine) -> None:
    engine.start("slow")
    before = engine.invocation
    state = engine.look(6)
    assert {look["kind"] for look in state["looks"]} <= {"busy", "flowing"}
    assert state["restarts"] == [] and engine.invocation == before


def test_a_unit_that_listens_no_more_is_restarted_and_one_that_is_stopped_is_not(
    engine: Engine,
) -> None:
    engine.start("deaf")
    before = engine.invocation
    state = engine.look(3)
    assert engine.invocation != before
    assert state["restarts"][0]["reason"].startswith("down: nothing listens")
    engine.host.sh("systemctl stop fake.service")
    state = engine.look(4)
    assert state["verdict"] == "stopped" and len(state["restarts"]) == 1
    assert engine.host.sh("systemctl is-active fake.service", check=False) == "inactive"


def test_the_key_is_used_and_is_in_no_evidence(engine: Engine) -> None:
    engine.start("key")
    before = engine.invocation
    state = engine.look(4)
    assert state["verdict"] == "blind" and engine.invocation == before
    engine.host.sh(f"umask 077; printf '{KEY}\\n' >/etc/stroke/secrets/fake/api_key")
    assert engine.look()["verdict"] == "serving"
    engine.mode("silent")
    assert len(engine.look(3)["restarts"]) == 1
    found = engine.host.sh(
        f"grep -rl {KEY} /var/lib/stroke /etc/systemd /etc/stroke/watchdog /run/systemd; "
        f"journalctl --no-pager | grep -c {KEY}",
        check=False,
    )
    assert found == "0"
