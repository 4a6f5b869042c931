"""The container of one service, in no runtime's words: engine, user, devices, mounts, limits."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def model_directory_name(model: str) -> str:
    """Name in the model store: a Hugging Face id has a slash, which a file name cannot have."""
    return model.replace("/", "--")


def _variant(settings: Json) -> Json:
    variants = settings["definition"].get("variants", {})
    gpu = variants.get(settings.get("gfx") or "gpu", variants.get("gpu", {}))
    return dict(variants.get("simulated", {}) if settings["simulated"] else gpu)


def devices(settings: Json) -> list[str]:
    """GPU nodes of the chosen slots; on a simulated host only an optional kfd."""
    if settings["simulated"]:
        return ["-/dev/kfd"]
    gfx = settings.get("gfx")  # an integrated GPU beside the real one stays outside
    wanted = settings.get("gpu_slots") or []
    nodes = [
        gpu["render_node"]
        for gpu in settings["gpus"]
        if gpu.get("render_node")
        and gpu.get("gfx") in (gfx, None)
        and (not wanted or gpu.get("slot") in wanted)
    ]
    return ["/dev/kfd", *nodes]


def cdi_devices(settings: Json, supported: bool = True) -> list[str] | None:
    """CDI names for exactly the chosen nodes; None where the host does not describe them so.

    `auto` takes them where the host has a specification and its runtime reads it.
    """
    asked = settings.get("cdi", "auto")
    nodes = [path for path in devices(settings) if not path.startswith("-")]
    if asked == "false" or settings["simulated"] or not supported:
        return None
    render = {node for node in nodes if node != "/dev/kfd"}
    names = []
    for device in settings.get("cdi_devices") or []:
        has = {node for node in device["nodes"] if node.startswith("/dev/dri/renderD")}
        if len(has) == 1 and has <= render:
            names.append(str(device["name"]))
            render -= has
    return names if names and not render else None


def container(settings: Json) -> Json:
    """Everything that a runtime has to be told, with the catalogue's placeholders filled in."""
    definition, variant = settings["definition"], _variant(settings)
    secrets = settings.get("secrets") or {}
    values = {
        "{model}": f"/models/{model_directory_name(settings['model'])}",
        "{served_name}": settings["served_model_name"] or settings["model"],
        "{address}": "0.0.0.0",  # noqa: S104  inside the container; what is published says who gets there  # nosec B104
        "{port}": str(definition["port"]),
    }

    def fill(text: Any) -> str:
        result = str(text)
        for name, value in values.items():
            result = result.replace(name, value)
        return result

    environment = definition["environment"] | variant.get("environment", {})
    address = f"[{settings['bind']}]" if ":" in settings["bind"] else settings["bind"]
    drain = definition.get("drain") or {}
    labels = {"stroke.image": settings["image_id"], "stroke.model": settings["model_digest"]}
    return {
        "name": settings["name"],
        # An archive's image by its id: a reference could mean another image after the next load.
        "image": settings["image_id"] or settings["image"],
        "arguments": [
            *(fill(word) for word in definition["arguments"] + variant.get("arguments", [])),
            *(str(word) for word in secrets.get("arguments", [])),
            *(str(word) for word in settings["extra_args"]),
        ],
        "environment": {name: fill(value) for name, value in environment.items()}
        | dict(secrets.get("environment") or {})
        | {name: str(value) for name, value in settings["extra_env"].items()},
        "health": [fill(word) for word in definition["health"]],
        "drain": [fill(word) for word in drain.get("command", [])],
        "busy": str(drain.get("busy", "")),
        "stop_seconds": int(definition["stop_seconds"]),
        "read_only": bool(definition["read_only"]),
        "tmpfs": list(definition["tmpfs"]) if definition["read_only"] else [],
        "shm_size": str(definition["shm_size"]),
        "volumes": [
            [settings["models_path"], "/models", "ro"],
            [settings["cache_path"], "/cache", ""],
            *([source, target, "ro"] for source, target in secrets.get("mounts", [])),
        ],
        "publish": f"{address}:{settings['port']}:{definition['port']}",
        "labels": {key: str(value) for key, value in labels.items() if value},
    }
