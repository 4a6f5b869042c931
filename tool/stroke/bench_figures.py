"""From the times of single requests to figures: rates, percentiles, spreads. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Json = dict[str, Any]
PERCENTILES = (50, 95, 99)
SHOWN_ERRORS = 3


def percentile(values: Iterable[float], percent: float) -> float | None:
    """A percentile, between the two nearest values where it falls between them; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    at = (len(ordered) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values: Iterable[float]) -> float | None:
    """The middle of the values."""
    return percentile(values, 50)


def spread(values: Sequence[float]) -> Json | None:
    """Median, quartiles and ends of what the repetitions found; None of nothing."""
    if not values:
        return None
    names = {"median": 50.0, "lower_quartile": 25.0, "upper_quartile": 75.0}
    found: Json = {name: _rounded(percentile(values, percent)) for name, percent in names.items()}
    return {
        **found,
        "least": _rounded(min(values)),
        "most": _rounded(max(values)),
        "values": [_rounded(value) for value in values],
    }


def answered(step: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The requests of a step that got a whole answer."""
    return [request for request in step["requests"] if "error" not in request]


def first_token(request: Mapping[str, Any]) -> float:
    """TTFT in seconds: from before the connection is made to the first piece of the answer."""
    return float(request["first"] - request["sent"])


def per_token(request: Mapping[str, Any]) -> float | None:
    """TPOT in seconds: time per token after the first; None of an answer with one token."""
    following = request["output"] - 1
    return float(request["last"] - request["first"]) / following if following > 0 else None


def whole(request: Mapping[str, Any]) -> float:
    """Time in seconds from sending a request to its last token."""
    return float(request["last"] - request["sent"])


def per_tokens(requests: Iterable[Mapping[str, Any]]) -> list[float]:
    """TPOT of every request that has one."""
    return [value for request in requests if (value := per_token(request)) is not None]


def output_rate(step: Mapping[str, Any]) -> float:
    """Tokens per second that all requests of a step got together."""
    return _rate(step, lambda request: float(request["output"]))


def total_rate(step: Mapping[str, Any]) -> float:
    """The same with the tokens of the prompts."""
    return _rate(step, lambda request: float(request["output"] + request["input"]))


def _rate(step: Mapping[str, Any], tokens: Callable[[Mapping[str, Any]], float]) -> float:
    done = answered(step)
    if not done:
        return 0.0
    seconds = max(request["last"] for request in done) - min(request["sent"] for request in done)
    return sum(map(tokens, done)) / seconds if seconds > 0 else 0.0


def levels(steps: Sequence[Mapping[str, Any]]) -> list[Json]:
    """What was measured, by the number of requests at the same time."""
    ordered = sorted(steps, key=lambda step: (step["concurrency"], step["repetition"]))
    return [
        _level(concurrency, list(group))
        for concurrency, group in groupby(ordered, key=lambda step: int(step["concurrency"]))
    ]


def _level(concurrency: int, steps: list[Mapping[str, Any]]) -> Json:
    done = [request for step in steps for request in answered(step)]
    errors = [r["error"] for step in steps for r in step["requests"] if "error" in r]
    gaps = [step["gaps"] for step in steps if step["gaps"].get("count")]
    return {
        "concurrency": concurrency,
        "requests": sum(len(step["requests"]) for step in steps),
        "errors": len(errors),
        "error_examples": list(dict.fromkeys(errors))[:SHOWN_ERRORS],
        "input_per_request": _rounded(median(float(request["input"]) for request in done)),
        "output_per_request": _rounded(median(float(request["output"]) for request in done)),
        "output_per_s": spread([output_rate(step) for step in steps if answered(step)]),
        "total_per_s": spread([total_rate(step) for step in steps if answered(step)]),
        "ttft_s": _timing([[first_token(r) for r in answered(step)] for step in steps]),
        "tpot_s": _timing([per_tokens(answered(step)) for step in steps]),
        "e2e_s": _timing([[whole(r) for r in answered(step)] for step in steps]),
        # The single gaps stay on the host: each percentile is the median over the repetitions.
        "itl_s": {f"p{p}": _rounded(median(gap[f"p{p}"] for gap in gaps)) for p in PERCENTILES}
        | {"max": _rounded(max((gap["max"] for gap in gaps), default=None))},
        "client_cpu": max((step["client_cpu"] for step in steps), default=0.0),
    }


def _timing(by_repetition: list[list[float]]) -> Json:
    """Percentiles over all requests, and how the medians of the repetitions spread."""
    everything = [value for values in by_repetition for value in values]
    found: Json = {f"p{p}": _rounded(percentile(everything, p)) for p in PERCENTILES}
    middles = [value for values in by_repetition if (value := median(values)) is not None]
    return {**found, "by_repetition": spread(middles)}


def _rounded(value: float | None) -> float | None:
    """Six significant places are more than any clock here has."""
    return None if value is None else float(f"{value:.6g}")


def verdict(
    found: Sequence[Mapping[str, Any]], estimate: Mapping[str, Any] | None, known: Mapping[str, Any]
) -> Json:
    """What the speed of a single stream is worth, by the catalogue's bands."""
    single = next((level for level in found if level["concurrency"] == 1), None)
    pace = single["tpot_s"]["p50"] if single else None
    result: Json = {
        "word": None, "measured_per_s": None, "expected_per_s": None, "roofline_per_s": None,
        "share_of_expected": None, "share_of_roofline": None,
    }  # fmt: skip
    if not pace:
        return {**result, "reason": "a single stream was not measured"}
    speed = 1 / pace
    result["measured_per_s"] = _rounded(speed)
    expected = (estimate or {}).get("single") or {}
    if not expected.get("expected") or not expected.get("high"):
        return {**result, "reason": "the host's profile has no estimate for this model"}
    share = speed / expected["expected"]
    result |= {
        "expected_per_s": expected["expected"],
        "roofline_per_s": expected["high"],
        "share_of_expected": _rounded(share),
        "share_of_roofline": _rounded(speed / expected["high"]),
    }
    if speed > expected["high"] * (1 + rule(known, "roofline_tolerance")):
        return {
            **result,
            "word": "above the roofline",
            "reason": "faster than the memory can deliver the weights: the model is smaller or "
            "more quantised than the profile says, or the engine decodes speculatively",
        }
    bands = known["benchmark_verdicts"]
    band = next((band for band in bands if share >= band["at_least"]), bands[-1])
    return {**result, "word": band["id"], "reason": band["meaning"]}


def rule(known: Mapping[str, Any], name: str) -> float:
    """One of the catalogue's benchmark_rules."""
    return float(next(r["value"] for r in known["benchmark_rules"] if r["id"] == name))
