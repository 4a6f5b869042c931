"""The module that loads a server, against a server whose speed is known."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import completion_load as module
import pytest

FIRST, TOKEN = 0.15, 0.03


class Server(ThreadingHTTPServer):
    """Answers at a fixed pace, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.most = self.now = 0
        self.status = 200
        self.fails = 0
        self.per_piece = 1
        self.usage = True
        self.hang = False
        self.silent = False
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One streamed completion."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        """Answer, at the pace of the server."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append(body)
            server.keys.append(self.headers.get("Authorization"))
            server.now += 1
            server.most = max(server.most, server.now)
            fails, server.fails = server.fails > 0, server.fails - 1
        try:
            self.answer(body, 503 if fails else server.status)
        except OSError:
            self.left()

    def left(self) -> None:
        """Count this request as ended: before the word that ends it, since the next one follows."""
        with self.server.lock:
            self.server.now -= 1

    def answer(self, body: dict[str, Any], status: int) -> None:
        if status != 200:
            self.left()
            self.send_response(status)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"no way\r\n")
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        began, tokens = time.perf_counter(), body["max_tokens"]
        if self.server.hang:
            time.sleep(3)
        for number in range(0, 0 if self.server.silent else tokens, self.server.per_piece):
            time.sleep(max(0.0, began + FIRST + number * TOKEN - time.perf_counter()))
            self.piece({"choices": [{"text": "a", "finish_reason": None}]})
        self.piece({"choices": [{"text": "", "finish_reason": "length"}]})
        if self.server.usage:
            words = len(body["prompt"].split())
            self.piece({"choices": [], "usage": {"prompt_tokens": words * 2,
                                                 "completion_tokens": tokens}})  # fmt: skip
        self.left()
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def piece(self, event: dict[str, Any]) -> None:
        self.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def params(server: Server, **values: Any) -> dict[str, Any]:
    return {
        "url": f"http://127.0.0.1:{server.server_address[1]}/v1", "model": "m",
        "api_key_file": None, "concurrency": 2, "requests": 4, "output_tokens": 10, "timeout": 60,
        **values,
    }  # fmt: skip


def load(server: Server, **values: Any) -> dict[str, Any]:
    given = params(server, **values)
    return module.load(module.Client(given), module.Prompts("x"), given, 5)


def test_times_are_those_of_the_server(server: Server) -> None:
    found = load(server)
    assert len(found["requests"]) == 4 and server.most == 2
    # A busy machine makes everything later, and nothing earlier than the server was told to be.
    assert all(one["first"] - one["sent"] >= FIRST for one in found["requests"])
    assert all(one["last"] - one["sent"] >= FIRST + 9 * TOKEN for one in found["requests"])
    assert all(one["first"] < one["last"] for one in found["requests"])
    assert found["gaps"]["count"] == 4 * 9
    assert found["seconds"] >= 2 * (FIRST + 9 * TOKEN)
    assert {(one["input"], one["output"]) for one in found["requests"]} == {(10, 10)}


def test_several_tokens_in_a_piece_are_counted_by_the_server(server: Server) -> None:
    server.per_piece = 5
    (one,) = load(server, requests=1)["requests"]
    assert one["output"] == 10


def test_a_single_token_without_text_is_one(server: Server) -> None:
    server.silent = True
    (one,) = load(server, requests=1, output_tokens=1)["requests"]
    assert (one["output"], one["first"]) == (1, one["last"])
    server.usage = False
    (none,) = load(server, requests=1, output_tokens=1)["requests"]
    assert none["error"] == "the answer has no tokens"


def test_a_server_without_counts_is_counted_by_pieces(server: Server) -> None:
    server.usage = False
    (one,) = load(server, requests=1)["requests"]
    assert (one["input"], one["output"]) == (0, 10)


def test_no_prompt_comes_twice_and_answers_are_whole(server: Server) -> None:
    load(server, requests=6, concurrency=3, output_tokens=2)
    prompts = [asked["prompt"] for asked in server.asked]
    assert len({prompt.split()[0] for prompt in prompts}) == 6
    assert all(asked["ignore_eos"] and asked["min_tokens"] == 2 for asked in server.asked)


def test_the_length_of_a_prompt_is_the_servers_count(server: Server) -> None:
    given = params(server)
    words = module.calibrate(module.Client(given), module.Prompts("x"), 100)
    assert words == 50  # the server counts two for each word
    assert len(server.asked[0]["prompt"].split()) * 8 <= 100, "fits a context of that length"


def test_the_key_comes_from_its_file(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "api_key"
    key.write_text("sk-planted\n", encoding="utf-8")
    found = load(server, requests=1, api_key_file=str(key))
    assert server.keys == ["Bearer sk-planted"]
    assert "sk-planted" not in json.dumps(found)
    load(server, requests=1, api_key_file=str(tmp_path / "none"))
    assert server.keys[-1] is None


def test_failures_are_kept_beside_the_answers(server: Server) -> None:
    server.fails = 1
    found = load(server, concurrency=1)["requests"]
    assert [one.get("error", "")[:8] for one in found] == ["HTTP 503", "", "", ""]


def test_a_silent_server_does_not_hold_it_up(server: Server) -> None:
    server.hang = True
    began = time.monotonic()
    found = load(server, requests=3, concurrency=1, timeout=1)
    assert time.monotonic() - began < 3
    assert next(one["error"] for one in found["requests"]) == "no answer in time"
    assert "not sent within 1 s" in found["requests"][-1]["error"]


@pytest.mark.parametrize(
    ("status", "url", "code"),
    [(401, None, "STK-621"), (200, "http://127.0.0.1:1/v1", "STK-620"), (200, "x", "STK-621")],
)
def test_no_endpoint_and_no_completion_have_their_codes(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, url: str | None, code: str
) -> None:
    server.status = status
    said: dict[str, Any] = {}

    class Failed(Exception):
        """What fail_json does."""

    class Stand:
        def __init__(self, **_: Any) -> None:
            self.params = params(server, warmup=1, words=0, prompt_tokens=8, seed="s")
            self.params["url"] = url or self.params["url"]

        def fail_json(self, **values: Any) -> None:
            said.update(values)
            raise Failed

    monkeypatch.setattr(module, "AnsibleModule", Stand)
    with pytest.raises(Failed):
        module.main()
    assert said["msg"].startswith(f"{code}: ") and "Hint: " in said["msg"]
