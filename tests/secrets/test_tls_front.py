"""A real Caddy before a server that streams: what it passes on, what it does not, and its end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers import ROOT, Container
from tests.oracle.play import Played, play
from tests.secrets.test_secrets import settings

pytestmark = pytest.mark.container
PORT, UPSTREAM = 8443, 8097
ROOT_CERTIFICATE = "/var/lib/stroke-tls-proxy/caddy/pki/authorities/local/root.crt"
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        for number in range(4):
            self.wfile.write(b'8\\r\\ndata: %d\\n\\r\\n' % number)
            self.wfile.flush()
            time.sleep(0.7)
        self.wfile.write(b'0\\r\\n\\r\\n')
    do_GET = do_POST
http.server.ThreadingHTTPServer(('127.0.0.1', 8097), Handler).serve_forever()
"""
# Prints the status, and how long after the first piece the last one came.
CLIENT = """
import http.client, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[2])
link = http.client.HTTPSConnection('front.test', 8443, context=context)
link.request('POST', sys.argv[1], b'{}', {'Content-Type': 'application/json'})
answer = link.getresponse()
times = []
while piece := answer.read1(64): times.append(time.monotonic())
print(answer.status, round(times[-1] - times[0], 1) if times else 0)
"""


def front(host: Container, **values: Any) -> Played:
    given = {"tls_proxy_names": ["front.test"]}
    sites = {"tls_proxy_sites": [{"port": PORT, "upstream": f"127.0.0.1:{UPSTREAM}"}]}
    words = ["-e", settings(host, "front", **(given | sites | values))]
    return play(ROOT / "tests/secrets/front.yml", host.inventory, *words)


def ask(host: Container, path: str) -> list[str]:
    return host.sh(f"python3 - {path} {ROOT_CERTIFICATE} <<'EOF'\n{CLIENT}EOF").split()


@pytest.fixture(scope="module")
def running(host: Container) -> Container:
    host.sh(f"cat >/srv/upstream.py <<'EOF'\n{SERVER}EOF\n"
            "systemd-run --quiet --unit=upstream /usr/bin/python3 /srv/upstream.py\n"
            "grep -q front.test /etc/hosts || echo 127.0.0.1 front.test >>/etc/hosts")  # fmt: skip
    played = front(host)
    assert played.status == 0, played
    return host


def test_tokens_come_as_they_are_made(running: Container) -> None:
    status, spread = ask(running, "/v1/completions")
    assert status == "200" and float(spread) > 1.2


@pytest.mark.parametrize("path", ["/health", "/metrics", "/tokenize", "/v1/../pause"])
def test_what_asks_for_no_key_is_not_passed_on(running: Container, path: str) -> None:
    assert ask(running, path)[0] == "404"


def test_the_packages_own_server_never_answers(running: Container) -> None:
    assert running.sh("systemctl is-active caddy.service || true") == "inactive"
    assert "caddy" not in running.sh("ss -ltnp 'sport = :80'")


def test_a_second_run_changes_nothing(running: Container) -> None:
    assert front(running).changed == {}


def test_the_front_is_gone_without_a_trace(running: Container) -> None:
    assert front(running, tls_proxy_state="absent").status == 0
    places = "/etc/stroke/tls_proxy /etc/systemd/system/stroke-tls-proxy.service"
    places += " /var/lib/private/stroke-tls-proxy"
    assert running.sh(f"ls -d {places} 2>/dev/null || true") == ""
    assert str(PORT) not in running.sh(f"ss -ltn 'sport = :{PORT}'")
