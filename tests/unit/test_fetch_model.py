"""The program that fetches models on a host, run as it is against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hub import FILES, WEIGHTS, Hub
from tests.unit.plugins import ROLES, plugin

PROGRAM = ROLES / "model_store/files/fetch_model.py"
TOKEN = "hf_canary0123456789abcdef"  # noqa: S105
store = plugin("model_store", "model_store")


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), TOKEN)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def start(hub: Hub, where: Path, repository: str, token: str = "", revision: str = "main") -> Any:
    words = ["--endpoint", f"http://127.0.0.1:{hub.server_port}", "--repository", repository,
             "--revision", revision, "--store", os.fspath(where), "--name", "m"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(token)
    process.stdin.close()
    return process


def fetch(hub: Hub, where: Path, repository: str, token: str = "", **more: str) -> dict[str, Any]:
    process = start(hub, where, repository, token, **more)
    said = process.stdout.read()
    code = process.wait(60)
    state = json.loads((where / ".partial/m.json").read_text(encoding="utf-8"))
    assert (code == 0) == (state["state"] == "done"), said
    assert TOKEN not in said and TOKEN not in json.dumps(state)
    assert not any(TOKEN.encode() in path.read_bytes() for path in where.rglob("*.json"))
    return dict(state)


def test_a_model_comes_whole_and_without_what_can_run_code(hub: Hub, tmp_path: Path) -> None:
    state = fetch(hub, tmp_path, "org/tiny")
    found = {str(p.relative_to(tmp_path / "m")): p.read_bytes()
             for p in (tmp_path / "m").rglob("*") if p.is_file()}  # fmt: skip
    assert found == {name: data for name, data in FILES.items() if not name.endswith(".bin")}
    assert state["done"] == state["total"] == sum(map(len, found.values()))
    assert list((tmp_path / ".partial").iterdir()) == [tmp_path / ".partial/m.json"]
    assert hub.tokens == {None}


def test_an_interrupted_download_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.slow = 0.05
    process = start(hub, tmp_path, "org/tiny")
    deadline = time.monotonic() + 30
    while hub.sent < len(WEIGHTS) // 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (part,) = (tmp_path / ".partial/m").glob("model.safetensors.*.part")
    came = part.stat().st_size
    assert 0 < came < len(WEIGHTS) and not (tmp_path / "m").exists()
    hub.slow, hub.sent = 0, 0
    hub.asked.clear()
    assert fetch(hub, tmp_path, "org/tiny")["state"] == "done"
    assert (tmp_path / "m/model.safetensors").read_bytes() == WEIGHTS
    ranges = [span for path, span in hub.asked if path.endswith("model.safetensors")]
    assert ranges == [f"bytes={came}-"]


@pytest.mark.parametrize(
    ("repository", "token", "revision", "kind", "said"),
    [
        ("org/nothing", "", "main", "missing", "does not exist"),
        ("org/private", "", "main", "missing", "needs a token"),
        ("org/nothing", TOKEN, "main", "missing", "the token may not see it"),
        ("org/tiny", "", "v9", "missing", "no revision v9"),
        ("org/gated", "", "main", "refused", "is gated"),
        ("org/tiny", "hf_wrong0123456789abcdef", "main", "refused", "rejects the token"),
        ("org/spoilt", "", "main", "damaged", "config.json has checksum"),
    ],
)  # fmt: skip
def test_what_fails_says_why_and_leaves_no_model(
    hub: Hub, tmp_path: Path, repository: str, token: str, revision: str, kind: str, said: str
) -> None:
    state = fetch(hub, tmp_path, repository, token, revision=revision)
    assert (state["state"], state["kind"]) == ("failed", kind)
    assert said in state["what"]
    assert not (tmp_path / "m").exists()
    (problem,) = store.fetch_problem(repository, state)
    assert problem["code"].startswith("STK-61") and said in problem["what"] and problem["hint"]


@pytest.mark.parametrize("repository", ["org/gated", "org/private"])
def test_a_token_opens_what_is_closed(hub: Hub, tmp_path: Path, repository: str) -> None:
    assert fetch(hub, tmp_path, repository, TOKEN)["state"] == "done"
    assert hub.tokens == {f"Bearer {TOKEN}"}


@contextmanager
def small_file_system(where: Path, size: str) -> Iterator[Path]:
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", os.fspath(where)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small file system")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_too_little_room_is_told_before_anything_comes(hub: Hub, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "small", "8m") as small:
        state = fetch(hub, small, "org/tiny")
        assert state["kind"] == "space" and "are free" in state["what"]
        assert hub.sent < 10_000 and not (small / "m").exists()


def test_a_disk_that_fills_meanwhile_is_told_and_the_next_run_goes_on(
    hub: Hub, tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "small", "40m") as small:
        hub.slow = 0.05
        process = start(hub, small, "org/tiny")
        deadline = time.monotonic() + 60
        while hub.sent < len(WEIGHTS) // 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(OSError, match="No space left"), (small / "other").open("wb") as other:
            while True:
                other.write(bytes(1 << 16))
        assert process.wait(60) == 1
        state = json.loads((small / ".partial/m.json").read_text(encoding="utf-8"))
        assert (state["kind"], state["what"]) == ("space", f"{small} is full")
        (part,) = (small / ".partial/m").glob("model.safetensors.*.part")
        came = part.stat().st_size
        assert came > 0 and not (small / "m").exists()
        (small / "other").unlink()
        hub.slow = 0
        hub.asked.clear()
        assert fetch(hub, small, "org/tiny")["state"] == "done"
        assert f"bytes={came}-" in [span for _, span in hub.asked]
        assert (small / "m/model.safetensors").read_bytes() == WEIGHTS


def test_a_model_is_replaced_whole(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/old").write_text("of another revision", encoding="utf-8")
    assert fetch(hub, tmp_path, "org/tiny")["state"] == "done"
    assert not (tmp_path / "m/old").exists() and (tmp_path / "m/config.json").is_file()
