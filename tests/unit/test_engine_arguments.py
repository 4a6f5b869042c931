"""Arguments of engines: what is rendered, what users add, and the lists that both are held to."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hostprofile import arguments
from hostprofile.versions import meets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract import parser_list
from tests.unit.facts import strix_halo
from tests.unit.plugins import ROLES, plugin

profile = plugin("host_profile", "host_profile")
SHIPPED = profile.load_catalog(str(ROLES / "host_profile" / "files" / "catalog"))
IMAGES = [image["reference"] for image in SHIPPED["images"]]
OLD, OWN = "docker.io/vllm/vllm-openai-rocm:v0.17.1", "registry.example/mine:1"

Json = dict[str, Any]


def resolved(engine: str = "vllm", image: str | None = None, **more: Any) -> Json:
    wanted: Json = {"inference_server_engine": engine, "inference_server_image": image}
    wanted |= {f"inference_server_{name}": value for name, value in more.items()}
    result: Json = profile.resolve(strix_halo(), SHIPPED, wanted)
    return result


def problems(*words: str, image: str | None = None, **more: Any) -> list[Json]:
    """Refusals of these words for vLLM, by the catalogue's own image where none is named."""
    found = resolved(image=image, extra_args=list(words), **more)["refusals"]
    return [problem for problem in found if problem["code"] in ("STK-430", "STK-431", "STK-432")]


def warnings(*words: str, **more: Any) -> list[Json]:
    found = resolved(image=OWN, extra_args=list(words), **more)
    assert found["refusals"] == []
    return [warning for warning in found["warnings"] if warning["code"] == "STK-W30"]


# --- what stroke renders ------------------------------------------------------------------------


@pytest.mark.parametrize("reference", IMAGES)
def test_every_image_takes_all_that_is_rendered_for_it(reference: str) -> None:
    """Nothing is left out either: what the catalogue gives counts for each image in it."""
    image = next(image for image in SHIPPED["images"] if image["reference"] == reference)
    definition = SHIPPED["engines"][image["engine"]]
    parser = arguments.parser_of(SHIPPED, image["engine"], image["version"])
    assert parser is not None and parser.exact == (image["version"] is not None)
    for name, variant in definition["variants"].items():
        words = [*definition["arguments"], *variant["arguments"]]
        first = 1 if words[0] == "{model}" else 0
        said = arguments.argument_problems(parser, words[first:], {}, {})
        assert [problem["what"] for problem in said] == [], name
        own = {n for n in (*definition["environment"], *variant["environment"])
               if n.startswith(parser.prefix)}  # fmt: skip
        assert own - parser.names == set(), name


def test_the_catalogue_gives_no_more_than_its_image_takes() -> None:
    found = resolved(model="own/model")
    engine, shipped = found["engine"], SHIPPED["engines"]["vllm"]
    assert engine["version"] == "0.29.0"
    own = found["budget"]["arguments"]
    assert engine["definition"]["arguments"] == [*shipped["arguments"], *own]
    for key in ("environment", "variants"):
        assert engine["definition"][key] == shipped[key]


@pytest.mark.parametrize("model", SHIPPED["models"], ids=lambda model: str(model["id"]))
def test_every_image_takes_the_arguments_of_every_recipe(model: Json) -> None:
    for image in SHIPPED["images"]:
        engine = image["engine"]
        words = [str(word) for word in model.get("arguments", {}).get(engine, [])]
        parser = arguments.parser_of(SHIPPED, engine, image["version"])
        assert parser is not None, engine
        said = arguments.argument_problems(parser, words, {}, {})
        assert [problem["what"] for problem in said] == [], image["reference"]


def test_what_an_older_version_does_not_know_is_not_rendered() -> None:
    found = resolved(image=OLD)
    definition = found["engine"]["definition"]
    assert "--shutdown-timeout" not in definition["arguments"]
    assert "60" not in definition["arguments"]
    assert definition["arguments"][:3] == ["{model}", "--served-model-name", "{served_name}"]
    assert "--shutdown-timeout" in found["reasons"]["engine.arguments"]
    assert found["engine"]["version"] == "0.17.1"


def test_a_choice_that_a_version_does_not_have_is_not_rendered() -> None:
    known = copy.deepcopy(SHIPPED)
    known["engines"]["vllm"]["arguments"] += ["--dtype", "fp4", "--enforce-eager"]
    found = profile.resolve(strix_halo(), known, {"inference_server_engine": "vllm"})
    words = found["engine"]["definition"]["arguments"]
    assert "--enforce-eager" in words and "--dtype" not in words


# --- what users add -----------------------------------------------------------------------------


def test_a_removed_argument_is_refused_with_the_version_that_removed_it() -> None:
    (problem,) = problems("--swap-space", "4")
    assert problem["code"] == "STK-431"
    assert "removed in vllm 0.18.0; the image has 0.29.0" in problem["what"]
    assert problem["hint"] == SHIPPED["engines"]["vllm"]["removed"]["--swap-space"]
    assert problems("--swap_space=4") == [problem | {"what": problem["what"]}]


def test_a_version_that_still_takes_it_may_have_it() -> None:
    assert problems("--swap-space", "4", image=OLD) == []
    removed = resolved(image=OLD)["engine"]["definition"]["removed"]
    assert "--swap-space" not in removed and "VLLM_USE_V1" in removed
    assert "--swap-space" in resolved()["engine"]["definition"]["removed"]


@pytest.mark.parametrize(
    ("words", "code", "what", "hint"),
    [
        (["--max-num-seq", "8"], "STK-430", "--max-num-seq in", "--max-num-seqs"),
        (["--enforce-eagr"], "STK-430", "does not know it", "--enforce-eager"),
        (["--dtype", "fp16"], "STK-432", "--dtype cannot be 'fp16'", "one word"),
        (["--dtype=fp16"], "STK-432", "one of auto,", "one word"),
        (["--max-num-seqs"], "STK-432", "needs a value", "one word"),
        (["--max-num-seqs", "--enforce-eager"], "STK-432", "needs a value", "one word"),
        (["--max-num-seqs", "8", "9"], "STK-432", "takes one value and has 2", "one word"),
        (["--enforce-eager", "true"], "STK-432", "takes no value", "one word"),
        (["--no-enforce-eager=1"], "STK-432", "takes no value", "one word"),
        (["8"], "STK-432", "does not begin with an argument", "begin with"),
    ],
)
def test_what_the_parser_does_not_take_is_refused(
    words: list[str], code: str, what: str, hint: str
) -> None:
    (problem,) = problems(*words)
    assert problem["code"] == code
    assert what in problem["what"] and hint in problem["hint"]


@pytest.mark.parametrize(
    "words",
    [
        ["--max-num-seqs", "8"], ["--max_num_seqs=8"], ["-tp", "2"], ["--no-enforce-eager"],
        ["--seed", "-1"], ["--dtype", "bfloat16"], ["--served-model-name", "a", "b"], ["-O3"],
        ["--compilation-config.mode", "3"], ["--compilation-config", '{"mode": 3}'],
    ],
)  # fmt: skip
def test_what_the_parser_takes_is_not_refused(words: list[str]) -> None:
    assert problems(*words) == []


def test_no_value_of_an_unknown_argument_is_told() -> None:
    found = problems("--apikey", "s3cret", "--hf-tokn=s3cret", "--enforce-eager", "s3cret")
    assert len(found) == 3 and "s3cret" not in repr(found)


def test_variables_of_the_engine_are_checked_and_those_of_others_are_not() -> None:
    found = resolved(extra_env={"VLLM_LOGGING_LEVL": "DEBUG", "NCCL_DEBUG": "INFO"})
    assert found["refusals"] == []
    (warning,) = (w for w in found["warnings"] if w["code"] == "STK-W30")
    assert "VLLM_LOGGING_LEVEL" in warning["hint"]
    assert not [w for w in resolved(extra_env={"VLLM_LOGGING_LEVEL": "DEBUG"})["warnings"]
                if w["code"] == "STK-W30"]  # fmt: skip


def test_an_unknown_version_is_asked_of_the_newest_and_only_warned_of() -> None:
    newest = SHIPPED["engine_arguments"]["vllm"]["versions"][-1]
    (warning,) = warnings("--max-num-seq", "8")
    assert newest in warning["what"] and "--max-num-seqs" in warning["hint"]
    assert warnings("--max-num-seqs", "8") == []
    reason = resolved(image=OWN)["reasons"]["engine.arguments"]
    assert newest in reason and "newest" in reason


def test_a_removed_argument_is_refused_for_an_unknown_version_too() -> None:
    (problem,) = problems("--swap-space", "4", image=OWN)
    assert problem["code"] == "STK-431" and "inference_server_engine_version" in problem["hint"]
    assert problems("--swap-space", "4", image=OWN, engine_version="0.17.1") == []
    assert (
        problems("--max-num-seq", "4", image=OWN, engine_version="0.29.0")[0]["code"] == "STK-430"
    )


def test_a_tag_tells_the_version() -> None:
    tag = "docker.io/rocm/vllm:rocm7.13.0_gfx1151_ubuntu24.04_py3.12_pytorch_2.10.0_vllm_0.19.1"
    assert resolved(image=tag)["engine"]["version"] == "0.19.1"
    assert resolved(image=OLD)["engine"]["version"] == "0.17.1"
    assert resolved(image="docker.io/vllm/vllm-openai-rocm:nightly")["engine"]["version"] is None


def test_llama_server_joins_no_value_with_an_equals_sign() -> None:
    def said(*words: str) -> list[str]:
        found = resolved("llamacpp", model="m.gguf", extra_args=list(words))["warnings"]
        return [warning["what"] for warning in found if warning["code"] == "STK-W30"]

    assert said("--ctx-size", "512", "-fa", "on", "--rope_scaling", "yarn") == []
    assert len(said("--ctx-size=512")) == 1
    assert len(said("--no-mmap")) == 1  # llama.cpp#20834: --load-mode
    assert len(said("--rope-scaling", "none-such")) == 1


# --- the lists ----------------------------------------------------------------------------------


def test_a_version_of_a_listed_minor_release_counts_as_listed() -> None:
    for version, exact in (("0.29.0", True), ("0.29.9", True), ("0.17.1", True), ("9.9", False),
                           ("0.1.0", False), (None, False)):  # fmt: skip
        parser = arguments.parser_of(SHIPPED, "vllm", version)
        assert parser is not None and parser.exact == exact, version
    assert arguments.parser_of(SHIPPED, "no-engine", "1") is None


def test_reasons_name_the_version_that_the_lists_have() -> None:
    """engines.yml says it in words, the lists as data; they must not part."""
    known = SHIPPED["engine_arguments"]["vllm"]
    until = {e["flag"]: e["until"] for e in known["arguments"] if "until" in e}
    until |= {n: e["until"] for e in known["environment"] if "until" in e for n in e["names"]}
    listed = {n: why for n, why in SHIPPED["engines"]["vllm"]["removed"].items() if n in until}
    assert {"--swap-space", "--disable-log-requests"} <= set(listed)
    for name, why in listed.items():
        said = re.search(r"vLLM (0\.\d+)", why)
        assert said, name
        before = known["versions"][known["versions"].index(until[name]) - 1]
        assert meets(f"{said[1]}.0", before, "upstream"), name
        assert meets(until[name], f"{said[1]}.0", "upstream"), name


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (["0.17.0", "0.18.0", "0.19.0"], "removed in vllm 0.18.0"),
        (["0.16.0", "0.18.0", "0.19.0"], "removed between vllm 0.16.0 and 0.18.0"),
    ],
)
def test_a_removal_is_told_as_exactly_as_the_lists_have_it(versions: list[str], said: str) -> None:
    known = {
        "engine_arguments": {
            "vllm": {
                "versions": versions, "prefix": "VLLM_", "equals": True,
                "arguments": [{"flag": "--swap-space", "until": "0.18.0"}, {"flag": "--dtype"}],
                "environment": [{"names": ["VLLM_OLD"], "until": "0.18.0"}],
            }
        }
    }  # fmt: skip
    parser = arguments.parser_of(known, "vllm", "0.19.2")
    assert parser is not None
    found = list(arguments.argument_problems(parser, ["--swap-space"], {"VLLM_OLD": "1"}, {}))
    assert [problem["code"] for problem in found] == ["STK-431", "STK-431"]
    assert all(said in problem["what"] and "0.19.2" in problem["what"] for problem in found)


def test_lists_come_back_whole() -> None:
    for known in SHIPPED["engine_arguments"].values():
        again = parser_list.compact(parser_list.expand(known))
        assert again == {key: known[key] for key in ("versions", "arguments", "environment")}


_LISTING = st.fixed_dictionaries({
    "arguments": st.dictionaries(
        st.sampled_from(["--a", "--b"]), st.sampled_from([{}, {"value": "none"}]), max_size=2
    ).map(lambda table: [{"flag": flag} | table[flag] for flag in sorted(table)]),
    "environment": st.sets(st.sampled_from(["X", "Y"])).map(sorted),
})  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_LISTING, min_size=1, max_size=5))
def test_any_lists_come_back_whole(lists: list[Any]) -> None:
    """Also an argument that went and came back."""
    numbered = {f"0.{number + 8}.0": listing for number, listing in enumerate(lists)}
    known = parser_list.compact(numbered)
    assert known["versions"] == list(numbered)  # 0.10 is after 0.9
    assert parser_list.expand(known) == numbered


HELP = """\
----- common params -----
-c,    --ctx-size N                     size of the prompt context
                                        (env: LLAMA_ARG_CTX_SIZE)
--swa-full                              use full-size SWA cache
-nkvo, --no-kv-offload, --kv-offload, --a-very-long-name
                                        whether to offload
--rope-scaling {none,linear,yarn}       method
-fa,   --flash-attn [on|off|auto]       set it
--control-vector-layer-range START END
                                        layers
--draft, --draft-max N                  the argument has been removed. use another
"""


def test_the_help_of_llama_server_is_read() -> None:
    found = parser_list.of_help(HELP)
    assert found["environment"] == ["LLAMA_ARG_CTX_SIZE"]
    assert found["arguments"] == [
        {"flag": "--control-vector-layer-range", "value": "many"},
        {"flag": "--ctx-size", "also": ["-c"]},
        {"flag": "--flash-attn", "also": ["-fa"]},
        {"flag": "--no-kv-offload", "also": ["-nkvo", "--kv-offload", "--a-very-long-name"],
         "value": "none"},
        {"flag": "--rope-scaling", "choices": ["none", "linear", "yarn"]},
        {"flag": "--swa-full", "value": "none"},
    ]  # fmt: skip


def test_actions_of_a_parser_are_read() -> None:
    actions: list[Json] = [
        {"names": ["-h", "--help"], "nargs": 0, "choices": None},
        {"names": [], "nargs": "?", "choices": None},
        {"names": ["-tp", "--tensor-parallel-size"], "nargs": None, "choices": None},
        {"names": ["--eager", "--no-eager", "-e"], "nargs": 0, "choices": None},
        {"names": ["--headless"], "nargs": 0, "choices": None},
        {"names": ["--config"], "nargs": "?", "choices": None},
        {"names": ["--names"], "nargs": "+", "choices": None},
        {"names": ["--dtype"], "nargs": None, "choices": ["auto", "half"]},
    ]
    found = parser_list.of_dump({"arguments": actions, "environment": ["B", "A"]})
    assert found == {
        "arguments": [
            {"flag": "--config", "value": "optional"},
            {"flag": "--dtype", "choices": ["auto", "half"]},
            {"flag": "--eager", "also": ["-e"], "value": "switch"},
            {"flag": "--headless", "value": "none"},
            {"flag": "--names", "value": "many"},
            {"flag": "--tensor-parallel-size", "also": ["-tp"]},
        ],
        "environment": ["A", "B"],
    }
