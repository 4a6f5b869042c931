"""Which ROCm packages the host gets, and from where: tools to look at the GPU, nothing more."""

from __future__ import annotations

from typing import Any

from .findings import Findings

Json = dict[str, Any]
SOURCES = ("amd", "mirror", "distro", "none")


def _place(channel: Json, distribution: Json) -> Json | None:
    """The channel's own words for a distribution; None: not packaged for it."""
    for entry in channel["distributions"]:
        if entry["distribution"] == distribution["id"]:
            return dict(entry)
    return None


def _channel(
    catalog: Json, kind: str, distribution: Json, gfx: Json, settings: Json
) -> Json | None:
    version = settings.get("rocm_version")
    for channel in catalog["rocm_channels"]:
        if (
            channel["source_kind"] == ("amd" if kind == "mirror" else kind)
            and _place(channel, distribution) is not None
            and gfx["name"] in channel["gfx"]
            and (channel["default"] if not version else str(version) == channel["version"])
            and (
                kind != "amd" or channel["key_fingerprint"] or settings.get("rocm_key_fingerprint")
            )
            and (kind != "mirror" or version or channel["key_fingerprint"])
        ):
            return dict(channel)
    return None


def _repository(channel: Json, distribution: Json, kind: str, priority: int, s: Json) -> Json:
    place = _place(channel, distribution) or {}
    words = {"place": place.get("place", ""), "suite": place.get("suite", "")}
    suite = channel["suite"]
    return {
        "uri": s.get("rocm_mirror_uri") or str(channel["uri"]).format(**words),
        "suite": s.get("rocm_mirror_suite") or (suite and str(suite).format(**words)),
        "key_url": s.get("rocm_key_url") or channel["key_url"],
        "key_fingerprint": s.get("rocm_key_fingerprint") or channel["key_fingerprint"],
        "components": channel["components"],
        "origin": channel["origin"],
        "pin_priority": priority,
        "kind": channel["kind"],
    }


def choose_rocm(catalog: Json, distribution: Json, gfx: Json, found: Findings) -> Json:
    """The ROCm part of a profile: source, version, repository, packages."""
    settings = found.settings
    asked = settings.get("rocm_source") or settings.get("rocm_version")
    kind = str(settings.get("rocm_source") or distribution["rocm_source"])
    if settings.get("rocm_version") and not settings.get("rocm_source") and kind == "none":
        kind = "amd"
    none: Json = {"source": "none", "version": None, "repository": {}, "packages": []}
    if kind not in SOURCES:
        found.refuse(
            "STK-302", f"rocm_source: {kind} is not known", f"use one of: {', '.join(SOURCES)}"
        )
        return none
    if kind == "none" and asked:
        found.reasons["rocm"] = "no host packages, as asked for: the container has its own ROCm"
        return none
    channel = _channel(catalog, kind, distribution, gfx, settings)
    if channel is None and not asked:
        found.reasons["rocm"] = (
            f"no host packages: no ROCm 7 is packaged for {distribution['name']} and "
            f"{gfx['name']}; the container has its own"
        )
        return none
    if channel is None:
        found.refuse(
            "STK-303",
            f"no ROCm {settings.get('rocm_version') or '7.x'} from rocm_source: {kind} "
            f"for {distribution['name']} and {gfx['name']}",
            "leave rocm_version out, choose another rocm_source (amd, mirror, distro, none), "
            "or give rocm_key_fingerprint for a channel whose key stroke does not know",
        )
        return none
    repository: Json = {}
    if kind != "distro":
        priority = catalog["rocm_defaults"]["pin_priority"]
        repository = _repository(channel, distribution, kind, priority, settings)
        if kind == "mirror" and not settings.get("rocm_mirror_uri"):
            found.refuse(
                "STK-303",
                "rocm_source: mirror needs rocm_mirror_uri",
                "set rocm_mirror_uri, or rocm_source: amd",
            )
    found.reasons["rocm"] = (
        f"ROCm {channel['version']} tools to diagnose; the container has its own ROCm to work with"
    )
    packages = [
        package | {"name": package["name"].replace("{gfx}", gfx["name"])}
        for package in channel["packages"]
    ]
    return {
        "source": kind,
        "version": channel["version"],
        "repository": repository,
        "packages": settings.get("rocm_packages") or packages,
    }
