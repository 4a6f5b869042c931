"""`stroke estimate`: a GPU by its name, hosts of an inventory, and what it says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from stroke import estimate, estimate_targets, role_code
from stroke.errors import Exit, StrokeError
from typer.testing import Result

from tests.unit.playing import ROOT, RecordedBackend, event, home, published, stroke
from tests.unit.profile_cases import resolved

__all__ = ["home"]

KNOWN = role_code.catalog()
NOTHING = RecordedBackend({})
SCHEMA = json.loads((ROOT / "docs" / "estimate.schema.json").read_text(encoding="utf-8"))


def ask(*words: str) -> Result:
    return stroke(NOTHING, "estimate", *words)


def told(*words: str, backend: RecordedBackend = NOTHING) -> dict[str, Any]:
    answer = stroke(backend, "estimate", *words, "--json")
    document: dict[str, Any] = json.loads(answer.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["exit_code"] == answer.exit_code
    return document


def test_14b_on_strix_halo_fits_and_is_told_its_speed() -> None:
    answer = ask("Qwen/Qwen2.5-14B-Instruct", "--gpu", "gfx1151")
    assert answer.exit_code == Exit.OK
    for words in ("fits", "128 GiB of RAM", "--gpu-memory-utilization", "6.0 to 8.7 tok/s",
                  "Strix Halo, Qwen2.5-14B FP16: 6.4 tok/s", "confidence"):  # fmt: skip
        assert words in answer.stdout
    assert "inference_server_model=Qwen/Qwen2.5-14B-Instruct" in answer.stderr


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    answer = ask("qwen2.5-14b-instruct", "--gpu", "RX 9070 XT")
    assert answer.exit_code == Exit.REFUSED
    assert "does not fit" in answer.stdout
    assert "Qwen/Qwen2.5-14B-Instruct-AWQ" in answer.stdout
    assert "provision" not in answer.stderr


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("gfx1151", "Radeon 8060S"), ("Strix Halo", "Radeon 8060S"), ("1586", "Radeon 8060S"),
        ("R9700", "Radeon AI PRO R9700"), ("gfx1201", "Radeon AI PRO R9700"),
        ("7900 xtx", "Radeon RX 7900 XTX"), ("7900 XT", "Radeon RX 7900 XT"),
        ("MI300X", "Instinct MI300X"), ("1002:74a1", "Instinct MI300X"),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_many_names(name: str, product: str) -> None:
    assert estimate_targets.boards(KNOWN, name)[0]["name"] == product


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-model", "--gpu", "gfx1151"],
        ["Qwen/Qwen3-8B", "--gpu", "gtx1080"],
        ["Qwen/Qwen3-8B", "--gpu", "gfx906"],
        ["Qwen/Qwen3-8B", "--gpu", "gfx1151", "--engine", "llamacpp"],
        ["Qwen/Qwen3-8B", "--gpu", "gfx1030"],
    ],
)
def test_what_nobody_knows_is_said_with_a_way_out(words: list[str]) -> None:
    error = ask(*words).exception
    assert isinstance(error, StrokeError)
    assert (error.code, error.exit) == ("STK-438", Exit.USAGE)
    assert error.hint


def test_a_misspelt_model_is_guessed() -> None:
    with pytest.raises(StrokeError) as error:
        estimate.recipe_of(KNOWN, "Qwen/Qwen2.5-14B-Instuct")
    assert "Qwen/Qwen2.5-14B-Instruct" in str(error.value.hint)


def test_memory_and_the_number_of_gpus_count() -> None:
    small = ["Qwen/Qwen3-32B", "--gpu", "gfx1151", "--memory"]
    assert not told(*small, "64")["targets"][0]["fits"]
    assert told(*small, "128")["targets"][0]["fits"]
    four = told("Qwen/Qwen3-32B", "--gpu", "R9700", "--gpus", "4")["targets"][0]
    assert four["fits"] and four["budget"]["tensor_parallel"] == 4
    assert not told("Qwen/Qwen3-32B", "--gpu", "R9700")["targets"][0]["fits"]


@pytest.mark.parametrize(
    ("context", "concurrency", "fits"),
    [(0, 1, True), (32768, 10, True), (32768, 11, False), (40000, 1, False), (1000, 300, True)],
)
def test_a_context_and_requests_are_looked_at(context: int, concurrency: int, fits: bool) -> None:
    words = ("Qwen/Qwen2.5-14B-Instruct", "--gpu", "gfx1151", "--context", str(context),
             "--concurrency", str(concurrency))  # fmt: skip
    assert told(*words)["targets"][0]["fits"] == fits
    said = ask(*words)
    assert said.exit_code == (Exit.OK if fits else Exit.REFUSED)
    if concurrency > 1 or context:
        assert ("as asked for: yes" in said.stdout) == fits


def test_weights_of_another_engine_choose_that_engine() -> None:
    found = told("gpt-oss-120b-mxfp4.gguf", "--gpu", "gfx1151")["targets"][0]
    assert found["engine"] == "llamacpp"
    assert found["budget"]["arguments"][0] == "--ctx-size"


def test_weights_that_do_badly_are_warned_of() -> None:
    assert "7 times slower" in ask("Qwen/Qwen3-32B-FP8", "--gpu", "gfx1151").stdout


def test_a_machine_without_a_gpu_is_told_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_code, "facts", lambda *_: {"gpus": []})
    answer = ask("Qwen/Qwen3-8B")
    assert answer.exit_code == Exit.OK
    assert "no AMD GPU" in answer.stderr
    assert "gfx1151" in answer.stdout and "gfx942" in answer.stdout
    assert "gfx1030" not in answer.stdout  # no image of vLLM has code for it


def test_this_machine_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_code, "facts", lambda *_: {})
    monkeypatch.setattr(role_code, "profile", lambda *_: resolved("r9700-four"))
    found = told("Qwen/Qwen3-32B")["targets"]
    assert [target["name"] for target in found] == [
        "this machine: 4 x Radeon AI PRO R9700 (gfx1201)"
    ]


def test_hosts_are_looked_at_and_their_own_model_does_not_matter(home: Path) -> None:
    hosts = {"halo": "strix-halo-ubuntu-26.04", "card": "rx-9070-xt-fedora-44"}
    plays = [event("playbook_on_start", "")]
    plays += [published(name, {"profile": resolved(case)}) for name, case in hosts.items()]
    backend = RecordedBackend({"inspect": plays})
    document = told("Qwen/Qwen2.5-14B-Instruct", "--host", "hosts.ini", backend=backend)
    assert {t["name"].split(":")[0]: t["fits"] for t in document["targets"]} == {
        "halo": True, "card": False,
    }  # fmt: skip
    assert document["exit_code"] == Exit.REFUSED
    assert backend.jobs[0].extra_vars == ("inference_server_model=",)
