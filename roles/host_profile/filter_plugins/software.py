"""Which ROCm packages and which engine and model a host gets, from the catalogue and the settings.

Both functions take the profile being built as a collector: `settings`, `reasons`, `refuse()`.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def _rocm_channel(
    catalog: Json, kind: str, distribution: Json, gfx: Json, profile: Any
) -> Json | None:
    settings = profile.settings
    version = settings.get("rocm_version")
    usable = [
        channel
        for channel in catalog["rocm_channels"]
        if channel["source_kind"] == ("amd" if kind == "mirror" else kind)
        and distribution["id"] in channel["distributions"]
        and gfx["name"] in channel["gfx"]
        and (version is None or str(version) == channel["version"])
        and (kind != "amd" or channel["key_fingerprint"] or settings.get("rocm_key_fingerprint"))
        and (kind != "mirror" or version or channel["key_fingerprint"])
    ]
    if usable:
        return dict(usable[0])
    profile.refuse(
        "STK-303",
        f"no ROCm {version or '7.x'} from rocm_source: {kind} "
        f"for {distribution['name']} and {gfx['name']}",
        "leave rocm_version out, choose another rocm_source (amd, mirror, distro, none), "
        "or give rocm_key_fingerprint for a channel whose key stroke does not know",
    )
    return None


def choose_rocm(catalog: Json, distribution: Json, gfx: Json, profile: Any) -> Json:
    settings = profile.settings
    default = "distro" if distribution["kernel"]["stream"] == "native" else "amd"
    kind = str(settings.get("rocm_source") or default)
    none: Json = {"source": "none", "version": None, "repository": {}, "packages": []}
    if kind == "none":
        profile.reasons["rocm"] = "no host packages, as asked for: the container has its own ROCm"
        return none
    channel = _rocm_channel(catalog, kind, distribution, gfx, profile)
    if channel is None:
        return none
    repository: Json = {}
    if kind != "distro":
        repository = {
            key: settings.get(setting) or channel[key]
            for key, setting in (
                ("uri", "rocm_mirror_uri"),
                ("suite", "rocm_mirror_suite"),
                ("key_url", "rocm_key_url"),
                ("key_fingerprint", "rocm_key_fingerprint"),
            )
        }
        repository |= {
            "components": channel["components"],
            "origin": channel["origin"],
            "pin_priority": catalog["rocm_defaults"]["pin_priority"],
        }
        if kind == "mirror" and not settings.get("rocm_mirror_uri"):
            profile.refuse(
                "STK-303",
                "rocm_source: mirror needs rocm_mirror_uri",
                "set rocm_mirror_uri, or rocm_source: amd",
            )
    profile.reasons["rocm"] = (
        f"ROCm {channel['version']} tools to diagnose; the container has its own ROCm to work with"
    )
    packages = settings.get("rocm_packages") or channel["packages"]
    return {
        "source": kind,
        "version": channel["version"],
        "repository": repository,
        "packages": packages,
    }


def choose_serving(catalog: Json, gfx: Json, profile: Any) -> tuple[Json, Json]:
    """The engine, and the model that it serves with the model store that has it."""
    settings = profile.settings
    name = str(settings.get("inference_server_engine") or gfx["engine"])
    definition = catalog["engines"].get(name)
    if definition is None:
        known = ", ".join(sorted(catalog["engines"]))
        profile.refuse(
            "STK-303", f"inference_server_engine: {name} is not known", f"use one of: {known}"
        )
        return {}, {}
    asked = settings.get("inference_server_engine")
    why = "as asked for" if asked else f"the engine for {gfx['name']}"
    profile.reasons["engine"] = f"{name}, {why}"
    engine = {
        "name": name,
        "definition": definition,
        "image": settings.get("inference_server_image") or None,
        "image_archive": settings.get("inference_server_image_archive") or None,
    }
    model = str(settings.get("inference_server_model") or definition["default_model"])
    store = [dict(entry) for entry in settings.get("model_store_models") or []]
    served = next((entry for entry in store if entry["name"] == model), None)
    if served is None and "/" in model:
        served = {"name": model.replace("/", "--"), "source": f"hf:{model}"}
        served |= {"sha256": None, "revision": None}
        store.append(served)
    digest = (served or {}).get("sha256") or (served or {}).get("revision")
    return engine, {
        "name": model,
        "served_name": settings.get("inference_server_served_model_name") or None,
        "store": store,
        "digest": digest,
    }


class FilterModule:
    """Nothing for templates: host_profile.py uses the functions above."""

    def filters(self) -> Json:
        return {}
