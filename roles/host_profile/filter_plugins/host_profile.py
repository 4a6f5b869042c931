"""What is good for a host, and why: facts + catalogue + the user's settings give one profile.

`resolve` is pure and total: it raises for a broken catalogue only; whatever a host or a user
brings ends as a value with a reason, a warning, or a refusal with a code and a hint.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
GIB = 1024**3
MIB = 1024**2

# Filter plugins cannot import each other by name: Ansible loads each one from its path.
_software = runpy.run_path(os.fspath(Path(__file__).with_name("software.py")))
choose_rocm: Callable[..., Json] = _software["choose_rocm"]
choose_serving: Callable[..., tuple[Json, Json]] = _software["choose_serving"]


def load_catalog(directory: str) -> Json:
    """Merge every *.yml of a catalogue directory; top-level keys are unique across files."""
    catalog: Json = {}
    for path in sorted(Path(directory).glob("*.yml")):
        part = yaml.safe_load(path.read_text(encoding="utf-8"))
        clash = set(part) & set(catalog)
        if clash:
            names = ", ".join(sorted(clash))
            raise ValueError(f"{path}: {names} is defined twice in the catalogue")
        catalog.update(part)
    return catalog


class _Profile:
    """Collects what resolve() finds, so that each step can add values, reasons and problems."""

    def __init__(self, settings: Json) -> None:
        self.settings = settings
        self.values: Json = {}
        self.reasons: dict[str, str] = {}
        self.refusals: list[Json] = []
        self.warnings: list[Json] = []

    def refuse(self, code: str, what: str, hint: str) -> None:
        self.refusals.append({"code": code, "what": what, "hint": hint})

    def warn(self, code: str, what: str, hint: str) -> None:
        self.warnings.append({"code": code, "what": what, "hint": hint})


def _by_id(entries: list[Json], wanted: str) -> Json:
    for entry in entries:
        if entry["id"] == wanted:
            return entry
    raise ValueError(f"the catalogue refers to {wanted!r}, which it does not define")


def _distribution(facts: Json, catalog: Json, profile: _Profile) -> Json | None:
    found = facts["distribution"]
    for entry in catalog["distributions"]:
        if all(found.get(key) == value for key, value in entry["match"].items()):
            if entry["verdict"] == "refused":
                profile.refuse("STK-401", f"{entry['name']}: {entry['reason']}", entry["hint"])
                return None
            return dict(entry)
    names = ", ".join(e["name"] for e in catalog["distributions"] if e["verdict"] != "refused")
    profile.refuse(
        "STK-401",
        f"{found.get('name') or found.get('id')} is not a distribution that stroke knows",
        f"use one of: {names}",
    )
    return None


def _gpu(facts: Json, catalog: Json, profile: _Profile) -> Json | None:
    known = {entry["name"]: entry for entry in catalog["gfx"]}
    usable = [gpu for gpu in facts["gpus"] if gpu.get("gfx") in known]
    if usable:
        gpu = usable[0]
        profile.values["gpu_name"] = gpu.get("name") or known[gpu["gfx"]]["product"]
        profile.values["simulated"] = bool(gpu.get("simulated"))
        return dict(known[gpu["gfx"]])
    seen = ", ".join(str(g.get("gfx") or f"PCI id 1002:{g.get('pci_id')}") for g in facts["gpus"])
    profile.refuse(
        "STK-409",
        f"no AMD GPU that stroke knows ({'found ' + seen if seen else 'found no AMD GPU'})",
        "known targets: "
        + ", ".join(sorted(known))
        + "; to try stroke on a host without a GPU set stroke_gpu in the inventory (simulated)",
    )
    return None


def _gib(amount: float) -> str:
    return f"{amount / GIB:.1f}".removesuffix(".0") + " GiB"


def _memory(facts: Json, rule: Json, profile: _Profile) -> Json:
    measured = facts["memory"]
    total = measured.get("declared_bytes") or measured["total_bytes"]
    page = measured["page_size"]
    reserve = max(rule["reserve_gib"] * GIB, int(total * rule["reserve_fraction"]))
    step = rule["granularity_gib"] * GIB
    limit = max(0, (total - reserve - rule["service_gib"] * GIB) // step * step)
    pages, gttsize = limit // page, limit // MIB
    origin = "declared RAM" if measured.get("declared_bytes") else "RAM"
    why = (
        f"{_gib(limit)} of {_gib(total)} {origin}: {_gib(reserve)} kept for the system, "
        f"{rule['service_gib']} GiB for containers and page cache, "
        f"rounded down to {rule['granularity_gib']} GiB"
    )
    profile.reasons["memory"] = why
    profile.reasons["boot.args.ttm.pages_limit"] = f"{pages} pages of {page} bytes = {why}"
    profile.reasons["boot.args.amdgpu.gttsize"] = (
        f"{gttsize} MiB, equal to ttm.pages_limit to the page"
    )
    if limit < rule["minimum_gib"] * GIB:
        profile.refuse(
            "STK-412",
            f"{_gib(total)} of RAM leave {_gib(limit)} for the GPU, "
            f"less than the {rule['minimum_gib']} GiB that serving needs",
            "use a host with more RAM, or make the fixed GPU memory (UMA) in its BIOS smaller",
        )
    return {
        "total_bytes": total,
        "reserve_bytes": reserve,
        "gtt_bytes": limit,
        "pages": pages,
        "gttsize_mib": gttsize,
        "page_size": page,
    }


def _iommu(facts: Json, gfx: Json, profile: _Profile) -> str:
    modules = facts["modules"]
    in_use = []
    if modules["amdxdna"]["loaded"]:
        in_use.append("the NPU driver amdxdna is loaded")
    if modules["vfio_devices"]:
        in_use.append(f"devices are bound to VFIO ({', '.join(modules['vfio_devices'])})")
    if modules["rdma_devices"]:
        in_use.append(f"RDMA devices are present ({', '.join(modules['rdma_devices'])})")
    if len(facts["gpus"]) > 1:
        in_use.append("more than one GPU is present")
    asked = profile.settings.get("boot_params_iommu")
    policy = str(asked or gfx["iommu"])
    if policy == "off" and in_use and asked:
        profile.refuse(
            "STK-303",
            f"boot_params_iommu: off would break what is in use: {'; '.join(in_use)}",
            "set boot_params_iommu: pt, or leave it out",
        )
    elif policy == "off" and in_use:
        policy = "pt"
        profile.reasons["boot.args.iommu"] = (
            f"pt instead of amd_iommu=off, because {'; '.join(in_use)}"
        )
        return policy
    profile.reasons["boot.args.amd_iommu"] = (
        "no IOMMU on a host with one APU: 5 to 12 % more prompt throughput, "
        "and nothing that needs it is in use"
    )
    profile.reasons["boot.args.iommu"] = "passthrough, as asked for by boot_params_iommu"
    return policy


def _boot(facts: Json, catalog: Json, gfx: Json, memory: Json, profile: _Profile) -> Json:
    policy = _iommu(facts, gfx, profile)
    args: list[str] = []
    if policy == "off":
        args.append("amd_iommu=off")
    elif policy == "pt":
        args.append("iommu=pt")
    if profile.settings.get("boot_params_gttsize", True):
        args.append(f"amdgpu.gttsize={memory['gttsize_mib']}")
    args.append(f"ttm.pages_limit={memory['pages']}")
    owned = {argument.split("=")[0] for argument in args}
    for argument in profile.settings.get("boot_params_extra_args") or []:
        key = str(argument).split("=")[0]
        if key in owned:
            profile.refuse(
                "STK-303",
                f"boot_params_extra_args sets {key}, which stroke computes itself",
                f"leave {key} out of boot_params_extra_args",
            )
            continue
        profile.reasons[f"boot.args.{key}"] = "asked for by boot_params_extra_args"
        owned.add(key)
        args.append(str(argument))
    owned |= {entry["key"] for entry in catalog["boot_arguments"] if entry["obsolete"]}
    if policy == "off":
        owned.add("iommu")
    return {"iommu": policy, "args": args, "managed_keys": sorted(owned)}


def _kernel(
    facts: Json, catalog: Json, distribution: Json, gfx: Json, profile: _Profile
) -> tuple[Json, Json]:
    rule = _by_id(catalog["kernel_rules"], gfx["kernel_rule"])
    firmware = _by_id(catalog["firmware_rules"], gfx["firmware_rule"])
    floor = str(profile.settings.get("kernel_minimum") or rule["install_floor"])
    source = distribution["kernel"]
    where = f"from {source['suite']}" if source["suite"] else "from the distribution"
    profile.reasons["kernel"] = f"{floor} or newer {where}: {rule['install_floor_reason']}"
    profile.reasons["kernel.minimum"] = rule["minimum_reason"]
    profile.reasons["firmware"] = f"{firmware['minimum']} or newer: {firmware['minimum_reason']}"
    kernel = {
        "minimum": rule["minimum"],
        "install_floor": floor,
        "packages": [
            {"name": source["package"], "minimum": floor, "deny": []},
            {
                "name": distribution["firmware"]["package"],
                "minimum": firmware["minimum"],
                "deny": list(firmware["deny"]),
            },
        ],
        "stream": source["stream"],
        "suite": source["suite"],
        "components": list(source["components"]),
        "keyring": source["keyring"],
        "pin_packages": list(source["pin_packages"]),
        "boot_free_mib": distribution["boot_free_mib"],
        "root_free_mib": distribution["root_free_mib"],
    }
    return kernel, {"package": distribution["firmware"]["package"]} | {
        key: firmware[key] for key in ("minimum", "deny", "deny_mes")
    }


def resolve(facts: Json, catalog: Json, settings: Json) -> Json:
    """The profile of a host: values, the reason for each, warnings and refusals."""
    profile = _Profile(settings)
    distribution = _distribution(facts, catalog, profile)
    gfx = _gpu(facts, catalog, profile)
    values = profile.values
    if distribution and gfx:
        values["memory"] = _memory(
            facts, _by_id(catalog["memory_rules"], gfx["memory_rule"]), profile
        )
        values["boot"] = _boot(facts, catalog, gfx, values["memory"], profile)
        values["kernel"], values["firmware"] = _kernel(facts, catalog, distribution, gfx, profile)
        values["rocm"] = choose_rocm(catalog, distribution, gfx, profile)
        values["runtime"] = {
            "packages": distribution["runtime_packages"],
            "minimum": catalog["container_runtime"]["podman_minimum"],
            "archive_factor": catalog["container_runtime"]["archive_factor"],
        }
        values["engine"], values["model"] = choose_serving(catalog, gfx, profile)
        if distribution["tier"] == "community":
            profile.warn(
                "STK-W01",
                f"{distribution['name']} is not in AMD's support matrix for {gfx['name']}",
                "AMD tests this GPU on Ubuntu 24.04 and 26.04 only; others are community",
            )
    verdict = "works with warnings" if profile.warnings else "supported"
    if profile.refusals:
        verdict = "refused"
    return {
        "schema": "stroke/profile/1",
        "verdict": verdict,
        "refusals": profile.refusals,
        "warnings": profile.warnings,
        "distribution": (distribution or {}).get("name") or facts["distribution"].get("name"),
        "gfx": (gfx or {}).get("name"),
        "simulated": False,
        "gpu_name": None,
        "reasons": profile.reasons,
        "overridden": sorted(settings),
        **values,
    }


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"load_catalog": load_catalog, "resolve_profile": resolve}
