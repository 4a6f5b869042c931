"""Planted secrets are in their files and nowhere else, whatever a run prints, keeps and leaves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.containers import ROOT, Container
from tests.oracle.play import play
from tests.secrets.conftest import HUB_PORT, TOKEN

pytestmark = pytest.mark.container
KEY = "canary-key-0123456789abcdef"
FOLDER = "/etc/stroke/secrets"
FILES = {f"{FOLDER}/stroke-inference/api_key", f"{FOLDER}/model_store/hf_token"}
Json = dict[str, Any]


def forms(secret: str) -> list[bytes]:
    """The secret as it is, as slurp and Podman write it, and its plain hashes."""
    found = [secret.encode()]
    for text in (secret, f"{secret}\n"):
        found.append(base64.b64encode(text.encode())[: len(secret)])
        hashes = (hashlib.new(name, text.encode()) for name in ("sha256", "sha1"))
        found += [made.hexdigest().encode() for made in hashes]
    return found


CANARIES = [*forms(KEY), *forms(TOKEN)]


@contextmanager
def watched_processes() -> Iterator[set[str]]:
    """Every process of this machine, those in containers too: who has a canary where."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                for file in (place, place.with_name("environ")):
                    try:
                        data = file.read_bytes()
                    except OSError:
                        continue
                    if any(canary in data for canary in CANARIES):
                        seen.add(f"{file.name}: {place.read_bytes()[:200]!r}")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def stroke(host: Container, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"),
                   "XDG_STATE_HOME": os.fspath(host.state / "xdg")}  # fmt: skip
    command = [sys.executable, "-m", "stroke", words[0], host.inventory, *words[1:]]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip


def settings(host: Container, name: str, **values: Any) -> str:
    """A file of variables, as a vault would be: readable for its owner only."""
    path = host.state / f"{name}.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    path.chmod(0o600)
    return f"@{path}"


def wanted(host: Container, token: str = TOKEN) -> Json:
    model = {"name": "gated", "source": "hf:org/gated", "revision": None}
    models = json.loads((host.state / "artifacts/variables.json").read_text())["models"]
    return {
        "inference_server_bind": "0.0.0.0",  # noqa: S104
        "inference_server_api_key": KEY,
        "model_store_hf_token": token,
        "model_store_endpoint": f"http://127.0.0.1:{HUB_PORT}",
        "model_store_models": [*models, model],
    }


def traces(directory: Path) -> list[str]:
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file() and any(canary in path.read_bytes() for canary in CANARIES)
    ]


def left_on(host: Container) -> set[str]:
    """Files of the host with a canary, and the places that are no files."""
    patterns = "\n".join(canary.decode() for canary in CANARIES)
    asked = "cat >/dev/shm/patterns\n"
    subprocess.run(["podman", "exec", "-i", host.name, "sh", "-c", asked], input=patterns,
                   text=True, check=True)  # fmt: skip
    found = host.sh(
        "cd / && grep -rlF -f /dev/shm/patterns etc home root run srv tmp usr/local var "
        "2>/dev/null",
        check=False,
    )
    places = {f"/{line}" for line in found.splitlines()}
    for name, command in (
        ("journal", "journalctl --no-pager --output export"),
        ("units", "systemctl show --no-pager --all '*'"),
        ("podman inspect", "podman inspect stroke-inference"),
        ("podman secrets", "podman secret inspect --showsecret $(podman secret ls -q) || true"),
        ("engine's environment", "cat /proc/$(pidof llama-server)/environ"),
    ):
        if host.sh(f"{command} 2>/dev/null | grep -acF -f /dev/shm/patterns || true") != "0":
            places.add(name)
    host.sh("rm /dev/shm/patterns")
    return places


def answer(host: Container, key: str | None) -> str:
    """The status of a request for a completion."""
    header = f"Authorization: Bearer {key}" if key else "X-None: 1"
    script = """import sys, urllib.error, urllib.request as u
name, _, value = sys.argv[1].partition(": ")
asked = u.Request("http://127.0.0.1:8000/v1/completions", b'{"prompt":"a","max_tokens":1}',
                  {"Content-Type": "application/json", name: value})
try: print(u.urlopen(asked, timeout=60).status)
except urllib.error.HTTPError as error: print(error.code)
"""
    return host.sh(f"python3 - '{header}' <<'EOF'\n{script}EOF")


def test_the_grep_finds_what_is_planted(host: Container) -> None:
    host.sh("printf %s 'x'$(printf 'canary-key-'; printf '0123456789abcdef')'x' >/var/tmp/planted")
    assert "/var/tmp/planted" in left_on(host)
    host.sh("rm /var/tmp/planted")


def test_planted_secrets_are_nowhere_but_in_their_files(host: Container, tmp_path: Path) -> None:
    given = settings(host, "given", **wanted(host))
    kept = tmp_path / "kept"
    with watched_processes() as processes:
        check = stroke(host, "provision", "--check", "--diff", "--yes", "-e", given, "--", "-vvv")
        assert check.returncode == 0, check.stdout + check.stderr
        done = stroke(host, "provision", "--diff", "--yes", "--json", "--keep-artifacts", kept,
                      "-e", given, "--", "-vvv")  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert answer(host, None) == "401"
    assert processes == set()
    for text in (check.stdout, check.stderr, done.stdout, done.stderr):
        assert not any(canary.decode() in text for canary in CANARIES)
    logs = [path.read_text(encoding="utf-8") for path in kept.glob("ansible-*.log")]
    assert any("Keep the key where only root and the engine can read it" in text for text in logs)
    assert traces(kept) == [] and traces(host.state / "xdg") == []
    assert traces(Path.home() / ".ansible") == []
    assert left_on(host) == FILES
    assert host.sh(f"cat {FOLDER}/stroke-inference/api_key") == KEY
    assert host.sh("ls /var/lib/stroke/models/gated") != ""


def test_requests_need_the_key_and_a_second_run_finds_nothing_to_do(host: Container) -> None:
    host.sh("cp /etc/stroke/secrets/stroke-inference/api_key /dev/shm/key; chmod 0600 /dev/shm/key")
    assert answer(host, "another-key-0123456789") == "401"
    played = play(ROOT / "playbooks/plan.yml", host.inventory, "-e",
                  settings(host, "given", **wanted(host)))  # fmt: skip
    assert played.plan[host.names[0]] == []
    assert played.modules[host.names[0]] == 1, played.tasks


@pytest.mark.parametrize(
    ("inject", "report", "before"),
    [
        ("chmod 0644 api_key", ["change api_key"], "mode 0644"),
        ("chown admin api_key", ["change api_key"], "owner admin"),
        ("chmod 0755 .", ["change stroke-inference"], "mode 0755"),
        ("echo another-key-0123456789 >api_key",
         ["change api_key", "restart stroke-inference.service"], "another content"),
        ("rm api_key", ["create api_key", "restart stroke-inference.service"], None),
    ],
)  # fmt: skip
def test_wrong_modes_and_keys_are_reported_and_repaired(
    host: Container, inject: str, report: list[str], before: str | None
) -> None:
    given = settings(host, "given", **wanted(host))
    host.sh(f"cd {FOLDER}/stroke-inference && {inject}")
    played = play(ROOT / "site.yml", host.inventory, "-e", given)
    assert played.status == 0, played
    plan = played.plan[host.names[0]]
    assert sorted(f"{c['action']} {c['what'].rpartition('/')[2]}" for c in plan) == report
    assert before is None or before in plan[0]["before"]
    assert not any(canary.decode() in str(played) for canary in CANARIES)
    stat = "stat -c '%a %U %G' . api_key"
    assert host.sh(f"cd {FOLDER}/stroke-inference && {stat}") == "700 root root\n400 stroke root"
    assert host.sh(f"cat {FOLDER}/stroke-inference/api_key") == KEY


def test_a_rejected_token_is_told_and_printed_nowhere(host: Container) -> None:
    bad = "hf_canarytoken0123456789abcdefX"  # contains the planted one
    given = settings(host, "bad", **wanted(host, bad))
    host.sh("rm -r /var/lib/stroke/models/gated /var/lib/stroke/model_store/gated.json")
    done = stroke(host, "provision", "--yes", "--json", "-e", given, "--", "-vvv")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "STK-616" in done.stdout and "rejects the token" in done.stdout
    assert not any(canary.decode() in done.stdout + done.stderr for canary in CANARIES)
    assert left_on(host) == FILES
    assert host.sh("test ! -e /var/lib/stroke/models/gated && systemctl is-active stroke-inference")
    assert answer(host, None) == "401"
