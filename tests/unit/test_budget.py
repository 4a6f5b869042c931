"""From memory to the engine's arguments: never more than there is, and never less with more."""

from __future__ import annotations

from typing import Any

import pytest
from hostprofile import budget as budgets
from hostprofile import hostfacts, memory, plan, pool, recipes, words
from hostprofile.findings import Findings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.facts import GIB, strix_halo
from tests.unit.plugins import plugin
from tests.unit.test_catalog import SHIPPED

Json = dict[str, Any]
profile = plugin("host_profile", "host_profile")
RULES = {rule["id"]: rule for rule in SHIPPED["memory_rules"]}
MODELS = {model["id"]: model for model in SHIPPED["models"]}
EVERY = st.sampled_from(sorted(MODELS))
RAM = st.integers(8 * GIB, 2048 * GIB)


def shared(ram: int, carveout: int = GIB // 2) -> pool.Pool:
    facts = hostfacts.complete({"memory": {"total_bytes": ram, "carveout_bytes": carveout}})
    found = memory.budget(facts, RULES["apu"], [], SHIPPED, Findings({}))
    return pool.of_host(found, RULES["apu"], [], SHIPPED)


def own(size: int, gpus: int = 1) -> pool.Pool:
    boards = [{"pci_id": "", "revision": "", "vram_bytes": size}] * gpus
    return pool.of_host({"total_bytes": 64 * GIB}, RULES["discrete"], boards, SHIPPED)


def of(model: str, place: pool.Pool, **more: Any) -> Json:
    recipe = MODELS[model]
    found: Json = budgets.budget(SHIPPED, place, recipe, recipe["engines"][0], **more)
    return found


def row(found: Json, step: str) -> int:
    return next(int(line["bytes"]) for line in found["table"] if line["step"] == step)


@settings(deadline=None, max_examples=60)
@given(EVERY, RAM, st.integers(0, 512 * GIB))
def test_an_engine_on_shared_memory_leaves_the_system_its_part(
    model: str, ram: int, carveout: int
) -> None:
    place = shared(ram, carveout)
    found = of(model, place)
    most = found.get("utilisation", 0) * place.most
    assert most <= place.least
    assert most + place.reserve + place.service <= ram + carveout or place.limit == 0


@settings(deadline=None, max_examples=60)
@given(EVERY, st.integers(GIB, 512 * GIB), st.integers(1, 8))
def test_the_parts_are_never_more_than_the_whole(model: str, size: int, gpus: int) -> None:
    found = of(model, own(size, gpus))
    assert row(found, "engine takes") <= row(found, "engine sees") <= row(found, "GPU memory")
    if found["fits"]:
        parts = sum(row(found, step) for step in ("- weights", "- overhead", "KV cache"))
        assert parts <= row(found, "engine takes") + 4  # each is rounded to a byte
        assert 0 < found["context"] <= min(found["kv_tokens"], MODELS[model]["context"])
        assert found["sequences"] >= 1
        assert found["gpus"] <= gpus
    else:
        assert found["arguments"] == []


@settings(deadline=None, max_examples=60)
@given(EVERY, RAM, RAM, st.booleans())
@example("Qwen/Qwen2.5-14B-Instruct", 8 * GIB, 14 * GIB, True)
def test_more_memory_is_never_worse(model: str, one: int, other: int, unified: bool) -> None:
    less, more = (
        of(model, shared(size) if unified else own(size)) for size in sorted((one, other))
    )
    assert less["fits"] <= more["fits"]
    for key in ("kv_bytes", "kv_tokens"):
        assert less.get(key, 0) <= more.get(key, 0)
    # Not the utilisation: it is a part of what the engine sees, which grows in steps.
    assert row(less, "engine takes") <= row(more, "engine takes")
    if less["fits"] and MODELS[model]["engines"] == ["vllm"]:
        assert less["context"] <= more["context"]
        assert less["sequences"] <= more["sequences"]


@settings(deadline=None, max_examples=30)
@given(EVERY, st.lists(st.floats(0.05, 0.5), min_size=2, max_size=5))
def test_services_that_share_a_memory_do_not_take_more_than_one(
    model: str, shares: list[float]
) -> None:
    place, total = shared(128 * GIB), sum(shares)
    parts = [of(model, place, share=part / total)["utilisation"] for part in shares]
    assert sum(parts) <= of(model, place)["utilisation"] + 1e-6


def test_the_whole_of_it_on_a_box_with_128_gib() -> None:
    found = of("Qwen/Qwen2.5-14B-Instruct", shared(int(125.65 * GIB)))
    assert " ".join(found["arguments"]) == (
        "--gpu-memory-utilization 0.90 --max-model-len 32768 --max-num-seqs 16"
    )
    assert row(found, "GTT limit") == 108 * GIB
    assert all(line["reason"] for line in found["table"])


def test_a_carve_out_that_the_driver_may_count_twice_is_not_taken_twice() -> None:
    found = of("Qwen/Qwen3-8B", shared(int(31.1 * GIB), 96 * GIB))
    assert found["utilisation"] == 0.84
    assert 0.84 * (96 + 18) <= 96


@pytest.mark.parametrize(
    ("size_gib", "gpus", "spread"),
    [(192, 1, 1), (96, 4, 1), (80, 4, 2), (48, 4, 2), (32, 4, 4), (32, 8, 4)],
)
def test_a_model_is_spread_over_as_few_gpus_as_hold_it(
    size_gib: int, gpus: int, spread: int
) -> None:
    found = of("Qwen/Qwen3-32B", own(size_gib * GIB, gpus))
    assert found["fits"] and found["tensor_parallel"] == spread
    flagged = "--tensor-parallel-size" in found["arguments"]
    assert flagged == (spread > 1)


def test_heads_are_divided_evenly() -> None:
    """GLM-4.7-Flash has 20 heads: eight GPUs cannot share them, four can."""
    found = of("zai-org/GLM-4.7-Flash", own(20 * GIB, 8))
    assert found["tensor_parallel"] == 4


@pytest.mark.parametrize(
    ("model", "kib"),
    [
        ("Qwen/Qwen2.5-14B-Instruct", 192), ("meta-llama/Llama-3.1-8B-Instruct", 128),
        ("Qwen/Qwen3-30B-A3B", 96), ("openai/gpt-oss-20b", 24), ("Qwen/Qwen3-8B", 144),
        ("zai-org/GLM-4.7-Flash", 47 * 576 * 2 / 1024),
    ],
)  # fmt: skip
def test_bytes_of_a_token(model: str, kib: float) -> None:
    assert recipes.token_bytes(MODELS[model]) == kib * 1024


def test_a_window_is_paid_once_and_a_latent_by_every_gpu() -> None:
    sliding, latent = MODELS["openai/gpt-oss-20b"], MODELS["zai-org/GLM-4.7-Flash"]
    assert recipes.window_bytes(sliding) == 128 * 24 * 1024
    assert recipes.window_bytes(latent) == 0
    assert recipes.token_bytes(latent, gpus=4) == recipes.token_bytes(latent)
    assert recipes.token_bytes(MODELS["Qwen/Qwen3-30B-A3B"], gpus=8) == 24 * 1024  # a head each


def test_a_cache_in_fp8_has_room_for_twice_the_tokens() -> None:
    place = shared(128 * GIB)
    plain = of("Qwen/Qwen3-8B", place)["kv_tokens"]
    small = of("Qwen/Qwen3-8B", place, given={"--kv-cache-dtype": "fp8"})["kv_tokens"]
    assert small == pytest.approx(2 * plain, rel=1e-4)


# --- arguments of others ------------------------------------------------------------------------

SPELT = st.sampled_from(
    [["--max-model-len", "8192"], ["--max_model_len=8192"], ["-tp", "1"], ["--enforce-eager"],
     ["--gpu-memory-utilization=0.5"], ["--max-num-seqs", "4"], ["--seed", "-1"], ["--seed", "x"],
     ["--max-model-len", "much"], ["--tool-call-parser", "mine"]]
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.lists(SPELT, max_size=4))
def test_what_the_user_says_is_not_said_again(chosen: list[list[str]]) -> None:
    extra = [word for group in chosen for word in group]
    result = profile.resolve(strix_halo(), SHIPPED, {"inference_server_extra_args": extra})
    rule = next(rule for rule in SHIPPED["serving_budgets"] if rule["id"] == "vllm-ram")
    definition = result["engine"]["definition"]
    ours = [name for name, _ in words.pairs(definition["arguments"], rule["aliases"])]
    variant = definition["variants"]["gfx1151"]["arguments"]
    ours += [name for name, _ in words.pairs(variant, rule["aliases"])]
    assert len(ours) == len(set(ours))
    budget_flags = {"--max-model-len", "--gpu-memory-utilization", "--tool-call-parser"}
    assert not budget_flags & set(ours) & set(words.given(extra, rule["aliases"]))


def test_the_gpus_own_limit_of_requests_is_kept_and_said_once() -> None:
    result = profile.resolve(strix_halo(), SHIPPED, {})
    definition = result["engine"]["definition"]
    assert result["budget"]["sequences"] == 16
    assert definition["arguments"].count("--max-num-seqs") == 1
    assert definition["variants"]["gfx1151"]["arguments"] == ["--attention-backend", "TRITON_ATTN"]
    # The catalogue itself is not changed by a host.
    variant = SHIPPED["engines"]["vllm"]["variants"]["gfx1151"]["arguments"]
    assert "--max-num-seqs" in variant


def test_latent_attention_is_left_to_the_engine() -> None:
    chosen = {"inference_server_model": "zai-org/GLM-4.7-Flash"}
    variants = profile.resolve(strix_halo(), SHIPPED, chosen)["engine"]["definition"]["variants"]
    assert variants["gfx1151"]["arguments"] == []


def test_a_simulated_host_gets_no_arguments_and_a_note() -> None:
    gpus = [{"gfx": "gfx1151", "simulated": True}]
    plain = SHIPPED["engines"]["vllm"]["arguments"]
    for model in ("", "tiny"):
        result = profile.resolve(strix_halo(gpus=gpus), SHIPPED, {"inference_server_model": model})
        assert result["budget"]["arguments"] == [] and result["budget"]["note"]
        assert result["engine"]["definition"]["arguments"] == plain


def test_a_gpu_without_a_known_size_gets_no_arguments_and_a_note() -> None:
    result = profile.resolve(strix_halo(gpus=[{"gfx": "gfx1201", "pci_id": "ffff"}]), SHIPPED, {})
    assert "not known" in result["budget"]["note"]
    assert "--max-model-len" not in result["engine"]["definition"]["arguments"]


@pytest.mark.parametrize("told", [34208743424, 34359738368, 0])
def test_the_driver_changes_nothing_about_a_board_of_a_known_size(told: int) -> None:
    """Before the reboot nobody reads the memory; afterwards it is a little less than on the box."""
    gpus = [{"gfx": "gfx1201", "pci_id": "7551", "revision": "c0", "vram_bytes": told}]
    result = profile.resolve(strix_halo(gpus=gpus), SHIPPED, {})
    assert result["budget"]["context"] == 40960
    assert result["budget"]["sequences"] == 38


def test_the_gpus_of_a_service_are_those_that_it_may_use() -> None:
    gpus = [
        {"gfx": "gfx1201", "pci_id": "7551", "revision": "c0", "slot": f"0000:0{n}:00.0"}
        for n in range(4)
    ]
    chosen: Json = {"inference_server_model": "Qwen/Qwen3-32B"}
    assert not profile.resolve(strix_halo(gpus=gpus), SHIPPED, chosen)["refusals"]
    chosen["inference_server_gpus"] = ["0000:00:00.0", "0000:01:00.0"]
    result = profile.resolve(strix_halo(gpus=gpus), SHIPPED, chosen)
    assert [refusal["code"] for refusal in result["refusals"]] == ["STK-435"]
    assert result["pool"]["gpus"] == 2


def test_more_gpus_than_there_are_is_a_refusal() -> None:
    chosen = {"inference_server_extra_args": ["-tp", "2"]}
    result = profile.resolve(strix_halo(), SHIPPED, chosen)
    assert "spread over 2 GPUs of 1" in result["refusals"][0]["what"]


def test_alternatives_really_fit_and_the_same_model_comes_first() -> None:
    place = shared(int(31.1 * GIB))
    found = plan.alternatives(
        SHIPPED, place, MODELS["Qwen/Qwen2.5-14B-Instruct"], "vllm", "gfx1151"
    )
    assert found[0]["recipe"] == "Qwen/Qwen2.5-14B-Instruct-AWQ"
    for one in found:
        assert of(one["recipe"], place)["fits"]
        assert not recipes.drawbacks(MODELS[one["recipe"]], "gfx1151")
