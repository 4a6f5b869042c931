"""`stroke bench` against real engines says what an independent observer of the same run says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stroke.engine_image import engine_image
from stroke.host_apt import read_archive
from stroke.tiny_model import tiny_model

from tests.engine.observer import Observer, figures

pytestmark = pytest.mark.engine
ROOT = Path(__file__).resolve().parents[2]
STROKE = Path(sys.executable).parent / "stroke"
TOKENS = 96
TOLERANCE = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], port: int, log: Path, patience: float, **env: str) -> Iterator[int]:
    """A server that answers a completion; stopped by its own id."""
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **env}
        )
    try:
        end = time.monotonic() + patience
        while not _answers(port):
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(1)
        yield port
    finally:
        server.terminate()
        server.wait(60)


def _answers(port: int) -> bool:
    data = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 1}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """llama-server of the sandbox's engine image, run from its files."""
    if os.geteuid() != 0:
        pytest.skip("needs root for chroot")
    home = tmp_path_factory.mktemp("llama")
    with tarfile.open(engine_image(read_archive(), print).archive) as archive:
        archive.extractall(home / "oci", filter="data")
    for blob in (home / "oci/blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            with tarfile.open(blob) as layer:
                layer.extractall(home / "root", filter="tar")
    shutil.copy(tiny_model().path, home / "root/tiny.gguf")
    port = free_port()
    command = ["chroot", str(home / "root"), "/usr/bin/llama-server", "-m", "/tiny.gguf",
               "--host", "127.0.0.1", "--port", str(port), "-c", "8192", "-np", "4",
               "-t", "1"]  # fmt: skip
    with serving(command, port, home / "log", 60):
        yield port


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The vLLM of STROKE_TEST_VLLM (its program) with the model of STROKE_TEST_VLLM_MODEL."""
    program, model = (os.environ.get(f"STROKE_TEST_VLLM{name}") for name in ("", "_MODEL"))
    if not program or not model:
        pytest.skip("STROKE_TEST_VLLM and STROKE_TEST_VLLM_MODEL name no vLLM (docs/bench.md)")
    port = free_port()
    command = [program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1",
               "--port", str(port), "--enforce-eager", "--max-model-len", "2048"]  # fmt: skip
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with serving(command, port, tmp_path_factory.mktemp("vllm") / "log", 1000, **settings):
        yield port


@pytest.mark.parametrize("engine", ["llama", "vllm"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_figures_are_those_of_an_independent_observer(
    engine: str, concurrency: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(engine)
    with Observer(port) as observer:
        report = bench(observer.port, concurrency, tmp_path)
    level = report["levels"][0]
    seen = observer.measured(TOKENS)[1:]  # the first is the warm-up
    assert len(seen) == level["requests"] == 12
    assert level["errors"] == 0
    theirs = figures(seen)
    ours = {
        "ttft_p50": level["ttft_s"]["p50"],
        "ttft_p95": level["ttft_s"]["p95"],
        "tpot_p50": level["tpot_s"]["p50"],
        "tpot_p95": level["tpot_s"]["p95"],
        "output_per_s": level["output_per_s"]["median"],
        "total_per_s": level["total_per_s"]["median"],
    }
    table = {name: (ours[name], theirs[name], ours[name] / theirs[name] - 1) for name in ours}
    for name, (mine, other, off) in table.items():
        print(
            f"{engine} {concurrency} {name}: stroke {mine:.6g}, observer {other:.6g} ({off:+.2%})"
        )
    assert {name: off for name, (_, _, off) in table.items() if abs(off) > TOLERANCE} == {}


def bench(port: int, concurrency: int, home: Path) -> dict[str, Any]:
    """What the command line reports."""
    done = subprocess.run(
        [STROKE, "bench", "--url", f"http://127.0.0.1:{port}/v1", "--model", "tiny", "--json",
         "--concurrency", str(concurrency), "--repetitions", "1", "--requests", "12",
         "--prompt-tokens", "1600", "--output-tokens", str(TOKENS), "--results", str(home)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["hosts"][0]["bench"]
    return report
