"""The expected speed against everything that was published: inside the band, and as fitted."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from hostprofile import estimate
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts import strix_halo
from tests.unit.playing import ROOT
from tests.unit.plugins import plugin
from tests.unit.test_catalog import SHIPPED

Json = dict[str, Any]
profile = plugin("host_profile", "host_profile")
CASES = {case["id"]: case for case in SHIPPED["roofline_cases"]}
MEASURED = {row["id"]: row for row in SHIPPED["roofline_measurements"]}
# What the fit says of a measurement, in tok/s, as it was published with the fit.
FITTED = {
    "halo-llama2-7b-q4": (51.3, 51.3),
    "halo-gemma4-31b-q4": (11.5, 11.5),
    "halo-ministral-14b-bf16": (8.0, 8.0),
    "halo-gpt-oss-120b": (44, 54),
    "halo-qwen36-35b-a3b-q8": (40, 48),
    "halo-qwen36-35b-a3b-q4": (53, 67),
    "halo-qwen36-35b-a3b-bf16": (27, 30),
    "halo-vllm-qwen3-32b": (3.4, 3.4),
    "halo-vllm-qwen25-14b-eager": (6.5, 6.5),
    "halo-vllm-qwen3-30b-a3b": (14.3, 14.3),
    "rx-9070-xt-llama-8b-fp8": (43, 43),
    "mi325x-122b-a10b-aiter": (99, 99),
    "mi325x-122b-a10b": (58, 58),
    "mi300x-8-llama-405b": (36, 36),
}


def predicted(row: Json) -> Json:
    found: Json = estimate.speed(
        CASES[row["case"]],
        row["bandwidth_gbs"],
        row["active_bytes"],
        weights=row.get("weight_bytes", 0),
        gpus=row.get("gpus", 1),
        streams=row.get("streams", 1),
    )
    return found


@pytest.mark.parametrize("name", MEASURED)
def test_a_measurement_is_inside_the_band(name: str) -> None:
    row = MEASURED[name]
    band = predicted(row)
    inside = [band["low"] <= figure <= band["high"] for figure in row["tokens_per_s"]]
    assert all(inside) == row.get("inside", True), (band, row["tokens_per_s"])
    if not row.get("inside", True):
        assert row["note"]


@pytest.mark.parametrize("name", FITTED)
def test_the_fit_is_what_was_published(name: str) -> None:
    low, high = FITTED[name]
    assert low * 0.96 <= predicted(MEASURED[name])["expected"] <= high * 1.04


def test_most_measurements_are_near_what_is_expected() -> None:
    near = 0
    for row in MEASURED.values():
        expected = predicted(row)["expected"]
        near += any(abs(figure / expected - 1) <= 0.2 for figure in row["tokens_per_s"])
    assert near / len(MEASURED) >= 0.85


def test_the_page_has_the_table_that_its_command_prints() -> None:
    """Mend with: .venv/bin/python docs/estimate.py"""
    docs = ROOT / "docs"
    page = (docs / "estimate.md").read_text(encoding="utf-8")
    rows = runpy.run_path(str(docs / "estimate.py"))["rows"]()
    assert len(rows) == len(MEASURED)
    assert "\n".join(rows) in page


def test_14b_in_16_bits_on_strix_halo_is_told_six_to_nine_and_not_twenty() -> None:
    chosen = {"inference_server_model": "Qwen/Qwen2.5-14B-Instruct"}
    gpus = [{"gfx": "gfx1151", "pci_id": "1586", "revision": "c1", "slot": "0000:c1:00.0"}]
    told = profile.resolve(strix_halo(gpus=gpus), SHIPPED, chosen)["estimate"]
    assert round(told["single"]["low"], 1) == 6.0
    assert round(told["single"]["high"], 1) == 8.7
    assert told["single"]["low"] <= 6.4 <= told["single"]["high"]
    assert any("6.4 tok/s" in line for line in told["measurements"])
    assert told["source"] and told["confidence"] == "derived"


def test_an_eager_engine_is_told_less() -> None:
    gpus = [{"gfx": "gfx1151", "pci_id": "1586", "revision": "c1"}]
    chosen: Json = {"inference_server_model": "Qwen/Qwen2.5-14B-Instruct"}
    graphs = profile.resolve(strix_halo(gpus=gpus), SHIPPED, chosen)["estimate"]
    chosen["inference_server_extra_args"] = ["--enforce-eager"]
    eager = profile.resolve(strix_halo(gpus=gpus), SHIPPED, chosen)["estimate"]
    assert eager["case"] == "vllm-apu-eager"
    assert eager["single"]["expected"] == pytest.approx(6.49, abs=0.02)
    assert eager["single"]["expected"] < graphs["single"]["expected"]


def test_aiter_has_a_case_of_its_own() -> None:
    gfx = {"name": "gfx942", "kind": "instinct"}
    recipe = next(m for m in SHIPPED["models"] if m["id"] == "Qwen/Qwen3-32B")
    with_it = estimate.case_of(SHIPPED, "vllm", gfx, recipe, aiter=True)
    without = estimate.case_of(SHIPPED, "vllm", gfx, recipe)
    assert with_it and without
    assert (with_it["id"], without["id"]) == ("vllm-instinct-aiter", "vllm-instinct")


def test_every_gpu_that_serves_has_a_case_for_every_model() -> None:
    for gfx in SHIPPED["gfx"]:
        for recipe in SHIPPED["models"]:
            for engine in recipe["engines"]:
                assert estimate.case_of(SHIPPED, engine, gfx, recipe), (gfx["name"], recipe["id"])


BYTES = st.integers(10**9, 5 * 10**11)


@settings(deadline=None)
@given(st.sampled_from(sorted(CASES)), st.floats(50, 8000), BYTES, BYTES, st.integers(1, 256),
       st.integers(1, 8), st.integers(0, 10**10))  # fmt: skip
def test_bands_are_bands(
    case: str, bandwidth: float, one: int, other: int, streams: int, gpus: int, cache: int
) -> None:
    active, weights = sorted((one, other))
    options: Json = {"weights": weights, "streams": streams, "gpus": gpus}
    band = estimate.speed(CASES[case], bandwidth, active, **options)
    assert 0 <= band["low"] <= band["expected"] <= band["high"]
    longer = estimate.speed(CASES[case], bandwidth, active, cache=cache, **options)
    assert longer["expected"] <= band["expected"]
    faster = estimate.speed(CASES[case], bandwidth * 2, active, **options)
    assert faster["expected"] >= band["expected"]


def test_a_step_with_many_requests_reads_all_experts_once() -> None:
    assert estimate.touched(5, 60, 1) == pytest.approx(5)
    assert estimate.touched(5, 60, 1000) == pytest.approx(60)
    assert estimate.touched(60, 60, 8) == 60
