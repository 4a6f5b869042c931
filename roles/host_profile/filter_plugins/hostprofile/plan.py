"""Which model a host serves, with what memory, and how fast: recipe, budget and roofline together.

What does not fit is refused before anything is changed, with models of the catalogue that would.
"""

from __future__ import annotations

from typing import Any

from . import estimate as roofline
from . import pool as memory_pool
from . import recipes, words
from .budget import budget, nothing, rule_of, without_recipe
from .findings import Findings, by_id, gib
from .pool import Pool
from .serving import choose_model

Json = dict[str, Any]
ALTERNATIVES = 4


def variant(definition: Json, gfx: str, simulated: bool) -> Json:
    """What an engine has for a GPU besides its definition: the same choice as the role makes."""
    known = definition.get("variants", {})
    found = known.get("simulated", {}) if simulated else known.get(gfx, known.get("gpu", {}))
    return dict(found or {})


def alternatives(
    catalog: Json, pool: Pool, recipe: Json, engine: str, gfx: str, share: float = 1.0
) -> list[Json]:
    """Budgets of other models that fit, the nearest first."""
    budgets = (
        budget(catalog, pool, other, engine, share=share)
        for other in recipes.others(catalog, recipe, engine, gfx)
    )
    return [found for found in budgets if found["fits"] and found["recipe"]]


def told(found: list[Json]) -> str:
    """Alternatives in words."""
    return ", ".join(f"{one['recipe']} (context {one['context']})" for one in found[:ALTERNATIVES])


def consider(
    catalog: Json,
    pool: Pool,
    recipe: Json,
    engine: Json,
    gfx: Json,
    bandwidth_gbs: float,
    *,
    simulated: bool = False,
    extra: list[str] | None = None,
    share: float = 1.0,
    context: int = 0,
    streams: int = 1,
) -> Json:
    """`budget`, `estimate` and `alternatives` (where it does not fit) of one model.

    `engine` is the engine part of a profile; `extra` are the user's own arguments; `share` is the
    part of the memory (0 to 1) that this service has, where several share it.
    """
    name, definition = engine["name"], engine["definition"]
    rule = rule_of(catalog, name, pool)
    aliases = rule["aliases"] if rule else {}
    given = words.given(extra or [], aliases)
    special = variant(definition, gfx["name"], False)
    ceiling = words.given(special.get("arguments", []), aliases)
    found = budget(catalog, pool, recipe, name, share=share, given=given, ceiling=ceiling)
    flags = rule["flags"] if rule else {}
    speed = None
    if found["recipe"]:
        speed = roofline.estimate(
            catalog, recipe, name, gfx, bandwidth_gbs, found,
            eager=flags.get("eager") in given,
            aiter=special.get("environment", {}).get("VLLM_ROCM_USE_AITER") == "1",
            context=context, streams=streams,
        )  # fmt: skip
    others = [] if found["fits"] else alternatives(catalog, pool, recipe, name, gfx["name"], share)
    if found["recipe"] and found["fits"]:
        found["arguments"] = [
            *found["arguments"],
            *words.without(recipe.get("arguments", {}).get(name, []), set(given), aliases),
        ]
    if simulated and found["arguments"]:
        found["note"] = "the GPU is simulated: the engine runs on the CPU, without these arguments"
        found["arguments"] = []
    return {"budget": found, "estimate": speed, "alternatives": others}


def _take(definition: Json, arguments: list[str], drops: set[str], aliases: Json) -> Json:
    """A definition with more arguments; what its variants say of the same ones is left out."""
    names = {name for name, _ in words.pairs(arguments, aliases)} | drops
    changed = {
        key: entry | {"arguments": words.without(entry["arguments"], names, aliases)}
        for key, entry in definition.get("variants", {}).items()
    }
    return definition | {
        "arguments": [*definition["arguments"], *arguments],
        "variants": changed,
    }


def serve(
    catalog: Json,
    gfx: Json,
    memory: Json,
    serving: list[Json],
    engine: Json,
    found: Findings,
    share: float = 1.0,
) -> None:
    """Put model, budget and estimate into the profile, and the arguments into the engine.

    `share` is the part of the memory (0 to 1) that this service has.
    """
    values, settings = found.values, found.settings
    rule = by_id(catalog["memory_rules"], gfx["memory_rule"])
    slots = settings.get("inference_server_gpus") or []
    used = [gpu for gpu in serving if not slots or gpu["slot"] in slots] or serving
    pool = memory_pool.of_host(memory, rule, used, catalog)
    speed = memory_pool.bandwidth(used, catalog)
    values["pool"] = pool.told() | {"bandwidth_gbs": speed}
    model = choose_model(engine["definition"], found)
    sources = [entry["source"] for entry in model["store"] if entry.get("source")
               and entry["name"] in (model["name"], model["name"].replace("/", "--"))]  # fmt: skip
    recipe = recipes.find(catalog, model["name"], *map(str, sources))
    extra = [str(word) for word in settings.get("inference_server_extra_args") or []]
    simulated = bool(values.get("simulated"))
    values["model"], values["estimate"] = model, None
    if recipe is None:
        given = words.given(extra, {})
        values["budget"] = without_recipe(
            catalog, pool, model["name"], engine["name"], given, share
        )
        if simulated or not model["name"]:
            values["budget"] = nothing(values["budget"]["note"])
        _settle(engine, values["budget"], set(), {}, found)
        return
    options: Json = {"simulated": simulated, "extra": extra, "share": share}
    done = consider(catalog, pool, recipe, engine, gfx, speed, **options)
    if not done["budget"]["fits"] and not settings.get("inference_server_model"):
        smaller = recipes.find(catalog, *(one["recipe"] for one in done["alternatives"][:1]))
        if smaller:
            found.reasons["model"] = (
                f"{smaller['id']}: {recipe['id']}, which is served where nothing is asked for, "
                f"does not fit into the GPU's memory"
            )
            recipe = smaller
            values["model"] = choose_model(engine["definition"], found, smaller["id"])
            done = consider(catalog, pool, recipe, engine, gfx, speed, **options)
    _judge(done, pool, recipe, engine["name"], gfx, found, share)
    values["budget"], values["estimate"] = done["budget"], done["estimate"]
    rules = rule_of(catalog, engine["name"], pool)
    _settle(
        engine, done["budget"], set(recipe.get("drops", [])), rules["aliases"] if rules else {},
        found,
    )  # fmt: skip


def _settle(engine: Json, done: Json, drops: set[str], aliases: Json, found: Findings) -> None:
    if done["arguments"] or drops:
        engine["definition"] = _take(engine["definition"], done["arguments"], drops, aliases)
    for step in done["table"]:
        if step["text"] and done["arguments"]:
            found.reasons[f"engine.{step['step'].removeprefix('x ')}"] = (
                f"{step['text']}: {step['reason']}"
            )
    if done["note"]:
        found.reasons["budget"] = done["note"]


def _judge(
    done: Json, pool: Pool, recipe: Json, engine: str, gfx: Json, found: Findings, share: float
) -> None:
    result = done["budget"]
    for entry in recipes.drawbacks(recipe, gfx["name"]):
        found.warn(
            "STK-W08",
            f"{recipe['id']} on {gfx['name']}: the GPU {entry['what']}",
            f"other weights of {recipe['family']}: stroke catalog models ({entry['source']})",
        )
    if engine not in recipe["engines"]:
        found.refuse(
            "STK-437",
            f"{recipe['id']} is for {' and '.join(recipe['engines'])}, not for {engine}",
            f"inference_server_engine: {recipe['engines'][0]}, or other weights of "
            f"{recipe['family']}: stroke catalog models",
        )
        return
    small = any(refusal["code"] == "STK-412" for refusal in found.refusals)
    if not result["recipe"] or small:
        return
    if not result["fits"]:
        fits = told(done["alternatives"])
        found.refuse("STK-435", misfit(result, pool, recipe, share), (
            f"inference_server_model: one of {fits}" if fits
            else f"no model of the catalogue fits with {engine}; use a host with more memory"
        ))  # fmt: skip
        return
    if not fits_context(result):
        found.refuse(
            "STK-436",
            f"the arguments in inference_server_extra_args ask for a context of "
            f"{result['context']} tokens; the KV cache has room for {result['kv_tokens']}",
            "leave the argument out: stroke sets the longest context that fits; stroke estimate "
            f"{recipe['id']} shows the budget",
        )


def fits_context(result: Json) -> bool:
    """Whether a single request of the longest allowed length has room in the KV cache."""
    return bool(result["context"] <= result["kv_tokens"])


def room(result: Json, context: int) -> int:
    """Requests of so many tokens that the KV cache holds; no length given: as the engine is set."""
    if not result["recipe"] or not result["fits"]:
        return 0
    return int(result["kv_tokens"] // context) if context else int(result["sequences"])


def misfit(result: Json, pool: Pool, recipe: Json, share: float = 1.0) -> str:
    """Why a model does not fit, with what it needs and what there is."""
    boards = f"{pool.gpus} GPUs with {gib(pool.least)} each" if pool.gpus > 1 else gib(pool.least)
    boards = f"{share:.0%} of {boards}" if share < 1 else boards
    if result["gpus"] > pool.gpus:
        return f"{recipe['id']} is asked to be spread over {result['gpus']} GPUs of {pool.gpus}"
    spread = f", on {result['gpus']} GPUs" if result["gpus"] > 1 else ""
    lacking = result["missing_bytes"]
    return (
        f"{recipe['id']} does not fit into {boards}: {gib(recipe['weight_bytes'])} of weights and "
        f"{gib(result['overhead_bytes'])} of overhead{spread} "
        + (f"are {gib(lacking)} too much" if lacking else "leave no room for a context")
    )
