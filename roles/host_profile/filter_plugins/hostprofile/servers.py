"""Several services on one host, and the container runtimes that they need."""

from __future__ import annotations

from typing import Any

from .findings import Findings
from .hostfacts import package_version
from .serving import choose_engine, choose_model

Json = dict[str, Any]
PREFIX = "inference_server_"


def first_server(found: Findings) -> Json:
    """With a list of services, what is chosen for the host as a whole is chosen for its first.

    Returned are the settings as they were: what an entry leaves out comes from there.
    """
    common = dict(found.settings)
    servers = common.get("inference_servers") or []
    if servers:
        found.settings |= _settings(servers[0])
    return common


def _settings(server: Json) -> Json:
    return {PREFIX + key: value for key, value in server.items() if value is not None}


def choose_servers(
    catalog: Json, gfx: Json, stable: bool, values: Json, common: Json, found: Findings
) -> Json:
    """By name what the roles have to know of each service of inference_servers; {} without it.

    `values` has the first one's model; its store gets the models of all.
    """
    chosen: Json = {}
    model = values["model"]
    for server in common.get("inference_servers") or []:
        part = Findings({})
        part.settings = common | _settings(server)
        engine = choose_engine(catalog, gfx, stable, part)
        own = choose_model(engine["definition"], part) if engine else {}
        for kind, problems in (("refuse", part.refusals), ("warn", part.warnings)):
            for problem in problems:
                # The first one's are told already.
                if problem not in found.refusals + found.warnings:
                    getattr(found, kind)(
                        problem["code"], f"{server['name']}: {problem['what']}", problem["hint"]
                    )
        for key, reason in part.reasons.items():
            found.reasons[f"servers.{server['name']}.{key}"] = reason
        if not engine or not model:
            continue
        known = {entry["name"] for entry in model["store"]}
        model["store"] += [entry for entry in own["store"] if entry["name"] not in known]
        chosen[server["name"]] = {
            "engine": engine["name"],
            "definition": engine["definition"],
            "image": engine["image"],
            "image_archive": engine["image_archive"],
            "model": own["name"],
            "served_model_name": own["served_name"],
            "model_digest": own["digest"],
        }
    return chosen


def image_store(found: Findings) -> str:
    """Directory that the (first) service's image fills."""
    if found.settings.get(f"{PREFIX}runtime") == "docker":
        return "/var/lib/docker"
    return "/var/lib/stroke" if found.settings.get(f"{PREFIX}rootless") else "/var/lib/containers"


def runtime_packages(host: Json, distribution: Json, settings: Json, found: Findings) -> list[str]:
    """Packages of every container runtime that a service of the host asks for.

    `settings` are those of the host, without what is told of its first service.
    """
    servers = settings.get("inference_servers") or [{}]
    forms = [
        (
            server.get("runtime") or settings.get(f"{PREFIX}runtime") or "podman",
            bool(server.get("rootless", settings.get(f"{PREFIX}rootless"))),
        )
        for server in servers
    ]
    packages: list[str] = []
    if any(runtime == "podman" for runtime, _ in forms):
        packages += distribution["runtime_packages"]
    if ("podman", True) in forms:
        packages += distribution["rootless_packages"]
    if any(runtime == "docker" for runtime, _ in forms):
        packages += _docker(host, distribution, found)
    return list(dict.fromkeys(packages))


def _docker(host: Json, distribution: Json, found: Findings) -> list[str]:
    """The distribution's Docker, or nothing where somebody has installed another one."""
    wanted = list(distribution["docker_packages"])
    there = host["container_runtime"]["docker"]
    if there and not any(package_version(host, name) for name in wanted):
        found.reasons["runtime.docker"] = f"Docker {there}, which is installed, is used as it is"
        return []
    if not wanted:
        found.refuse(
            "STK-440",
            f"{distribution['name']} has no package of Docker",
            "install Docker on the host and run stroke again, or inference_server_runtime: podman",
        )
    return wanted
