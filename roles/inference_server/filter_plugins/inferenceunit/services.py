"""Which services a host has: one by the role's own variables, or several by a list of them."""

from __future__ import annotations

import posixpath
from collections import Counter
from typing import Any

Json = dict[str, Any]

TRUE = {"1", "true", "yes", "on", "y", "t"}


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in TRUE


def loopback_url(address: str, port: int) -> str:
    """Where the host itself reaches an endpoint that is published on an address."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound  # nosec B104
    place = wildcard.get(address, address)
    return f"http://[{place}]:{port}" if ":" in place else f"http://{place}:{port}"


def services(common: Json, servers: list[Json] | None, resolved: Json | None = None) -> list[Json]:
    """Every service with all its settings.

    `common` is what the variables without a list say: the one service, or what an entry of the
    list leaves out. `resolved` has by name what the profile found for an entry.
    """
    found = []
    listed = [entry for entry in servers if isinstance(entry, dict)] if servers else []
    for entry in listed or [{}]:
        one = common | {key: value for key, value in entry.items() if value is not None}
        chosen = (resolved or {}).get(one["name"], {}) if listed else {}
        one |= {key: chosen[key] for key in chosen if key not in ("budget", "estimate")}
        if listed and not entry.get("cache_path"):
            one["cache_path"] = posixpath.join(posixpath.dirname(common["cache_path"]), one["name"])
        for key in ("port", "start_timeout"):  # a setting that is no number is refused as such
            one[key] = int(one[key]) if str(one[key]).isdecimal() else 0
        one["cdi"] = str(one["cdi"]).lower()
        one["own_key"] = bool(entry.get("api_key_file"))
        for key in ("exposed", "rootless", "simulated", "start"):
            one[key] = _truth(one[key])
        one["unit"] = f"{one['name']}.service"
        one["container"] = one["name"]
        one["url"] = loopback_url(str(one["bind"]), one["port"])
        found.append(one)
    return found


def unit_path(service: Json, home: str) -> str:
    """Where the file is that systemd, or Podman's generator, makes the service from."""
    if service["runtime"] == "docker":
        return f"/etc/systemd/system/{service['unit']}"
    directory = f"{home}/.config" if service["rootless"] else "/etc"
    return f"{directory}/containers/systemd/{service['name']}.container"


def other_paths(service: Json, home: str) -> list[str]:
    """Where the file of the same service would be with another runtime."""
    own = unit_path(service, home)
    return [path for form in forms([service]) if (path := unit_path(form, home)) != own]


FORMS = (("podman", False), ("podman", True), ("docker", False))


def forms(found: list[Json]) -> list[Json]:
    """Every service with every runtime: what may be left of an earlier setting."""
    return [s | {"runtime": runtime, "rootless": user} for s in found for runtime, user in FORMS]


def scope(service: Json) -> Json:
    """What an observer has to know besides names: whose systemd and whose containers."""
    user = service["user"] if service["rootless"] and service["runtime"] == "podman" else None
    return {"runtime": service["runtime"], "user": user}


def look(found: list[Json], home: str, history: bool = False) -> Json:
    """What of the services a first look at the host has to see: it is then the only one.

    With `history` that is also why each of them is as it is.
    """
    paths = []
    for service in found:
        paths += [unit_path(service, home), *other_paths(service, home), service["cache_path"]]
        if scope(service)["user"]:
            paths.append(f"/var/lib/systemd/linger/{service['user']}")
    units = [
        {
            "name": s["unit"],
            "container": s["container"],
            "url": s["url"],
            "history": history,
            "key_file": key_file(s),
            **scope(s),
        }
        for s in found
        if s["start"] or history
    ]
    stores: list[Json] = []
    for whose in map(scope, found):
        stores += [] if whose in stores else [whose]
    return {"paths": list(dict.fromkeys(paths)), "units": units, "stores": stores}


def key_file(service: Json) -> str:
    """Where the key of a service is on its host, if it has one."""
    return f"/etc/stroke/secrets/{service['name']}/api_key"


def watched(found: list[Json]) -> list[Json]:
    """What a watchdog has to know of each service."""
    return [
        {
            "name": s["name"],
            "container": s["container"],
            **scope(s),
            "url": s["url"],
            "model": s["served_model_name"] or s["model"],
            "key_file": key_file(s),
            "start_seconds": s["start_timeout"],
            "progress": s["definition"].get("progress") or [],
        }
        for s in found
    ]


def _twice(found: list[Json], key: str) -> list[str]:
    counted = Counter(str(service[key]) for service in found)
    return [value for value, times in counted.items() if times > 1]


def clashes(found: list[Json], gpus: list[Json]) -> list[Json]:
    """Why these services cannot be on one host together, or not on this one."""
    problems = []

    def refuse(code: str, what: str, hint: str) -> None:
        problems.append({"code": code, "what": what, "hint": hint})

    for key in ("name", "port", "cache_path"):
        for value in _twice(found, key):
            refuse("STK-441", f"two of inference_servers have the {key} {value}",
                   f"give each service a {key} of its own")  # fmt: skip
    slots = {gpu["slot"] for gpu in gpus if gpu.get("slot")}
    taken: dict[str, str] = {}
    for service in found:
        for slot in service["gpus"]:
            if slot not in slots and not service["simulated"]:
                have = ", ".join(sorted(slots)) or "none"
                refuse("STK-442", f"{service['name']}: the host has no GPU {slot} (it has {have})",
                       "stroke inspect lists the GPUs with their PCI slots")  # fmt: skip
            if taken.setdefault(slot, service["name"]) != service["name"]:
                refuse("STK-441", f"{taken[slot]} and {service['name']} both want the GPU {slot}",
                       "give each service GPUs of its own in gpus")  # fmt: skip
    unsaid = [service["name"] for service in found if not service["gpus"]]
    if len(found) > 1 and unsaid and len(slots) > 1 and not found[0]["simulated"]:
        refuse("STK-441", f"{', '.join(unsaid)}: which of the host's {len(slots)} GPUs it gets is "
               "not said, and there are other services", "set gpus for each of them")  # fmt: skip
    for service in found:
        if service["rootless"] and service["runtime"] != "podman":
            refuse("STK-303", f"{service['name']}: rootless is for podman, the runtime is "
                   f"{service['runtime']}", "leave rootless out, or use podman")  # fmt: skip
    return problems
