"""Several services on one host, and the container runtimes that they need."""

from __future__ import annotations

from typing import Any

from . import arguments
from .findings import Findings
from .hostfacts import package_version
from .plan import serve
from .serving import choose_engine

Json = dict[str, Any]
PREFIX = "inference_server_"


def first_server(found: Findings) -> Json:
    """With a list of services, what is chosen for the host as a whole is chosen for its first.

    Returned are the settings as they were: what an entry leaves out comes from there.
    """
    common = dict(found.settings)
    servers = common.get("inference_servers") or []
    if servers:
        first = Findings(_settings(servers[0]))
        found.settings |= first.settings
        found.refusals += [problem for problem in first.refusals if problem not in found.refusals]
    return common


def _settings(server: Json) -> Json:
    return {PREFIX + key: value for key, value in server.items() if value is not None}


def shares(common: Json, found: Findings) -> dict[str, float]:
    """By name the part of the memory (0 to 1) that each service of inference_servers has.

    Services with GPUs of their own have all of it. Else they share one GPU: what an entry does not
    say is divided evenly.
    """
    servers = common.get("inference_servers") or []
    asked = {server["name"]: _part(server.get("memory_share")) for server in servers}
    alone = all(server.get("gpus") or common.get(f"{PREFIX}gpus") for server in servers)
    if alone:
        return {name: part or 1.0 for name, part in asked.items()}
    taken = sum(part for part in asked.values() if part)
    rest = [name for name, part in asked.items() if not part]
    if taken > 1 or (rest and taken >= 1):
        found.refuse(
            "STK-449",
            f"the services of inference_servers share a GPU, and their memory_share is {taken:g} "
            "together" + (f"; nothing is left for {', '.join(rest)}" if rest else ""),
            "give them less than 1 together, or leave memory_share out: they then get equal parts",
        )
        return dict.fromkeys(asked, 1 / len(asked))
    return {name: part or (1 - taken) / len(rest) for name, part in asked.items()}


def _part(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(float(value), 1.0) if number and value > 0 else 0.0


def choose_servers(
    catalog: Json, gfx: Json, stable: bool, serving: list[Json], common: Json, found: Findings
) -> Json:
    """By name what the roles have to know of each service of inference_servers; {} without it.

    The values that are there have the first one's model; its store gets the models of all.
    """
    chosen: Json = {}
    store = (found.values.get("model") or {}).get("store")
    parts = shares(common, Findings({}))  # what is wrong with them is told already
    for server in common.get("inference_servers") or []:
        part = Findings(common | _settings(server))
        part.values["simulated"] = found.values.get("simulated")
        engine = choose_engine(catalog, gfx, stable, part)
        if engine:
            memory = found.values["memory"]
            serve(catalog, gfx, memory, serving, engine, part, parts[server["name"]])
            arguments.fit(catalog, engine, part)
        _tell(str(server["name"]), part, found)
        if not engine or store is None:
            continue
        own, known = part.values["model"], {entry["name"] for entry in store}
        store += [entry for entry in own["store"] if entry["name"] not in known]
        chosen[server["name"]] = {
            "engine": engine["name"],
            "definition": engine["definition"],
            "image": engine["image"],
            "image_archive": engine["image_archive"],
            "model": own["name"],
            "served_model_name": own["served_name"],
            "model_digest": own["digest"],
            "budget": part.values["budget"],
            "estimate": part.values["estimate"],
        }
    return chosen


def _tell(name: str, part: Findings, found: Findings) -> None:
    """Problems and reasons of one service; those of the first are told already."""
    for kind, problems in (("refuse", part.refusals), ("warn", part.warnings)):
        for problem in problems:
            if problem not in found.refusals + found.warnings:
                getattr(found, kind)(problem["code"], f"{name}: {problem['what']}", problem["hint"])
    found.reasons |= {f"servers.{name}.{key}": reason for key, reason in part.reasons.items()}


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
