"""What is different between two runs, with the interval that tells a difference from noise."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bench_figures import answered, first_token, median, output_rate, per_tokens, rule
from .errors import StrokeError

Json = dict[str, Any]
Steps = Sequence[Mapping[str, Any]]
SCHEMA = "stroke/bench-comparison/1"
RESAMPLES = 1000
ENOUGH = 3  # repetitions
SAME = ("model", "prompt_length", "output_length")


def _output(steps: Steps) -> float | None:
    return median(output_rate(step) for step in steps if answered(step))


def _ttft(steps: Steps) -> float | None:
    return median(first_token(request) for step in steps for request in answered(step))


def _tpot(steps: Steps) -> float | None:
    return median(value for step in steps for value in per_tokens(answered(step)))


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure that is compared; `of_requests`: a median of requests, not of repetitions."""

    key: str
    name: str
    of: Callable[[Steps], float | None]
    more_is_better: bool
    of_requests: bool


METRICS = (
    Metric("output_per_s", "output tok/s", _output, more_is_better=True, of_requests=False),
    Metric("ttft_s", "TTFT p50", _ttft, more_is_better=False, of_requests=True),
    Metric("tpot_s", "TPOT p50", _tpot, more_is_better=False, of_requests=True),
)


def comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Why two runs cannot be compared; empty when they can."""
    for key in SAME:
        old, new = (
            {"model": run["service"]["model"], **run["load"]}[key] for run in (before, after)
        )
        if old != new:
            return f"{key.replace('_', ' ')} is {old} in {before['id']} and {new} in {after['id']}"
    if not _levels(before) & _levels(after):
        return f"{before['id']} and {after['id']} have no level of concurrency in common"
    return ""


def _levels(run: Mapping[str, Any]) -> set[int]:
    return {int(step["concurrency"]) for step in run["steps"] if answered(step)}


def compare(before: Mapping[str, Any], after: Mapping[str, Any], known: Mapping[str, Any]) -> Json:
    """Every metric at every common level: both values, the change and its interval."""
    if reason := comparable(before, after):
        raise StrokeError(
            f"these runs cannot be compared: {reason}",
            code="STK-624",
            hint="measure both with one model, one --prompt-tokens and one --output-tokens",
        )
    rows = []
    for level in sorted(_levels(before) & _levels(after)):
        old, new = (
            [step for step in run["steps"] if step["concurrency"] == level]
            for run in (before, after)
        )
        rows += [_row(level, old, new, metric, known) for metric in METRICS]
    return {
        "schema": SCHEMA,
        "before": _identity(before),
        "after": _identity(after),
        "differs": differences(before, after),
        "rows": [row for row in rows if row],
    }


def _identity(run: Mapping[str, Any]) -> Json:
    return {key: run[key] for key in ("id", "host", "label", "started")}


def _row(level: int, old: Steps, new: Steps, metric: Metric, known: Mapping[str, Any]) -> Json:
    before, after = metric.of(old), metric.of(new)
    if not before or not after:
        return {}
    low, high = interval(old, new, metric, rule(known, "interval"))
    change = after / before - 1
    margin = rule(known, "regression")
    word = "not known"  # too few repetitions to tell a difference from noise
    if low is not None and high is not None:
        word = "same" if max(abs(low), abs(high)) <= margin else "unclear"
        if (low > 0 or high < 0) and abs(change) > margin and _apart(old, new, metric):
            word = "better" if (change > 0) == metric.more_is_better else "worse"
    return {
        "concurrency": level,
        "metric": metric.key,
        "name": metric.name,
        "before": before,
        "after": after,
        "change": change,
        "low": low,
        "high": high,
        "verdict": word,
    }


def _apart(old: Steps, new: Steps, metric: Metric) -> bool:
    """Whether every repetition of one side is above all of the other.

    An interval from three repetitions is narrower than the truth: this keeps it from crying wolf.
    """
    before, after = (
        [value for step in side if (value := metric.of([step])) is not None] for side in (old, new)
    )
    return min(before) > max(after) or min(after) > max(before)


def interval(
    old: Steps, new: Steps, metric: Metric, share: float
) -> tuple[float | None, float | None]:
    """Bootstrap interval of the relative change; repetitions are drawn first, then requests.

    Requests of one repetition have the same minute in common, so drawing only requests would make
    the interval too narrow. Fewer than three repetitions on either side: no interval.
    """
    if len(old) < ENOUGH or len(new) < ENOUGH:
        return None, None
    chance = random.Random(len(old) * 1000 + len(new))  # noqa: S311  # the same answer every time
    changes = []
    for _ in range(RESAMPLES):
        before, after = (
            metric.of(_drawn(old, metric, chance)),
            metric.of(_drawn(new, metric, chance)),
        )
        if before and after:
            changes.append(after / before - 1)
    changes.sort()
    if not changes:
        return None, None
    cut = round((1 - share) / 2 * (len(changes) - 1))
    return changes[cut], changes[-1 - cut]


def _drawn(steps: Steps, metric: Metric, chance: random.Random) -> list[Mapping[str, Any]]:
    drawn = chance.choices(steps, k=len(steps))
    if not metric.of_requests:
        return drawn
    return [
        {**step, "requests": chance.choices(done, k=len(done))}
        for step in drawn
        if (done := answered(step))
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """What is not the same about the two hosts and services: the likely causes."""
    found = []
    for part in ("machine", "service"):
        for key in sorted({*before[part], *after[part]}):
            old, new = before[part].get(key), after[part].get(key)
            if old != new:
                found.append({"what": key, "before": old, "after": new})
    return found


def findings(comparison: Mapping[str, Any]) -> list[Json]:
    """The rows that are worse than the baseline."""
    return [row for row in comparison["rows"] if row["verdict"] == "worse"]
