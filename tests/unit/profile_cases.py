"""The golden cases of tests/cases/profile: hosts as data, and a profile told in short."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.unit.plugins import ROLES, plugin

CASES = Path(__file__).parents[1] / "cases" / "profile"
CATALOG = ROLES / "host_profile" / "files" / "catalog"
GIB = 1024**3
_profile = plugin("host_profile", "host_profile")
_SHIPPED = _profile.load_catalog(str(CATALOG))
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Json = dict[str, Any]


@functools.cache
def resolved(name: str) -> Json:
    """The profile of the case of that name; nobody may change it."""
    return profile_of(read(CASES / name / "facts.yml"))


def names() -> list[str]:
    return sorted(path.parent.name for path in CASES.glob("*/facts.yml"))


def read(path: Path) -> Json:
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  safe loaders
    return found or {}


def over(below: Any, above: Any) -> Any:
    """Tables are merged, everything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: over(below.get(key), value) for key, value in above.items()}
    return above


def profile_of(case: Json) -> Json:
    """The profile of a case: bases, then its own facts, its settings and its site's catalogue."""
    facts: Json = {}
    for base in case.get("base", []):
        facts = over(facts, read(CASES / "bases" / f"{base}.yml"))
    facts = over(facts, case.get("facts", {}))
    with tempfile.TemporaryDirectory() as directory:
        site = ""
        if "site" in case:
            site = directory
            text = yaml.safe_dump(case["site"])
            (Path(directory) / "site.yml").write_text(text, encoding="utf-8")
        catalog = _profile.load_catalog(str(CATALOG), site) if site else _SHIPPED
    result: Json = _profile.resolve(facts, catalog, case.get("settings", {}))
    return result


def brief(result: Json) -> Json:
    """A profile as a case's expected.yml has it: what people ask first."""
    told: Json = {"verdict": result["verdict"], "gpu": result["gpu_name"], "gfx": result["gfx"]}
    told["refusals"] = [refusal["code"] for refusal in result["refusals"]]
    told["warnings"] = [warning["code"] for warning in result["warnings"]]
    if len(result["serving_gpus"]) > 1:
        told["serving"] = len(result["serving_gpus"])
    if result["excluded_gpus"]:
        told["excluded"] = [gpu["gfx"] for gpu in result["excluded_gpus"]]
    if "kernel" in result:
        kernel, memory, rocm = result["kernel"], result["memory"], result["rocm"]
        told["kernel"] = {
            "stream": kernel["stream"],
            "running": kernel["running"]["state"],
            "packages": [f"{p['name']} {p['minimum'] or 'any'}" for p in kernel["packages"]],
        }
        told["args"] = " ".join(result["boot"]["args"])
        told["gib"] = {
            "gtt": None if memory["gtt_bytes"] is None else memory["gtt_bytes"] / GIB,
            "own": round(memory["vram_bytes"] / GIB, 1),
        }
        told["rocm"] = f"{rocm['source']} {rocm['version'] or ''}".strip()
        engine = result["engine"]
        image = engine and (engine["image"] or engine["definition"]["image"])
        told["image"] = image.rsplit("/", 1)[-1] if image else None
        told |= serves(result)
    if result["catalog_overridden"]:
        told["catalog_overridden"] = result["catalog_overridden"]
    return {key: value for key, value in told.items() if value not in (None, [])}


def serves(result: Json) -> Json:
    """The model of a profile, what its memory allows, and how fast one request is."""
    budget, speed = result["budget"] or {}, result["estimate"]
    told: Json = {"model": result["model"].get("name") or None}
    if budget.get("recipe") and budget["fits"]:
        told["budget"] = (
            f"{budget['utilisation']:.2f} of {budget['gpus']} GPU, {budget['context']} tokens "
            f"x {budget['sequences']}"
        )
    elif budget.get("recipe"):
        told["budget"] = f"lacks {budget['missing_bytes'] / GIB:.1f} GiB"
    told["tok_s"] = f"{speed['single']['low']} to {speed['single']['high']}" if speed else None
    return told


def words(result: Json) -> str:
    """Everything that a profile says in words."""
    problems = [*result["refusals"], *result["warnings"]]
    return "\n".join(
        [*(f"{p['what']} → {p['hint']}" for p in problems), *result["reasons"].values(),
         *(f"{g['gfx']}: {g['reason']}" for g in result["excluded_gpus"])]
    )  # fmt: skip
