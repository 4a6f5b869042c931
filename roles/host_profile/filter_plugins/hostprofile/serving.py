"""The engine, its image and the model: checked against the GPU and the kernel before any pull."""

from __future__ import annotations

import re
from typing import Any

from .findings import Findings
from .versions import meets, within

Json = dict[str, Any]


def on_kernel(catalog: Json, gfx: str, rocm: str | None, stable: bool) -> str:
    """ok, unstable or broken: this ROCm (in the container) on a kernel that is fixed or not."""
    for row in catalog["kernel_rocm"]:
        fits = rocm and within(rocm, row.get("rocm_from"), row.get("rocm_below"))
        if fits and gfx in row["gfx"]:
            return str(row["fixed" if stable else "unfixed"])
    return "ok"


def _of_tag(catalog: Json, repository: str, tag: str) -> Json | None:
    """What an unlisted image's tag says of it."""
    for rule in catalog["image_tags"]:
        seen = re.search(rule["tag"], tag) if rule["repository"] == repository else None
        engine = re.search(rule["version"], tag) if seen else None
        version = engine[1] if engine else None
        if seen and not rule["releases"]:
            return {"rocm": seen[1], "command": rule["command"], "gfx": None, "checked": True,
                    "version": version}  # fmt: skip
        for release in rule["releases"] if seen else []:
            if meets(seen[1] if seen else None, release["from"], "upstream"):
                known = release["rocm"] is not None
                return {"rocm": release["rocm"], "command": rule["command"], "gfx": None,
                        "checked": known, "version": version}  # fmt: skip
    return None


def describe(catalog: Json, reference: str) -> Json | None:
    """The catalogue's knowledge of an image, by its name or by what its tag says."""
    name = reference.partition("@")[0]
    if "/" not in name or not re.search(r"[.:]|^localhost", name.split("/")[0]):
        name = f"docker.io/{name}"
    for image in catalog["images"]:
        if image["reference"] == name:
            return dict(image) | {"checked": True}
    repository, _, tag = name.rpartition(":")
    return _of_tag(catalog, repository, tag) if "/" not in tag else None


def _check_named(
    catalog: Json, reference: str, gfx: Json, stable: bool, found: Findings
) -> Json | None:
    """An image that the user names: refused where it is known that it cannot work."""
    known = describe(catalog, reference)
    if known is None:
        found.reasons["engine.image"] = f"{reference}, as asked for; stroke knows nothing of it"
        return None
    found.reasons["engine.image"] = f"{reference}, as asked for"
    hint = "leave inference_server_image out: stroke takes one that fits"
    state = on_kernel(catalog, gfx["name"], known["rocm"], stable)
    if known["gfx"] is not None and gfx["name"] not in known["gfx"]:
        found.refuse("STK-303", f"{reference} has no code for {gfx['name']}", hint)
    elif state == "broken":
        kernel = "the kernel that the GPU needs" if stable else "the host's kernel"
        found.refuse(
            "STK-303",
            f"{reference} has ROCm {known['rocm']}, which does not work on {kernel} with "
            f"{gfx['name']}",
            hint,
        )
    elif state == "unstable":
        found.warn(
            "STK-W07",
            f"ROCm {known['rocm']} in {reference} is unstable on the host's kernel",
            "a newer kernel helps, not another image",
        )
    elif not known["checked"]:
        found.warn("STK-W07", f"nobody has checked which ROCm is in {reference}", hint)
    return known


def _choose_image(
    catalog: Json, engine: str, gfx: Json, stable: bool, found: Findings
) -> Json | None:
    for image in catalog["images"]:
        if image["engine"] == engine and image["chosen"] and gfx["name"] in image["gfx"]:
            state = on_kernel(catalog, gfx["name"], image["rocm"], stable)
            if state == "broken":
                continue
            found.reasons["engine.image"] = (
                f"{image['reference']} has code for {gfx['name']}"
                + (f" and ROCm {image['rocm']}" if image["rocm"] else "")
                + ("" if state == "ok" else ", which is unstable on the host's kernel")
            )
            return dict(image)
    found.refuse(
        "STK-303",
        f"no image of {engine} in the catalogue has code for {gfx['name']}",
        f"inference_server_engine: {gfx['engine']}, or name an image with inference_server_image",
    )
    return None


def _secrets(secrets: Json, version: str | None) -> Json:
    """What a service with a key gets, with what older versions need besides to keep it secret.

    A version that nobody knows may be an old one.
    """
    found = {}
    for name, entry in secrets.items():
        own = {key: value for key, value in entry.items() if key != "older"}
        older = entry.get("older")
        if older and not meets(version, older["before"], "upstream"):
            own |= {"environment": older["environment"], "files": own["files"] | older["files"]}
        found[name] = {"environment": {}} | own
    return found


def choose_engine(catalog: Json, gfx: Json, stable: bool, found: Findings) -> Json:
    """The engine part of a profile; its definition has the image and arguments of the GPU."""
    settings = found.settings
    asked = settings.get("inference_server_engine")
    name = str(asked or gfx["engine"])
    definition = catalog["engines"].get(name)
    if definition is None:
        known = ", ".join(sorted(catalog["engines"]))
        found.refuse(
            "STK-303", f"inference_server_engine: {name} is not known", f"use one of: {known}"
        )
        return {}
    why = "as asked for" if asked else f"the engine for {gfx['name']}"
    found.reasons["engine"] = f"{name}, {why}"
    named = settings.get("inference_server_image") or None
    archive = settings.get("inference_server_image_archive") or None
    image: Json | None = None
    if named:
        image = _check_named(catalog, str(named), gfx, stable, found)
    elif archive:
        found.reasons["engine.image"] = f"from {archive}, as asked for"
    else:
        image = _choose_image(catalog, name, gfx, stable, found)
        if image:
            definition = definition | {"image": image["reference"]}
            if image.get("disk_gib"):
                definition = definition | {"disk_gib": image["disk_gib"]}
    if image and image["command"]:
        definition = definition | {"arguments": [*image["command"], *definition["arguments"]]}
    version = settings.get("inference_server_engine_version") or (image or {}).get("version")
    definition = definition | {"secrets": _secrets(definition.get("secrets") or {}, version)}
    return {
        "name": name,
        "definition": definition,
        "image": named,
        "image_archive": archive,
        "image_rocm": (image or {}).get("rocm"),
        "version": version,
    }


def choose_model(definition: Json, found: Findings, default: str = "") -> Json:
    """The model that is served, with the model store that has it.

    Where the user names none it is `default`, or else the engine's own.
    """
    settings = found.settings
    named = settings.get("inference_server_model") or default
    model = str(named or definition["default_model"])
    store = [dict(entry) for entry in settings.get("model_store_models") or []]
    served = next((entry for entry in store if entry["name"] == model), None)
    if served is None and "/" in model:
        served = {"name": model.replace("/", "--"), "source": f"hf:{model}"}
        served |= {"sha256": None, "revision": None}
        store.append(served)
    digest = (served or {}).get("sha256") or (served or {}).get("revision")
    return {
        "name": model,
        "served_name": settings.get("inference_server_served_model_name") or None,
        "store": store,
        "digest": digest,
    }
