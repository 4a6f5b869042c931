"""The kernel's command line: the IOMMU, the memory limits, and what the site adds."""

from __future__ import annotations

from typing import Any

from .findings import Findings

Json = dict[str, Any]
POLICIES = ("off", "pt", "default")


def _in_use(facts: Json, catalog: Json) -> list[str]:
    """What on this host needs an IOMMU; the GPU inside a desktop processor does not count."""
    modules = facts["modules"]
    uses = []
    if modules["amdxdna"]["loaded"] or facts["npu"]["driver"] == "amdxdna":
        uses.append("the NPU driver amdxdna is loaded")
    if modules["vfio_devices"]:
        uses.append(f"devices are bound to VFIO ({', '.join(modules['vfio_devices'])})")
    if modules["rdma_devices"]:
        uses.append(f"RDMA devices are present ({', '.join(modules['rdma_devices'])})")
    kinds = {entry["name"]: entry["kind"] for entry in catalog["gfx"]}
    if sum(kinds.get(gpu["gfx"]) != "desktop-igpu" for gpu in facts["gpus"]) > 1:
        uses.append("more than one GPU is present")
    return uses


def _iommu(facts: Json, catalog: Json, gfx: Json, found: Findings) -> str:
    in_use = _in_use(facts, catalog)
    if gfx["kind"] == "instinct":
        in_use.append("Instinct needs it")
    asked = found.settings.get("boot_params_iommu")
    if asked and asked not in POLICIES:
        found.refuse(
            "STK-302",
            f"boot_params_iommu: {asked} is not a policy",
            f"use one of: {', '.join(POLICIES)}",
        )
        asked = None
    policy = str(asked or gfx["iommu"])
    if policy == "off" and in_use and asked:
        found.refuse(
            "STK-303",
            f"boot_params_iommu: off would break what is in use: {'; '.join(in_use)}",
            "set boot_params_iommu: pt, or leave it out",
        )
    elif policy == "off" and in_use:
        found.reasons["boot.args.iommu"] = (
            f"pt instead of amd_iommu=off, because {'; '.join(in_use)}"
        )
        return "pt"
    elif policy == "default" and not asked:
        several = [use for use in in_use if "RDMA" in use or "more than one GPU" in use]
        if several:
            found.reasons["boot.args.iommu"] = f"pt, because {'; '.join(several)}"
            return "pt"
        found.reasons["boot.iommu"] = f"left alone: nothing is gained on one {gfx['kind']} GPU"
        return policy
    found.reasons["boot.args.amd_iommu"] = (
        "no IOMMU on a host with one APU: 5 to 12 % more prompt throughput, "
        "and nothing that needs it is in use"
    )
    found.reasons["boot.args.iommu"] = (
        "passthrough, as asked for by boot_params_iommu"
        if asked or gfx["kind"] != "instinct"
        else "passthrough, which AMD's guide for Instinct asks for"
    )
    return policy


def _pci(facts: Json, options: list[str], found: Findings) -> list[str]:
    """`pci=` takes a list: the admin's own options stay in front of ours."""
    if not options:
        return []
    ours = {option.split("=")[0] for option in options}
    theirs = [
        option
        for word in facts["kernel"]["args"]
        if word.startswith("pci=")
        for option in word.removeprefix("pci=").split(",")
        if option and option.split("=")[0] not in ours
    ]
    found.reasons["boot.args.pci"] = (
        "the large windows that the BIOS made for Instinct stay as they are"
        + (f"; the host's own {', '.join(theirs)} is kept" if theirs else "")
    )
    return ["pci=" + ",".join(dict.fromkeys([*theirs, *options]))]


def boot_arguments(facts: Json, catalog: Json, gfx: Json, memory: Json, found: Findings) -> Json:
    """The boot part of a profile: policy, arguments in order, and the keys that stroke owns."""
    rule = next(entry for entry in catalog["boot_rules"] if entry["kind"] == gfx["kind"])
    policy = _iommu(facts, catalog, gfx, found)
    args = {"off": ["amd_iommu=off"], "pt": ["iommu=pt"]}.get(policy, [])
    args += _pci(facts, rule["pci"], found)
    if rule["gtt"]:
        if found.settings.get("boot_params_gttsize", True):
            args.append(f"amdgpu.gttsize={memory['gttsize_mib']}")
        args.append(f"ttm.pages_limit={memory['pages']}")
    owned = {argument.split("=")[0] for argument in args}
    for argument in found.settings.get("boot_params_extra_args") or []:
        key = argument.split("=")[0]
        if not key or any(character.isspace() for character in argument):
            found.refuse(
                "STK-302",
                f"boot_params_extra_args: {argument!r} is no kernel argument",
                "one argument for each entry of the list, as key=value or key",
            )
            continue
        if key in owned:
            found.refuse(
                "STK-303",
                f"boot_params_extra_args sets {key}, which stroke computes itself",
                f"leave {key} out of boot_params_extra_args",
            )
            continue
        found.reasons[f"boot.args.{key}"] = "asked for by boot_params_extra_args"
        owned.add(key)
        args.append(argument)
    owned |= {entry["key"] for entry in catalog["boot_arguments"] if entry["obsolete"]}
    if policy == "off":
        owned.add("iommu")
    layout = facts["boot"]["layout"] or None
    trial = [{"argument": one["argument"], "when": one["when"]} for one in catalog["boot_trial"]]
    return {
        "iommu": policy,
        "args": args,
        "managed_keys": sorted(owned),
        "layout": layout,
        "trial": trial,
    }
