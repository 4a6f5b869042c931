"""From the memory of a host to the engine's arguments: one table, each step with its reason."""

from __future__ import annotations

import math
from typing import Any

from . import recipes
from .findings import gib
from .pool import GIB, Pool

Json = dict[str, Any]


def rule_of(catalog: Json, engine: str, pool: Pool) -> Json | None:
    """The catalogue's rule for an engine on this kind of memory; None: it has none."""
    for rule in catalog["serving_budgets"]:
        if (rule["engine"], rule["pool"]) == (engine, pool.kind):
            return dict(rule)
    return None


def _number(given: Json, rule: Json, key: str) -> float | None:
    """What the user, or the engine's variant, says for one of the rule's flags."""
    text = given.get(rule["flags"].get(key, ""))
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) and value > 0 else None


def utilisation(pool: Pool, rule: Json, share: float = 1.0) -> float:
    """The part of what the engine sees that it may take, so that it is never too much.

    Where the driver may count more than there is to take, the part is of the larger sum.
    """
    safe = pool.least / pool.most if pool.most else 0.0
    part = min(float(rule["utilisation"]), safe) * share
    return math.floor(part * 100 + 1e-9) / 100


def _spread(rule: Json, recipe: Json, pool: Pool, asked: float | None) -> list[int]:
    """Numbers of GPUs that the model can be spread over, few before many."""
    if asked:
        return [int(asked)]
    if not rule["tensor_parallel"]:
        return [pool.gpus]
    heads = recipe["attention"]["heads"]
    return [n for n in rule["tensor_parallel"] if n <= pool.gpus and heads % n == 0] or [1]


def _on(gpus: int, part: float, pool: Pool, recipe: Json, rule: Json, given: Json) -> Json:
    """Bytes on each of so many GPUs, and how many tokens the KV cache has room for."""
    seen = pool.least * rule["visible"]
    weights = recipe["weight_bytes"] / gpus
    overhead = rule["overhead_gib"] * GIB + rule["overhead_fraction"] * weights
    overhead += rule["parallel_gib"] * GIB if gpus > 1 else 0
    cache = max(0.0, part * seen - weights - overhead)
    width = 1 if str(given.get(rule["flags"].get("cache_type", ""))).startswith("fp8") else 2
    token = recipes.token_bytes(recipe, gpus=gpus, width=width)
    window = recipes.window_bytes(recipe, gpus=gpus, width=width)
    return {
        "gpus": gpus, "seen": int(seen), "usable": int(part * seen), "weights": math.ceil(weights),
        "overhead": math.ceil(overhead), "cache": int(cache), "token": token, "window": window,
        "tokens": max(0, int((cache - window) / token)),
    }  # fmt: skip


def _limits(split: Json, recipe: Json, rule: Json, given: Json) -> tuple[int, int]:
    """Longest context of a request, and how many requests at once: what the cache has room for."""
    native, step = recipe["context"], rule["context_step"]
    room = int(split["tokens"] * rule["context_share"])
    most = int(_number(given, rule, "sequences") or 0)
    if "context_total" in rule["flags"]:
        sequences = most or max(1, min(rule["sequences_most"], room // rule["sequence_tokens"]))
        asked = _number(given, rule, "context_total")
        context = int(asked) if asked else max(rule["context_minimum"], room)
        return min(native, context // sequences // step * step or context // sequences), sequences
    asked = _number(given, rule, "context")
    context = int(asked) if asked else native if room >= native else room // step * step
    usual = split["window"] + split["token"] * min(rule["sequence_tokens"], max(1, context))
    return context, most or max(1, min(rule["sequences_most"], int(split["cache"] // usual)))


def budget(
    catalog: Json,
    pool: Pool,
    recipe: Json,
    engine: str,
    *,
    share: float = 1.0,
    given: Json | None = None,
    ceiling: Json | None = None,
) -> Json:
    """The budget of a model on a pool of memory, with the engine's arguments.

    `share` of the memory (0 to 1) is for this service. `given`: arguments that the user has set, by
    name; they are taken as they are and not rendered. `ceiling`: arguments that the engine has for
    this GPU, which limit what is worked out here.
    """
    rule, given = rule_of(catalog, engine, pool), given or {}
    if rule is None or not pool.least:
        return nothing(
            f"no budget: the catalogue has no rule for {engine}"
            if rule is None
            else "no budget: how much memory the GPU has is not known before its driver is loaded"
        )
    capped = _number(ceiling or {}, rule, "sequences")
    rule |= {"sequences_most": int(capped)} if capped else {}
    part = _number(given, rule, "utilisation") or utilisation(pool, rule, share)
    part = min(part, 1.0)
    asked = _number(given, rule, "tensor_parallel")
    splits = [
        _on(gpus, part, pool, recipe, rule, given) for gpus in _spread(rule, recipe, pool, asked)
    ]
    wanted = min(recipe["context"], rule["context_wanted"])
    enough = [split for split in splits if split["tokens"] * rule["context_share"] >= wanted]
    split = enough[0] if enough else max(splits, key=lambda one: int(one["tokens"]))
    context, sequences = _limits(split, recipe, rule, given)
    result = {
        "recipe": recipe["id"],
        "note": "",
        "fits": split["tokens"] * rule["context_share"] >= rule["context_minimum"]
        and split["gpus"] <= pool.gpus,
        "utilisation": part,
        "tensor_parallel": split["gpus"] if rule["tensor_parallel"] else 1,
        "gpus": split["gpus"],
        "weight_bytes": recipe["weight_bytes"],
        "overhead_bytes": split["overhead"] * split["gpus"],
        "kv_bytes": split["cache"] * split["gpus"],
        "kv_token_bytes": int(split["token"]),
        "kv_tokens": split["tokens"],
        "context": context,
        "sequences": sequences,
        "missing_bytes": max(0, split["weights"] + split["overhead"] - split["usable"])
        * split["gpus"],
        "given": sorted(set(given) & set(rule["flags"].values())),
    }
    if result["fits"]:
        result["arguments"] = _arguments(result, rule, given)
    else:
        result |= {"arguments": [], "context": 0, "sequences": 0}
    result["table"] = _table(result, split, pool, rule, recipe, share)
    return result


def nothing(note: str) -> Json:
    """A budget of nothing: no arguments, and why."""
    return {"recipe": None, "note": note, "fits": True, "table": [], "arguments": []}


def without_recipe(
    catalog: Json, pool: Pool, model: str, engine: str, given: Json, share: float = 1.0
) -> Json:
    """A model that the catalogue does not know: only the part of the memory is set."""
    result = nothing(
        f"the catalogue has no recipe for {model}: context and requests in flight are left to "
        f"{engine}; models.yml in host_profile_catalog_dir can describe it"
    )
    rule = rule_of(catalog, engine, pool)
    flag = rule["flags"].get("utilisation") if rule else None
    if rule and flag and flag not in given and pool.least:
        result["arguments"] = [flag, f"{utilisation(pool, rule, share):.2f}"]
    return result


def _arguments(result: Json, rule: Json, given: Json) -> list[str]:
    """The engine's arguments, without those that the user has set."""
    values = {
        "utilisation": f"{result['utilisation']:.2f}",
        "tensor_parallel": str(result["tensor_parallel"]) if result["tensor_parallel"] > 1 else "",
        "context": str(result["context"]),
        "context_total": str(result["context"] * result["sequences"]),
        "sequences": str(result["sequences"]),
    }
    named = [(rule["flags"].get(key), value) for key, value in values.items()]
    return [word for flag, value in named if flag and value and flag not in given
            for word in (flag, value)]  # fmt: skip


def _table(
    result: Json, split: Json, pool: Pool, rule: Json, recipe: Json, share: float
) -> list[Json]:
    """Each step from the memory to the arguments: what, bytes or words, and why."""
    rows: list[Json] = []

    def row(step: str, amount: float | None, why: str, text: str = "") -> None:
        size = None if amount is None else int(amount)
        rows.append({"step": step, "bytes": size, "text": text, "reason": why})

    flags, gpus = rule["flags"], split["gpus"]
    each = " on each GPU" if gpus > 1 else ""
    if pool.kind == "ram":
        row("RAM", pool.ram, "what the system sees; the GPU shares it")
        row("- system", pool.reserve, "kept free, so that the host stays alive")
        row("- service", pool.service, "containers, page cache, the server's own process")
        row("GTT limit", pool.limit, "ttm.pages_limit: the most that the GPU may use of the RAM")
        if pool.carveout > pool.limit:
            row("carve-out", pool.carveout, "fixed by the BIOS, and more than the GTT limit")
    else:
        count = f", one of {pool.gpus}" if pool.gpus > 1 else ""
        row("GPU memory", pool.least, f"the GPU's own{count}")
    row("engine sees", split["seen"], _seen(pool, rule))
    name = flags.get("utilisation", "part of it")
    why = "as asked for" if name in result["given"] else _why_part(pool, rule, share)
    row(f"x {name}", None, why, f"{result['utilisation']:.2f}")
    row("engine takes", split["usable"], f"of {gib(split['seen'])}{each}")
    row("- weights", split["weights"], f"{gib(recipe['weight_bytes'])} of {recipe['quantisation']}"
        + (f", spread over {gpus} GPUs" if gpus > 1 else ""))  # fmt: skip
    row("- overhead", split["overhead"], "runtime, graphs and activations")
    if not result["fits"]:
        row("missing", result["missing_bytes"] / gpus, f"for the weights, before any context{each}")
        return rows
    row("KV cache", split["cache"], f"{split['tokens']} tokens of "
        f"{recipes.token_bytes(recipe, gpus=gpus) / 1024:.0f} KiB{each}")  # fmt: skip
    if gpus > 1 and "tensor_parallel" in flags:
        why = "as few GPUs as hold the weights and a long context"
        row(flags["tensor_parallel"], None, _why(result, flags["tensor_parallel"], why), str(gpus))
    _rows_of_limits(row, result, rule, recipe)
    return rows


def _rows_of_limits(row: Any, result: Json, rule: Json, recipe: Json) -> None:
    flags, context, sequences = rule["flags"], result["context"], result["sequences"]
    room = "the longest that the KV cache has room for"
    longest = f"all that {recipe['id']} was made for"
    why = longest if context == recipe["context"] else room
    if "context_total" in flags:
        total = context * sequences
        why = f"{sequences} requests of {context} tokens" if sequences > 1 else why
        row(flags["context_total"], None, _why(result, flags["context_total"], why), str(total))
        why = f"each may be {rule['sequence_tokens']} tokens long or longer"
    else:
        row(flags["context"], None, _why(result, flags["context"], why), str(context))
        why = (
            "no more for this GPU"
            if sequences == rule["sequences_most"]
            else f"so many of {rule['sequence_tokens']} tokens fit in the KV cache"
        )
    row(flags["sequences"], None, _why(result, flags["sequences"], why), str(sequences))


def _why(result: Json, flag: str, reason: str) -> str:
    return "as asked for" if flag in result["given"] else reason


def _seen(pool: Pool, rule: Json) -> str:
    if pool.kind == "vram":
        return "the driver keeps the rest" if rule["visible"] < 1 else "all of it"
    if pool.most > pool.least:
        return f"the larger of limit and carve-out; or both, {gib(pool.most)}, by its driver"
    return "the GTT limit"


def _why_part(pool: Pool, rule: Json, share: float) -> str:
    if share < 1:
        return f"{share:.0%} of the memory is for this service"
    if pool.most and pool.least / pool.most < rule["utilisation"]:
        return f"not more than {gib(pool.least)}, also where the engine sees {gib(pool.most)}"
    return "the engine takes a part of all that it sees, not of what is free"
