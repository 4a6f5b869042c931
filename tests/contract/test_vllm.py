"""The real vLLM of PyPI's CPU build: its parser, and its server with exactly what the role renders.

`make contract`. The version is that of the catalogue's own image; STROKE_CONTRACT_VERSION names
another. The first run installs it (about 3.5 GB) below STROKE_CONTRACT_DIR or the cache directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hostprofile import arguments, catalog
from stroke.paths import cache_home

from tests.contract import parser_list, vllm_build
from tests.unit.facts import strix_halo
from tests.unit.plugins import ROLES, plugin
from tests.unit.test_quadlet import settings

pytestmark = pytest.mark.contract

Json = dict[str, Any]
SHIPPED = catalog.load(str(ROLES / "host_profile" / "files" / "catalog"))
VLLM = SHIPPED["engines"]["vllm"]
VERSION = os.environ.get("STROKE_CONTRACT_VERSION") or next(
    str(image["version"]) for image in SHIPPED["images"] if image["reference"] == VLLM["image"]
)
PLACE = Path(os.environ.get("STROKE_CONTRACT_DIR") or cache_home() / "contract")
START_SECONDS = 2400  # 49 s on an idle machine of two cores; long where others compute, too
KEY = "contract-test-key-0123456789"
# What an operator of a small machine adds; it is checked like everybody's.
SMALL = ["--max-model-len", "512", "--dtype", "float32"]

profile = plugin("host_profile", "host_profile")
server = plugin("inference_server", "inference_server")


@cache
def python() -> Path:
    return vllm_build.build(VERSION, PLACE / f"vllm-{VERSION}")


@cache
def model() -> Path:
    directory = PLACE / "tiny-llama"
    if not (directory / "model.safetensors").is_file():
        directory.mkdir(parents=True, exist_ok=True)
        vllm_build.inside(python(), "model", directory)
    return directory


def engine(**given: Any) -> Json:
    """The engine of a Strix Halo's profile, made for the version under test."""
    wanted = {
        "inference_server_engine": "vllm",
        "inference_server_engine_version": VERSION,
        "inference_server_model": "tiny",
    }
    result = profile.resolve(strix_halo(), SHIPPED, wanted | given)
    assert result["refusals"] == []
    found: Json = result["engine"]
    return found


def unit(
    gfx: str | None, *, simulated: bool = False, words: list[str] | None = None
) -> list[list[str]]:
    """The [Container] lines that the role renders."""
    definition = engine(inference_server_extra_args=words or [])["definition"]
    given = settings(
        name="contract", definition=definition, image=VLLM["image"], model="tiny", gpus=[],
        extra_args=words or [], gfx=gfx, simulated=simulated, models_path="/m", cache_path="/c",
    )  # fmt: skip
    lines: list[list[str]] = server.inference_unit(given)["container"]
    return lines


def value(lines: list[list[str]], key: str) -> list[str]:
    """The words of a line, as systemd gives them to the container."""
    found = " ".join(text for name, text in lines if name == key)
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(found)]


def answers(lines: list[list[str]], tmp_path: Path) -> list[str | None]:
    """What the real parser says of each command line; None: it takes it."""
    target = tmp_path / "answers.json"
    vllm_build.inside(python(), "try", target, given=json.dumps(lines))
    found: list[str | None] = json.loads(target.read_text(encoding="utf-8"))
    return found


def test_the_catalogue_has_the_list_of_the_real_parser(tmp_path: Path) -> None:
    vllm_build.inside(python(), "dump", tmp_path / "dump.json")
    found = parser_list.of_dump(json.loads((tmp_path / "dump.json").read_text(encoding="utf-8")))
    assert parser_list.expand(SHIPPED["engine_arguments"]["vllm"])[VERSION] == found


def test_the_real_parser_takes_what_is_rendered_and_refuses_what_is_removed(tmp_path: Path) -> None:
    parser = arguments.parser_of(SHIPPED, "vllm", VERSION)
    assert parser is not None and parser.exact
    good = [value(unit(gfx), "Exec") for gfx in (*VLLM["variants"], None)]
    good += [value(unit(None, simulated=True, words=[*SMALL, "--enforce-eager"]), "Exec")]
    gone = sorted(name for name in parser.gone if name.startswith("--"))
    assert "--swap-space" in gone
    bad = [["tiny", name, *more] for name in gone for more in ([], ["1"])]
    bad += [
        ["tiny", "--dtype", "fp16"],
        ["tiny", "--max-num-seq-s", "1"],
        ["tiny", "--enforce-eager=1"],
    ]
    said = answers([*good, *bad], tmp_path)
    assert said[: len(good)] == [None] * len(good)
    taken = [words for words, answer in zip(bad, said[len(good) :], strict=True) if answer is None]
    assert taken == []


@dataclass(frozen=True)
class Served:
    url: str
    key: str | None
    log: Path

    def ask(self, path: str, body: Json | None = None, key: str | None = None) -> tuple[int, Json]:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310  loopback
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text else {}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(
    directory: Path, log: Path, more: list[str], key: str | None = None
) -> Iterator[Served]:
    """vLLM with the role's words and variables; paths, address and port are this machine's."""
    lines = unit(None, simulated=True, words=more)
    words = value(lines, "Exec")
    port, config = free_port(), directory / "api_key.yaml"
    assert words[0] == "/models/tiny"
    words[0] = str(model())
    words[words.index("--host") + 1] = "127.0.0.1"
    words[words.index("--port") + 1] = str(port)
    if key:
        config.write_text(f"api-key:\n  - {key}\n", encoding="utf-8")
        words += ["--config", str(config)]
    given = dict(word.split("=", 1) for word in value(lines, "Environment"))
    variables = {name: text.replace("/cache", str(directory)) for name, text in given.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python().with_name("vllm"), "serve", *words], stdout=output, stderr=output,
            env={**vllm_build.environment(), **variables, "VLLM_CPU_KVCACHE_SPACE": "1",
                 "VLLM_LOGGING_LEVEL": "INFO"},
            start_new_session=True,
        )  # fmt: skip
    found = Served(f"http://127.0.0.1:{port}", key, log)
    try:
        wait(found, process)
        yield found
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module", params=["open", "key"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("contract")
    key = KEY if request.param == "key" else None
    with serving(directory, directory / "vllm.log", [*SMALL, "--enforce-eager"], key) as found:
        yield found


def wait(found: Served, process: subprocess.Popen[bytes]) -> None:
    """Until /health answers 200; the end of the log where it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if found.ask("/health")[0] == 200:
                return
        except OSError:
            time.sleep(2)
    tail = found.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
    pytest.fail(f"vLLM does not serve (exit code {process.poll()}):\n" + "\n".join(tail))


COMPLETION: Json = {"model": "tiny", "prompt": "ok", "max_tokens": 3, "temperature": 0}


def test_it_serves_with_what_the_role_renders(served: Served) -> None:
    status, answer = served.ask("/v1/completions", COMPLETION, served.key)
    assert status == 200, answer
    assert answer["model"] == "tiny" and answer["usage"]["completion_tokens"] >= 1
    status, answer = served.ask("/v1/models", key=served.key)
    assert status == 200 and [entry["id"] for entry in answer["data"]] == ["tiny"]
    assert answer["data"][0]["max_model_len"] == 512
    assert served.ask("/version")[1]["version"].startswith(VERSION)


def test_a_key_in_the_configuration_file_is_asked_for_below_v1_only(served: Served) -> None:
    wanted = 401 if served.key else 200
    for key in (None, "wrong"):
        assert served.ask("/v1/completions", COMPLETION, key)[0] == wanted
        assert served.ask("/v1/models", key=key)[0] == wanted
    assert served.ask("/health")[0] == 200
    assert KEY not in served.log.read_text(encoding="utf-8", errors="replace")


def test_a_second_start_compiles_nothing_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the variables keep in the service's cache directory is what the next start takes."""
    seconds, compiled = [], []
    for start in ("first", "second"):
        began = time.monotonic()
        with serving(tmp_path, tmp_path / f"{start}.log", SMALL) as found:
            assert found.ask("/v1/completions", COMPLETION)[0] == 200
        seconds.append(time.monotonic() - began)
        files = tmp_path.rglob("*.so")  # below VLLM_CACHE_ROOT, too
        compiled.append({path: path.stat().st_mtime_ns for path in files})
    assert compiled[0], "the first start has compiled"
    assert compiled[1] == compiled[0]
    with capsys.disabled():
        print(f"\nfirst start {seconds[0]:.0f} s, second {seconds[1]:.0f} s")
