"""Figures, verdicts and comparisons from requests whose times are known."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stroke import bench_compare, role_code
from stroke.bench import warnings
from stroke.bench_figures import levels, percentile
from stroke.errors import StrokeError

from tests.unit.bench_runs import ESTIMATE, run, step, steps

NUMBERS = st.lists(st.floats(0, 1e6), min_size=2, max_size=60)


@given(NUMBERS)
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    theirs = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 95, 99):
        assert percentile(values, percent) == pytest.approx(theirs[percent - 1])


def test_figures_of_one_level() -> None:
    (level,) = levels([step(4, 1, token=0.1, first=0.5)])
    assert level["ttft_s"]["p50"] == pytest.approx(0.5)
    assert level["tpot_s"]["p99"] == pytest.approx(0.1)
    assert level["e2e_s"]["p95"] == pytest.approx(1.5)
    assert level["output_per_s"]["median"] == pytest.approx(8 * 11 / 3.0, rel=1e-5)
    assert level["total_per_s"]["median"] == pytest.approx(8 * 31 / 3.0, rel=1e-5)
    assert (level["requests"], level["errors"]) == (8, 0)


def test_repetitions_keep_their_spread() -> None:
    level = levels(steps(0.1, 0.2, 0.3, concurrency=(1,)))[0]
    spread = level["tpot_s"]["by_repetition"]
    assert spread["values"] == pytest.approx([0.1, 0.2, 0.3])
    assert (spread["median"], spread["lower_quartile"]) == pytest.approx((0.2, 0.15))


def test_failed_requests_are_counted_and_not_timed() -> None:
    broken = step(4, 1)
    broken["requests"][0] = {"sent": 0.0, "error": "HTTP 503: busy"}
    (level,) = levels([broken])
    assert (level["errors"], level["requests"]) == (1, 8)
    assert level["output_per_s"]["median"] == pytest.approx(7 * 11 / 3.0, rel=1e-5)
    (said,) = warnings([level], role_code.catalog())
    assert "1 of 8" in said and "HTTP 503" in said


def test_a_busy_client_is_a_warning() -> None:
    found = levels([{**step(4, 1), "client_cpu": 0.9}])
    assert "90%" in warnings(found, role_code.catalog())[0]


@pytest.mark.parametrize(
    ("token", "word"),
    [(1 / 9, "excellent"), (1 / 8, "good"), (1 / 6, "acceptable"), (1 / 4, "poor"),
     (1 / 12.2, "excellent"), (1 / 13, "above the roofline")],
)  # fmt: skip
def test_verdict(token: float, word: str) -> None:
    found = run(steps(token), estimate=ESTIMATE)["verdict"]
    assert found["word"] == word
    assert found["measured_per_s"] == pytest.approx(1 / token, rel=1e-4)
    assert "speculative" in found["reason"] or word != "above the roofline"


def test_no_estimate_no_verdict() -> None:
    found = run(steps(0.1))["verdict"]
    assert found["word"] is None and "estimate" in found["reason"]
    assert run(steps(0.1, concurrency=(4,)), estimate=ESTIMATE)["verdict"]["word"] is None


def compared(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, str]:
    found = bench_compare.compare(run(before), run(after), role_code.catalog())
    return {row["metric"]: row["verdict"] for row in found["rows"] if row["concurrency"] == 1}


def test_the_same_is_the_same() -> None:
    same = steps(0.1, 0.101, 0.102)
    assert set(compared(same, same).values()) == {"same"}


def test_slower_is_worse_and_faster_is_better() -> None:
    fast, slow = steps(0.1, 0.101, 0.102), steps(0.12, 0.121, 0.122)
    assert compared(fast, slow)["tpot_s"] == "worse"
    assert compared(fast, slow)["output_per_s"] == "worse"
    assert compared(slow, fast)["tpot_s"] == "better"
    assert compared(slow, fast)["output_per_s"] == "better"


def test_noise_is_no_finding() -> None:
    noisy, other = steps(0.1, 0.2, 0.3), steps(0.15, 0.28, 0.33)
    assert compared(noisy, other)["tpot_s"] == "unclear"


def test_two_repetitions_say_nothing() -> None:
    assert set(compared(steps(0.1, 0.1), steps(0.3, 0.3)).values()) == {"not known"}


def test_other_loads_are_not_compared() -> None:
    before, after = run(steps(0.1)), run(steps(0.1), model="other")
    with pytest.raises(StrokeError) as refused:
        bench_compare.compare(before, after, role_code.catalog())
    assert refused.value.code == "STK-624" and "model is tiny" in refused.value.what


def test_what_differs_is_named() -> None:
    before, after = run(steps(0.1)), run(steps(0.1), unit="argv[]=podman run image --aiter ; ")
    after["machine"]["kernel"] = "7.3.1"
    found = {item["what"]: item["after"] for item in bench_compare.differences(before, after)}
    assert found == {"kernel": "7.3.1", "command": "podman run image --aiter"}
