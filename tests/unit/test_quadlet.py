"""The inference unit: golden files for both engines, quoting, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins import ROLES, plugin

server = plugin("inference_server", "inference_server")
refusals = plugin("inference_server", "refusals")

CASES = Path(__file__).parents[1] / "cases" / "quadlet"
ENGINES = yaml.safe_load(
    (ROLES / "host_profile/files/catalog/engines.yml").read_text(encoding="utf-8")
)["engines"]
STRIX = {"gfx": "gfx1151", "simulated": False, "render_node": "/dev/dri/renderD128"}
INSTINCT = STRIX | {"gfx": "gfx942"}

Json = dict[str, Any]


def settings(engine: str = "vllm", **changes: Any) -> Json:
    return {
        "name": "stroke-inference",
        "runtime": "podman",
        "rootless": False,
        "cdi": "auto",
        "cdi_devices": [],
        "engine": engine,
        "definition": ENGINES[engine],
        "image": ENGINES[engine]["image"],
        "image_id": None,
        "model": "Qwen/Qwen3-8B",
        "served_model_name": None,
        "model_digest": None,
        "bind": "127.0.0.1",
        "port": 8000,
        "extra_args": [],
        "extra_env": {},
        "start_timeout": 1800,
        "gfx": "gfx1151",
        "simulated": False,
        "gpus": [STRIX],
        "gpu_slots": [],
        "podman": "5.4.2",
        "docker": "26.1.5",
        "identity": {"uid": 997, "gid": 996, "groups": [992, 44]},
        "models_path": "/var/lib/stroke/models",
        "cache_path": "/var/lib/stroke/cache/stroke-inference",
    } | changes


def render(given: Json) -> str:
    return str(server.inference_unit(given)["text"])


TINY: Json = {
    "image": "localhost/stroke-sandbox/llamacpp:1",
    "image_id": "sha256:" + "ab" * 32,
    "model": "tiny.gguf",
    "model_digest": "cd" * 32,
    "simulated": True,
    "gpus": [{"gfx": "gfx1151", "simulated": True, "render_node": None}],
}
GOLDEN = {
    "vllm-gfx1151": settings(),
    "vllm-podman-4.9": settings(podman="4.9.3", gfx="gfx942", gpus=[INSTINCT]),
    "llamacpp-simulated": settings("llamacpp", **TINY),
    "llamacpp-rootless": settings("llamacpp", **TINY, rootless=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_unit_is_the_golden_one(name: str) -> None:
    """The generator of Podman 5.4 accepts each file; that for 4.9 only spells keys as options."""
    assert render(GOLDEN[name]) == (CASES / f"{name}.container").read_text(encoding="utf-8")


def lines(given: Json, key: str) -> list[str]:
    return [value for name, value in server.inference_unit(given)["container"] if name == key]


def test_no_catalogue_word_is_left_unfilled() -> None:
    for engine in ENGINES:
        text = render(settings(engine))
        assert "{model}" not in text and "{port}" not in text and "{served_name}" not in text


@pytest.mark.parametrize("engine", ENGINES)
def test_the_catalogue_breaks_none_of_its_own_rules(engine: str) -> None:
    definition = ENGINES[engine]
    variants = definition["variants"].values()
    words = [*definition["environment"], *definition["arguments"]]
    words += [w for v in variants for w in (*v["arguments"], *v["environment"])]
    assert not set(words) & set(definition["removed"])


def test_the_health_command_is_a_completion_with_one_token() -> None:
    for engine in ENGINES:
        (command,) = lines(settings(engine), "HealthCmd")
        words = json.loads(command.replace("%%", "%").replace("$$", "$"))
        assert "/v1/completions" in " ".join(words) and '"max_tokens":1' in " ".join(words)


@pytest.mark.parametrize(
    "word", ["plain", "two words", 'a "quote"', "back\\slash", "it's", "100%", "$HOME", "{}", ""]
)
def test_a_word_comes_through_systemd_as_it_was(word: str) -> None:
    quoted = server.systemd_word(word)
    (back,) = shlex.split(quoted)
    assert back.replace("%%", "%").replace("$$", "$") == word
    assert "%" not in quoted.replace("%%", "") and "$" not in quoted.replace("$$", "")


def test_a_line_break_is_never_rendered() -> None:
    with pytest.raises(ValueError, match="control characters"):
        server.systemd_word("a\nExecStartPre=/bin/false")


def test_a_real_gpu_has_mandatory_nodes_and_a_declared_one_optional() -> None:
    assert lines(settings(), "AddDevice") == ["/dev/kfd", "/dev/dri/renderD128"]
    assert lines(settings(simulated=True), "AddDevice") == ["-/dev/kfd"]


def test_aiter_is_on_only_where_the_catalogue_says_so() -> None:
    for gfx, expected in (("gfx1151", "0"), ("gfx942", "1"), ("gfx1201", "0"), (None, "0")):
        assert f"VLLM_ROCM_USE_AITER={expected}" in lines(settings(gfx=gfx), "Environment")


def test_the_users_words_come_last_and_win() -> None:
    given = settings(extra_args=["--max-num-seqs", "4"], extra_env={"VLLM_NO_USAGE_STATS": "0"})
    (command,) = lines(given, "Exec")
    assert command.endswith("--max-num-seqs 4")
    assert "VLLM_NO_USAGE_STATS=0" in lines(given, "Environment")


def test_the_digest_changes_with_the_image_and_with_the_model() -> None:
    plain = server.inference_unit(settings())["digest"]
    assert server.inference_unit(settings(image_id="sha256:1"))["digest"] != plain
    assert server.inference_unit(settings(model_digest="2"))["digest"] != plain
    assert server.inference_unit(settings())["digest"] == plain


def problems(archive: Json | None = None, **changes: Any) -> list[str]:
    found = refusals.inference_problems(settings(**changes), archive or {})
    assert all(problem["what"] and problem["hint"] for problem in found)
    return [problem["code"] for problem in found]


def test_good_settings_are_not_refused() -> None:
    assert problems() == []
    assert problems(extra_args=["--max-num-seqs", "8"], extra_env={"A": "b c"}) == []


@pytest.mark.parametrize(
    "word", ["--swap-space", "--swap-space=4", "--disable-log-requests", "--port", "--api-key=x"]
)
def test_arguments_that_are_removed_managed_or_secret_are_refused(word: str) -> None:
    assert problems(extra_args=[word]) == ["STK-303"]


@pytest.mark.parametrize(
    "name", ["HSA_OVERRIDE_GFX_VERSION", "VLLM_USE_V1", "VLLM_ATTENTION_BACKEND", "HF_TOKEN"]
)
def test_environment_that_is_removed_or_secret_is_refused(name: str) -> None:
    assert problems(extra_env={name: "1"}) == ["STK-303"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../evil"},
        {"image": "a b"},
        {"image": ""},
        {"model": ""},
        {"model": "a;b"},
        {"served_model_name": 'x"y'},
        {"models_path": "models"},
        {"cache_path": "/a\nDevice=/dev/mem"},
        {"cache_path": "/a:/b"},
        {"model_digest": "a b"},
        {"bind": "localhost"},
        {"port": 0},
        {"extra_args": ["a\nb"]},
        {"extra_env": {"A B": "c"}},
        {"extra_env": {"A": "b\nc"}},
    ],
)
def test_values_that_no_unit_can_hold_are_refused(changes: Json) -> None:
    assert problems(**changes) == ["STK-302"]


def test_a_broken_archive_is_told_first() -> None:
    archive = {"path": "/x.tar", "problem": "index.json is missing"}
    assert problems(archive, image="") == ["STK-405"]


def test_ids_come_from_a_fresh_look_before_the_facts() -> None:
    facts = {"users": {"stroke": {"uid": 1, "gid": 2}}, "groups": {"render": 3, "video": 4}}
    look = server.service_identity(facts, "stroke", ["render", "video"], None)
    assert (look["uid"], look["gid"], look["groups"]) == (1, 2, [3, 4])
    getent = {
        "passwd": {"stroke": ["x", "997", "996", "", "/home/s", "/bin/false"]},
        "group": {"render": ["x", "992", ""], "video": ["x", "44", ""]},
    }
    look = server.service_identity(facts, "stroke", ["render", "video"], getent)
    assert (look["known"], look["uid"], look["groups"]) == (True, 997, [992, 44])


def test_unknown_ids_are_told_as_such() -> None:
    facts: Json = {"users": {"stroke": None}, "groups": {"render": None, "video": 44}}
    look = server.service_identity(facts, "stroke", ["render", "video"], None)
    assert not look["known"]
    assert look["groups"] == ["(id of render)", 44]


def test_what_the_generator_says_is_shown_without_its_noise() -> None:
    answer = {
        "stderr": "quadlet-generator[7]: Loading source unit file /tmp/x/a.container\n"
        "quadlet-generator[7]: unsupported key 'Bogus' in group 'Container'\n"
    }
    problem = refusals.generator_problem("/etc/a.container", answer)
    assert problem["what"].endswith(
        "/etc/a.container: unsupported key 'Bogus' in group 'Container'"
    )
    assert refusals.generator_problem("/a", {"msg": "no such program"})["what"].endswith("program")


def test_a_failed_start_shows_the_engines_own_words() -> None:
    journal = (
        'time="2026-11-21T03:10:05Z" level=warning msg="noise"\n'
        "2026-11-21 03:10:05.5 +0000 UTC m=+0.035 image pull abc\n"
        "error: cannot load /models/tiny.gguf\n"
    )
    problem = refusals.start_problem("stroke-inference", journal)
    assert problem["code"] == "STK-601"
    assert "cannot load" in problem["what"] and "noise" not in problem["what"]
