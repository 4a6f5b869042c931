"""Facts + catalogue + the user's settings give one profile, with a reason for every value.

`resolve` is pure and total: it raises for a broken catalogue only; whatever a host or a user
brings ends as a value with a reason, a warning, or a refusal with a code and a hint.
"""

from __future__ import annotations

from typing import Any

from . import arguments, hostfacts
from .boot import boot_arguments
from .catalog import SITE
from .distribution import choose_distribution, warn_of_community
from .findings import Findings, by_id
from .firmware import choose_firmware
from .gpus import choose_gpus
from .kernel import choose_kernel
from .known import warn_of_known
from .memory import budget
from .plan import serve
from .rocm import choose_rocm
from .servers import choose_servers, first_server, image_store, runtime_packages, shares
from .serving import choose_engine

Json = dict[str, Any]


def _values(
    host: Json, catalog: Json, distribution: Json, gfx: Json, serving: list[Json], found: Findings
) -> None:
    values = found.values
    values["gpu_count"] = len(serving)
    values["package_manager"] = distribution["package_manager"]
    rule = by_id(catalog["memory_rules"], gfx["memory_rule"])
    values["memory"] = budget(host, rule, serving, catalog, found)
    values["boot"] = boot_arguments(host, catalog, gfx, values["memory"], found)
    kernel = choose_kernel(host, catalog, distribution, gfx, serving, found)
    firmware = choose_firmware(host, catalog, distribution, gfx, serving, found)
    kernel["packages"].append(
        {
            "name": firmware["package"],
            "minimum": firmware["minimum"] or None,
            "deny": firmware["deny"],
        }
    )
    values["kernel"], values["firmware"] = kernel, firmware
    values["rocm"] = choose_rocm(catalog, distribution, gfx, found)
    common = first_server(found)
    values["runtime"] = {
        "store": image_store(found),
        "packages": runtime_packages(host, distribution, common, found),
        "minimum": catalog["container_runtime"]["podman_minimum"],
        "archive_factor": catalog["container_runtime"]["archive_factor"],
    }
    values["engine"] = choose_engine(catalog, gfx, kernel["stable"], found)
    values |= {"model": {}, "budget": None, "estimate": None}
    if values["engine"]:
        share = next(iter(shares(common, found).values()), 1.0)
        serve(catalog, gfx, values["memory"], serving, values["engine"], found, share)
    warn_of_community(host, catalog, distribution, gfx, found)
    warn_of_known(host, catalog, gfx, values, found)
    _warn_of_driver(host, gfx, found)
    if values["engine"]:  # last: every argument that is rendered is there now
        arguments.fit(catalog, values["engine"], found)
    values["servers"] = choose_servers(catalog, gfx, kernel["stable"], serving, common, found)


def _warn_of_driver(host: Json, gfx: Json, found: Findings) -> None:
    """The driver in the kernel is used; on Instinct AMD tests its own package."""
    if hostfacts.driver_flavour(host) == "dkms":
        found.reasons["driver"] = "amdgpu-dkms is loaded; stroke leaves it as it is"
        return
    found.reasons["driver"] = "the driver in the kernel"
    if gfx["kind"] == "instinct" and gfx["support"] == "instinct":
        found.reasons["driver"] += (
            "; AMD's guide installs amdgpu-dkms on Instinct, which stroke leaves alone where it is"
        )


def _line(result: Json) -> str:
    """The verdict with what it rests on, in one line."""
    if result["refusals"]:
        whats = "; ".join(refusal["what"] for refusal in result["refusals"])
        return f"refused: {whats}"
    gpus = result["reasons"]["gpus"].split(";")[0]
    line = (
        f"{result['verdict']}: {gpus} on {result['distribution']}, "
        f"kernel {result['kernel']['install_floor']} or newer, {result['engine']['name']}"
    )
    warnings = [warning["what"] for warning in result["warnings"]]
    return line + (f" ({'; '.join(warnings)})" if warnings else "")


def resolve(facts: Json, catalog: Json, settings: Json) -> Json:
    """The profile of a host: values, the reason for each, warnings and refusals."""
    host = hostfacts.complete(facts)
    found = Findings(settings)
    site = catalog.get(SITE) or {"overridden": [], "problems": []}
    for problem in site["problems"]:
        found.refuse(
            "STK-304",
            f"host_profile_catalog_dir: {problem}",
            "correct the file; roles/host_profile/files/catalog.schema.json says what is allowed",
        )
    distribution = choose_distribution(host, catalog, found)
    gpus = choose_gpus(host, catalog, found)
    gfx = gpus[0] if gpus else None
    if distribution and gpus:
        _values(host, catalog, distribution, gpus[0], gpus[1], found)
    result = {
        "schema": "stroke/profile/1",
        "verdict": found.verdict(),
        "refusals": found.refusals,
        "warnings": found.warnings,
        "distribution": (distribution or {}).get("name") or host["distribution"]["name"] or None,
        "gfx": (gfx or {}).get("name"),
        "simulated": False,
        "gpu_name": None,
        "serving_gpus": [],
        "excluded_gpus": [],
        "servers": {},
        "reasons": found.reasons,
        "overridden": sorted(settings),
        "catalog_overridden": list(site["overridden"]),
        **found.values,
    }
    return result | {"verdict_line": _line(result)}
