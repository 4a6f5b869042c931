"""What a model needs: its recipe in the catalogue, its KV cache, and where it does badly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

# Keys and values are kept, each in this many bytes unless the engine is told otherwise.
CACHE_BYTES = 2


def find(catalog: Json, *names: str) -> Json | None:
    """The recipe of a model by its id, an alias, or the place that it comes from (hf:org/model)."""
    wanted = {name.removeprefix("hf:").lower() for name in names if name}
    for recipe in catalog["models"]:
        if wanted & {name.lower() for name in (recipe["id"], *recipe.get("aliases", []))}:
            return dict(recipe)
    return None


def token_bytes(recipe: Json, *, gpus: int = 1, width: int = CACHE_BYTES) -> float:
    """KV cache on each GPU for one more token of a long context.

    Heads are spread over the GPUs until each has one; the latent of latent attention is not spread.
    """
    attention = recipe["attention"]
    if attention.get("latent_dim"):
        return float(attention["layers"] * attention["latent_dim"] * width)
    heads = max(1.0, attention["kv_heads"] / gpus)
    return float(2 * attention["layers"] * heads * attention["head_dim"] * width)


def window_bytes(recipe: Json, *, gpus: int = 1, width: int = CACHE_BYTES) -> float:
    """KV cache on each GPU that a request takes in layers with a sliding window, at the most."""
    attention = recipe["attention"]
    heads = max(1.0, attention["kv_heads"] / gpus)
    per_token = 2 * attention.get("sliding_layers", 0) * heads * attention["head_dim"] * width
    return float(per_token * attention.get("window", 0))


def is_moe(recipe: Json) -> bool:
    """Whether a token uses only some of the weights."""
    return bool(recipe["active_parameters"] < recipe["parameters"])


def drawbacks(recipe: Json, gfx: str) -> list[Json]:
    """Why these weights do badly on a GPU target; empty: nothing is known against it."""
    return [entry for entry in recipe.get("bad", []) if gfx in entry["gfx"]]


def others(catalog: Json, recipe: Json, engine: str, gfx: str) -> Iterable[Json]:
    """Recipes to take instead: the same family first, then large before small."""
    fit = [
        other
        for other in catalog["models"]
        if other["id"] != recipe["id"]
        and engine in other["engines"]
        and not other.get("gated")
        and not drawbacks(other, gfx)
    ]
    return sorted(
        fit,
        key=lambda o: (o["family"] != recipe["family"], -o["parameters"], -o["weight_bytes"]),
    )
