"""How fast a model is going to generate: the roofline of the memory, with what it was fitted to."""

from __future__ import annotations

from typing import Any

from . import recipes

Json = dict[str, Any]
GB = 1e9
# A single stream that is slower than this part of what is typical has something wrong with it.
SUSPICIOUS = 0.5


def case_of(
    catalog: Json, engine: str, gfx: Json, recipe: Json, *, eager: bool = False, aiter: bool = False
) -> Json | None:
    """The first of the catalogue's cases that fits; None: the engine has none."""
    for case in catalog["roofline_cases"]:
        match = case["match"]
        if (
            match["engine"] == engine
            and gfx["kind"] in match.get("kind", [gfx["kind"]])
            and gfx["name"] in match.get("gfx", [gfx["name"]])
            and recipe["quantisation"] in match.get("quantisation", [recipe["quantisation"]])
            and match.get("moe", recipes.is_moe(recipe)) == recipes.is_moe(recipe)
            and match.get("eager", eager) == eager
            and match.get("aiter", aiter) == aiter
        ):
            return dict(case)
    return None


def touched(active: float, weights: float, streams: int) -> float:
    """Bytes of weights that a step with so many requests reads: each takes other experts."""
    part = min(1.0, active / weights) if weights else 1.0
    return float(weights * (1 - (1 - part) ** streams))


def speed(
    case: Json,
    bandwidth_gbs: float,
    active: float,
    *,
    weights: float = 0.0,
    gpus: int = 1,
    streams: int = 1,
    cache: float = 0.0,
) -> Json:
    """low, expected and high tokens per second, all requests together.

    `active` and `weights` are bytes of the whole model, `cache` bytes of KV cache that one request
    reads for a token.
    """
    read = touched(active, weights or active, streams) + streams * cache
    ideal = read / (bandwidth_gbs * GB * gpus)

    def total(efficiency: str, overhead: str | None) -> float:
        seconds = ideal / case["efficiency"][efficiency]
        if overhead:
            seconds += case["overhead_ms"][overhead] / 1000
            seconds += case["parallel_ms"] / 1000 if gpus > 1 else 0
            seconds += (streams - 1) * (case["sequence_ms"] or 0) / 1000
        return float(streams / seconds)

    return {
        "low": round(total("least", "most"), 2),
        "expected": round(total("typical", "typical"), 2),
        "high": round(total("most", None), 2),
    }


def estimate(
    catalog: Json,
    recipe: Json,
    engine: str,
    gfx: Json,
    bandwidth_gbs: float,
    budget: Json,
    *,
    eager: bool = False,
    aiter: bool = False,
    context: int = 0,
    streams: int = 1,
) -> Json | None:
    """Tokens per second of a model that fits; None where the bandwidth or the case is not known.

    `context`: tokens that a request has behind it, whose cache is read for the next one.
    """
    case = case_of(catalog, engine, gfx, recipe, eager=eager, aiter=aiter)
    if case is None or not bandwidth_gbs or not budget["fits"]:
        return None
    gpus = budget["tensor_parallel"]
    known: Json = {
        "active": recipe["active_bytes"], "weights": recipe["weight_bytes"], "gpus": gpus,
    }  # fmt: skip
    token, window = recipes.token_bytes(recipe), recipes.window_bytes(recipe)
    single = speed(case, bandwidth_gbs, **known)
    full = budget["context"]
    reads = sum(min(1, context) * part for part in (token * context, window))
    result = {
        "recipe": recipe["id"],
        "case": case["id"],
        "bandwidth_gbs": bandwidth_gbs,
        "gpus": gpus,
        "active_bytes": recipe["active_bytes"],
        "single": single,
        "suspicious_below": round(single["expected"] * SUSPICIOUS, 2),
        "full_context": {"tokens": full}
        | speed(case, bandwidth_gbs, **known, cache=token * full + window),
        "asked": {"context": context, "streams": streams}
        | speed(case, bandwidth_gbs, **known, streams=streams, cache=reads),
        "streams_calibrated": case["sequence_ms"] is not None,
        "efficiency": case["efficiency"],
        "overhead_ms": case["overhead_ms"],
        "measurements": [
            f"{m['gpu']}, {m['model']}: {' and '.join(f'{n:g}' for n in m['tokens_per_s'])} tok/s"
            for m in catalog["roofline_measurements"]
            if m["case"] == case["id"] and m.get("streams", 1) == 1 and m.get("inside", True)
        ],
        "source": case["source"],
        "confidence": case["confidence"],
    }
    return result
