"""The watchdog's judgement: what is restarted, and above all what is not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import pytest

from roles.service_watchdog.files.stroke_watchdog import evidence, probe, verdict
from tests.unit.plugins import plugin

Json = dict[str, Any]
filters = plugin("service_watchdog", "service_watchdog")
LIMITS = {"restart": True, "timeout": 1, "failures": 3, "backoff": 600, "restarts_per_day": 3,
          "evidence_keep": 2, "evidence_mib": 1, "evidence_path": "", "state_path": ""}  # fmt: skip
VLLM = [{"path": "/metrics", "form": "prometheus", "names": ["vllm:generation_tokens_total"]}]
SLOTS = [{"path": "/slots", "form": "json", "names": ["id_task", "n_decoded"]}]
UNIT = {"ActiveState": "active", "InvocationID": "a", "ActiveEnterTimestampMonotonic": "0"}
TOKEN = {"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}


class Engine(BaseHTTPRequestHandler):
    """An endpoint that does what its server is told to."""

    server: Any

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._send(*self.server.health)
        self.server.pages += 1
        self._send(200, self.server.page(self.server.pages))

    def do_POST(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        time.sleep(self.server.delay)
        self._send(*self.server.answer)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Asks no name service for its own name, which may take seconds."""

    block_on_close = False

    def server_bind(self) -> None:
        TCPServer.server_bind(self)


@contextmanager
def engine(**told: Any) -> Iterator[Any]:
    server: Any = Server(("127.0.0.1", 0), Engine)
    server.health, server.delay, server.pages, server.asked = (200, "ok"), 0.0, 0, 0
    server.answer, server.keys = (200, json.dumps(TOKEN)), []
    server.page = lambda number: "vllm:generation_tokens_total 7.0\n"
    for name, value in told.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def config(server: Any = None, **more: Any) -> Json:
    url = f"http://127.0.0.1:{server.server_address[1]}" if server else "http://127.0.0.1:9"
    service = {"name": "box", "url": url, "model": "m", "progress": VLLM, "start_seconds": 60}
    text = filters.watchdog_settings([service], LIMITS | {"timeout": 0.5}, "/x")["/x/box.json"]
    found: Json = json.loads(text)
    return found | {"timeout": 0.5, "key_file": ""} | more


def moving(number: int) -> str:
    return f"vllm:generation_tokens_total {number}.0\nvllm:generation_tokens_total_created 1\n"


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({}, "answered"),
        ({"delay": 2}, "silent"),
        ({"delay": 2, "page": moving}, "busy"),
        ({"answer": (200, '{"choices": [{"text": ""}], "usage": {"completion_tokens": 0}}')},
         "silent"),
        ({"answer": (200, '{"choices": []}')}, "silent"),
        ({"answer": (200, "<html>")}, "error"),
        ({"answer": (500, "engine is dead")}, "error"),
        ({"answer": (503, "loading model"), "health": (503, "loading")}, "error"),
        ({"answer": (401, "no")}, "rejected"),
        ({"answer": (404, "no such model")}, "rejected"),
        ({"answer": (429, "wait")}, "busy"),
        ({"delay": 2, "health": (500, "")}, "down"),
    ],
)  # fmt: skip
def test_what_an_endpoint_does_has_a_name(told: Json, kind: str) -> None:
    with engine(**told) as server:
        assert probe.look(config(server), [])["kind"] == kind


def test_nothing_listens() -> None:
    assert probe.look(config(), [])["kind"] == "down"


def test_tokens_since_the_last_look_are_enough() -> None:
    with engine(page=moving) as server:
        seen = probe.look(config(server), ["vllm:generation_tokens_total 0.0"])
        assert seen["kind"] == "flowing" and server.asked == 0


def test_an_idle_engine_is_asked_for_a_token() -> None:
    with engine() as server:
        before = probe.look(config(server), [])["progress"]
        assert probe.look(config(server), before)["kind"] == "answered" and server.asked == 2


def test_a_slot_that_decodes_is_busy() -> None:
    def page(number: int) -> str:
        return json.dumps([{"id": 0, "id_task": 5, "next_token": {"n_decoded": number}}])

    with engine(page=page, delay=2) as server:
        assert probe.look(config(server, progress=SLOTS), [])["kind"] == "busy"


def test_only_the_named_counters_count() -> None:
    page = 'a_total{x="1"} 3\na_total_created 9\nb_total 4\n# HELP a_total\na_totals 1\na_total 5\n'
    assert probe.counters(page, ["a_total"]) == ["a_total 5", 'a_total{x="1"} 3']


def test_the_key_is_read_from_its_file_and_sent_as_a_header(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("k-1\n")
    with engine() as server:
        probe.look(config(server, key_file=str(tmp_path / "api_key")), [])
        probe.look(config(server, key_file=str(tmp_path / "none")), [])
        assert server.keys == ["Bearer k-1", None]


def seen(kind: str) -> Json:
    return {"kind": kind, "detail": kind, "health": True, "progress": [], "seconds": 0.1}


def run(kinds: list[str], state: Json | None = None, at: float = 1e6, **more: Any) -> list[str]:
    """What is done after each of some looks, 30 s apart, long after the unit's start."""
    state = state if state is not None else verdict.fresh("box")
    done = []
    for number, kind in enumerate(kinds):
        now = at + 30 * number
        _, action = verdict.judge(config(**more), state, UNIT, seen(kind), now, 1e5)
        done.append(action)
        if action == "restart":
            verdict.restarted(state, now, "/e")
    return done


def test_three_failures_in_a_row_and_not_two() -> None:
    assert run(["answered", "silent", "silent", "silent"]) == ["", "", "", "restart"]
    assert run(["silent", "silent", "answered", "silent", "down"]) == [""] * 5


@pytest.mark.parametrize("kind", ["answered", "busy", "flowing", "rejected"])
def test_an_engine_that_works_or_cannot_be_judged_is_left_alone(kind: str) -> None:
    assert run([kind] * 20) == [""] * 20
    assert run(["silent", "silent", kind] * 5) == [""] * 15


def test_loading_lasts_as_long_as_a_start_may_take() -> None:
    state, young = verdict.fresh("box"), UNIT | {"ActiveEnterTimestampMonotonic": str(10**6 * 1000)}
    for second in (1, 30, 59):
        _, action = verdict.judge(config(), state, young, seen("down"), second, 1000.0 + second)
        assert (action, state["verdict"], state["failures"]) == ("", "loading", 0)
    verdict.judge(config(), state, young, seen("down"), 61, 1061.0)
    assert (state["verdict"], state["failures"]) == ("down", 1)


def test_an_engine_that_answered_once_is_no_longer_loading() -> None:
    state = verdict.fresh("box")
    for kind in ("answered", "silent"):
        verdict.judge(config(), state, UNIT, seen(kind), 5, 5.0)
    assert (state["verdict"], state["failures"]) == ("silent", 1)


def test_a_unit_that_is_not_active_is_systemds_business() -> None:
    state = verdict.fresh("box") | {"failures": 2}
    for word, said in (("activating", "loading"), ("failed", "stopped"), ("inactive", "stopped")):
        assert verdict.idle(state, {"ActiveState": word}, 1.0)["verdict"] == said
        assert state["failures"] == 0


def test_each_restart_waits_twice_as_long_and_the_last_one_gives_up() -> None:
    state = verdict.fresh("box")
    done = run(["answered"] + ["silent"] * 400, state)
    times = [30 * number for number, action in enumerate(done) if action == "restart"]
    assert len(times) == 3
    assert times[1] - times[0] >= 600 and times[2] - times[1] >= 1200
    assert done.count("give up") == 1 and done.index("give up") > done.index("restart")
    assert "did not help" in state["given_up"]
    assert run(["silent"] * 50, state, at=1e6 + 12030) == [""] * 50
    assert run(["answered"], state, at=1e6 + 2e4) == [""] and state["given_up"] is None
    assert state["events"][-1]["what"] == "recovered"


def test_restarts_of_yesterday_do_not_count() -> None:
    state = verdict.fresh("box")
    state["restarts"] = [{"time": 1e6 - 86401, "reason": "", "evidence": None}] * 3
    assert run(["silent"] * 3, state) == ["", "", "restart"]


def test_a_clock_that_was_set_back_frees_no_restarts() -> None:
    state = verdict.fresh("box")
    state["restarts"] = [{"time": 2e6, "reason": "", "evidence": None}] * 3
    assert run(["silent"] * 3, state) == ["", "", "give up"]


def test_it_may_be_told_only_to_watch() -> None:
    assert run(["silent"] * 5, restart=False) == ["", "", "give up", "", ""]


def test_evidence_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 100)
    evidence.prune(tmp_path, tmp_path / "4", 3, 10**6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4"]
    evidence.prune(tmp_path, tmp_path / "4", 3, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
    evidence.prune(tmp_path, tmp_path / "4", 3, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


class Mute:
    """A host whose programs print what is given."""

    manager, prefix = ("systemctl",), ()

    def __init__(self, text: str, container: Json) -> None:
        self.text, self.container = text, container

    def say(self, *words: str, seconds: float = 1) -> str:
        return self.text

    def inspect(self, runtime: str, container: str) -> Json:
        return self.container


def test_a_bundle_holds_no_secret_and_is_for_root_only(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("canary-key")
    found = {"Id": "1", "State": {"Pid": 0}, "Args": ["--api-key", "canary-key"],
             "Config": {"Env": ["HF_TOKEN=canary-env"], "User": "7"}}  # fmt: skip
    host: Any = Mute("amdgpu: ring timeout canary-key\nusb: other\n", found)
    told = config(key_file=str(tmp_path / "api_key"), evidence_path=str(tmp_path / "e"))
    bundle = evidence.keep(told, verdict.fresh("box"), {}, host, 0.0)
    assert bundle.name == "19700101T000000Z-box" and bundle.stat().st_mode & 0o777 == 0o700
    files = sorted(bundle.iterdir())
    assert {"summary.json", "journal.txt", "kernel.txt", "gpu.txt", "threads.txt", "unit.txt",
            "container.json", "endpoint.txt"} <= {path.name for path in files}  # fmt: skip
    for path in files:
        assert "canary" not in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    assert "ring timeout" in (bundle / "kernel.txt").read_text()
    assert "usb" not in (bundle / "kernel.txt").read_text()


def test_a_log_is_cut_at_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "FILE", 1000)
    host: Any = Mute("old\n" * evidence.FILE + "amdgpu: newest\n", {})
    bundle = evidence.keep(config(evidence_path=str(tmp_path)), verdict.fresh("b"), {}, host, 0.0)
    data = (bundle / "journal.txt").read_bytes()
    assert len(data) == evidence.FILE and data.endswith(b"amdgpu: newest\n")


def test_the_gpu_and_the_threads_are_read_from_files(tmp_path: Path) -> None:
    device = tmp_path / "sys/class/drm/card1/device"
    device.mkdir(parents=True)
    (device / "gpu_busy_percent").write_text("100\n")
    (device / "mem_info_gtt_used").write_text("4096\n")
    assert "gpu_busy_percent: 100" in list(evidence.gpus(tmp_path))
    task = tmp_path / "proc/7/task/8"
    task.mkdir(parents=True)
    (task / "status").write_text("Name:\tEngineCore\nState:\tD (disk sleep)\n")
    (task / "wchan").write_text("amdgpu_fence_wait")
    (task / "stack").write_text("[<0>] dma_fence_wait")
    assert list(evidence.threads([7], tmp_path)) == [
        "7/8 EngineCore D (disk sleep) amdgpu_fence_wait", "    [<0>] dma_fence_wait"
    ]  # fmt: skip
    group = tmp_path / "sys/fs/cgroup/system.slice/x.service/inner"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("7\n9\n")
    assert evidence.members("/system.slice/x.service", tmp_path) == [7, 9]


def test_settings_out_of_bounds_are_named() -> None:
    good = [{"name": "box", "url": "http://127.0.0.1:1"}]
    assert filters.watchdog_problems(good, LIMITS, 30) == []
    (problem,) = filters.watchdog_problems(good, LIMITS | {"timeout": 0}, 30)
    assert problem["code"] == "STK-303" and "service_watchdog_timeout is 0" in problem["what"]
    assert len(filters.watchdog_problems([{"name": "a b", "url": "x"}], LIMITS, 1)) == 2


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_manifest_has_every_file_and_every_timer(state: str) -> None:
    items = filters.watchdog_manifest({"/a": "x"}, ["t.timer"], state)
    assert [item["kind"] for item in items] == ["file", "unit"]
    assert all((item.get("state") == "absent") is (state == "absent") for item in items)


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        ({"exists": True, "active": True, "enabled": "enabled", "sub": "waiting"}, None),
        ({"exists": True, "active": True, "enabled": "disabled", "sub": "waiting"}, "enable"),
        ({"exists": True, "active": False, "enabled": "enabled", "sub": "dead"}, "start"),
        ({"exists": False, "active": False, "enabled": ""}, "start"),
    ],
)
def test_a_timer_that_does_not_run_or_not_after_the_next_boot_is_a_change(
    seen: Json, action: str | None
) -> None:
    items = filters.watchdog_manifest({}, ["t.timer"], "present")
    found = plugin("host_profile", "manifest").manifest_changes(items, [seen])
    assert [change["action"] for change in found] == ([action] if action else [])
