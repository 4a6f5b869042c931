"""What a service wants on its host, as items of the manifest."""

from __future__ import annotations

from typing import Any

from .container import model_directory_name
from .services import key_file, scope

Json = dict[str, Any]
ROLE = "inference_server"


def items(settings: Json, unit: Json, place: Json, secrets: list[Json]) -> list[Json]:
    """Image, caches, unit file, secrets and running unit of one service, in this order.

    `secrets` are the items of the files with its key.
    """
    whose = scope(settings)
    archive = settings["image_archive"]
    rootless = whose["user"] is not None
    named = "its name is given back to it, or it is pulled," if settings["image_id"] else "pulled"
    brought = f"loaded from {archive}" if archive else named
    found: list[Json] = []
    if rootless:
        found += [
            {"stage": "prepare", "kind": "user", "name": whose["user"], "groups": [],
             "subids": True,
             "reason": "a container without root needs ids of its own to unpack images with"},
            {"stage": "prepare", "kind": "file", "path": f"/var/lib/systemd/linger/{whose['user']}",
             "content": "", "mode": "0644", "owner": "root", "group": "root",
             "reason": "the service user's systemd runs from boot on, without a login"},
        ]  # fmt: skip
    found += [
        {"stage": "prepare", "kind": "image", "reference": settings["image"],
         "image_id": settings["image_id"], **whose,
         "reason": f"{brought} before the reboot, so that no start of the service waits for it"},
        {"stage": "serve", "kind": "directory", "path": settings["cache_path"], "mode": "0700",
         "owner": settings["user"], "group": "root",
         "reason": "compiled kernels are kept, so that the next start is quick"},
        *({"stage": "serve", "kind": "file", "path": path, "state": "absent", "only": "file",
           "reason": "another runtime ran the service before"} for path in place["others"]),
        {"stage": "serve", "kind": "file", "path": place["unit"], "content": unit["text"],
         "mode": "0644", "owner": "root", "group": "root",
         "reason": f"{settings['engine']} serves {settings['model']} as a systemd service"},
    ]  # fmt: skip
    found += secrets
    if settings["start"]:
        model = f"{settings['models_path']}/{model_directory_name(settings['model'])}"
        found.append(
            {"stage": "serve", "kind": "unit", "name": settings["unit"], "active": True,
             "enabled": settings["runtime"] == "docker", **whose,
             "container": settings["container"],
             "config": unit["digest"] if settings["identity"]["known"] else None,
             "url": settings["url"],
             "model": settings["served_model_name"] or settings["model"],
             "key_file": key_file(settings),
             "needs": [place["unit"], model,
                       *(item["path"] for item in secrets if item["kind"] == "file")],
             "reason": f"answers on {settings['bind']} port {settings['port']}"}
        )  # fmt: skip
    return [{"role": ROLE, **item} for item in found]
