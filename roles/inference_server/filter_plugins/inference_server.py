"""What the inference unit is made of: engine data and the user's settings become Quadlet lines.

Pure: no I/O. What must not be rendered is refused by refusals.py first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


# Keys that Quadlet learnt after Podman 4.4, and podman-run's option for Podmans before 5.0.
NEWER_KEYS = {
    "GroupAdd": "--group-add",
    "HealthCmd": "--health-cmd",
    "HealthInterval": "--health-interval",
    "HealthOnFailure": "--health-on-failure",
    "HealthRetries": "--health-retries",
    "HealthStartPeriod": "--health-start-period",
    "HealthStartupCmd": "--health-startup-cmd",
    "HealthStartupInterval": "--health-startup-interval",
    "HealthStartupRetries": "--health-startup-retries",
    "HealthStartupSuccess": "--health-startup-success",
    "HealthStartupTimeout": "--health-startup-timeout",
    "HealthTimeout": "--health-timeout",
    "LogDriver": "--log-driver",
    "PidsLimit": "--pids-limit",
    "Pull": "--pull",
    "ShmSize": "--shm-size",
    "StopTimeout": "--stop-timeout",
    "Tmpfs": "--tmpfs",
}


def service_identity(facts: Json, user: str, groups: list[str], getent: Json | None) -> Json:
    """Numeric ids of the service user: from a fresh look-up if there was one, else from the facts.

    Ids that nobody can know yet (a host before its first run) are told as a placeholder.
    """
    if getent:
        entry = getent["passwd"].get(user)
        ids = {name: fields[1] for name, fields in getent["group"].items() if fields}
        uid, gid = (entry[1], entry[2]) if entry else (None, None)
    else:
        known = (facts.get("users") or {}).get(user) or {}
        uid, gid, ids = known.get("uid"), known.get("gid"), facts["groups"]
    unknown = f"(id of {user})"
    return {
        "known": uid is not None,
        "uid": unknown if uid is None else int(uid),
        "gid": unknown if gid is None else int(gid),
        "groups": [int(ids[n]) if ids.get(n) is not None else f"(id of {n})" for n in groups],
    }


def model_directory_name(model: str) -> str:
    """Name in the model store: a Hugging Face id has a slash, which a file name cannot have."""
    return model.replace("/", "--")


def _unsafe(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def systemd_literal(text: str) -> str:
    """Text that neither systemd's specifiers nor its variables change."""
    if _unsafe(text):
        raise ValueError(f"{text!r} has control characters")
    return text.replace("%", "%%").replace("$", "$$")


def systemd_word(text: str) -> str:
    """One word of a command line or of an assignment list, quoted where systemd would split it."""
    return _quoted(systemd_literal(text))


def _quoted(literal: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", literal):
        return literal
    escaped = literal.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _engine(settings: Json) -> tuple[list[str], dict[str, str], list[str]]:
    """Arguments, environment and health command with every placeholder filled in."""
    definition = settings["definition"]
    variants = definition.get("variants", {})
    gpu = variants.get(settings.get("gfx") or "gpu", variants.get("gpu", {}))
    variant = variants.get("simulated", {}) if settings["simulated"] else gpu
    values = {
        "{model}": f"/models/{model_directory_name(settings['model'])}",
        "{served_name}": settings["served_model_name"] or settings["model"],
        "{address}": "0.0.0.0",  # noqa: S104  inside the container; PublishPort says who gets there  # nosec B104
        "{port}": str(definition["port"]),
    }

    def fill(text: Any) -> str:
        result = str(text)
        for name, value in values.items():
            result = result.replace(name, value)
        return result

    arguments = [fill(word) for word in definition["arguments"] + variant.get("arguments", [])]
    environment = definition["environment"] | variant.get("environment", {})
    return (
        arguments + [str(word) for word in settings["extra_args"]],
        {name: fill(value) for name, value in environment.items()}
        | {name: str(value) for name, value in settings["extra_env"].items()},
        [fill(word) for word in definition["health"]],
    )


def _devices(settings: Json) -> list[str]:
    """GPU nodes; on a simulated host only an optional kfd, so that no GPU is no failure."""
    if settings["simulated"]:
        return ["-/dev/kfd"]
    gfx = settings.get("gfx")  # an integrated GPU beside the real one stays outside
    nodes = [
        gpu["render_node"]
        for gpu in settings["gpus"]
        if gpu.get("render_node") and gpu.get("gfx") in (gfx, None)
    ]
    return ["/dev/kfd", *nodes]


def _container(settings: Json) -> Iterator[tuple[str, str]]:
    definition, identity = settings["definition"], settings["identity"]
    arguments, environment, health = _engine(settings)
    secrets = settings.get("secrets") or {}
    arguments = arguments + secrets.get("arguments", [])
    address = f"[{settings['bind']}]" if ":" in settings["bind"] else settings["bind"]
    yield "ContainerName", settings["name"]
    yield "Image", settings["image"]
    yield "Pull", "never"
    yield "Exec", " ".join(systemd_word(word) for word in arguments)
    yield "User", str(identity["uid"])
    yield "Group", str(identity["gid"])
    for gid in identity["groups"]:
        yield "GroupAdd", str(gid)
    for device in _devices(settings):
        yield "AddDevice", device
    yield "DropCapability", "all"
    yield "NoNewPrivileges", "true"
    if definition["read_only"]:
        yield "ReadOnly", "true"
        for directory in definition["tmpfs"]:
            yield "Tmpfs", directory
    if definition["shm_size"]:
        yield "ShmSize", definition["shm_size"]
    yield "PidsLimit", "0"  # the service's TasksMax counts them
    yield "Volume", f"{settings['models_path']}:/models:ro"
    yield "Volume", f"{settings['cache_path']}:/cache"
    for outside, inside in secrets.get("mounts", []):
        yield "Volume", f"{outside}:{inside}:ro"
    yield "PublishPort", f"{address}:{settings['port']}:{definition['port']}"
    for name, value in sorted(environment.items()):
        yield "Environment", systemd_word(f"{name}={value}")
    yield "HealthCmd", systemd_literal(json.dumps(health))
    # Asked often until the first answer, then seldom: the unit is active as soon as it can be.
    yield "HealthStartupCmd", systemd_literal(json.dumps(health))
    yield "HealthStartupInterval", "5s"
    yield "HealthStartupTimeout", "90s"
    yield "HealthStartupRetries", "0"
    yield "HealthStartupSuccess", "1"
    yield "HealthInterval", "30s"
    yield "HealthTimeout", "90s"
    yield "HealthRetries", "3"
    yield "HealthStartPeriod", f"{settings['start_timeout']}s"
    yield "HealthOnFailure", "none"
    yield "LogDriver", "journald"
    yield "StopTimeout", str(definition["stop_seconds"])
    if settings["image_id"]:
        yield "Label", f"stroke.image={settings['image_id']}"
    if settings["model_digest"]:
        yield "Label", f"stroke.model={settings['model_digest']}"


def inference_unit(settings: Json) -> Json:
    """The [Container] lines for the host's Podman, and a digest that changes with any of them."""
    modern = _version(settings["podman"]) >= (5, 0)
    lines: list[list[str]] = []
    for key, value in _container(settings):
        if modern or key not in NEWER_KEYS:
            lines.append([key, value])
        else:
            lines.append(["PodmanArgs", _quoted(f"{NEWER_KEYS[key]}={value}")])
    if modern:
        lines.append(["Notify", "healthy"])
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    return {
        "container": [*lines, ["Label", f"stroke.config={digest}"]],
        "digest": digest,
        "notify_healthy": modern,
        "devices": [path for path in _devices(settings) if not path.startswith("-")],
        "stop_timeout": settings["definition"]["stop_seconds"] + 15,
        # Five starts that each use all of their time still fall into the interval.
        "limit_interval": 5 * (settings["start_timeout"] + 30),
    }


def _version(text: str | None) -> tuple[int, ...]:
    """Podman's version; a host that has none yet gets a current one from the distribution."""
    numbers = re.findall(r"\d+", text or "")[:2]
    return tuple(int(number) for number in numbers) or (5, 0)


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "inference_unit": inference_unit,
            "service_identity": service_identity,
            "model_directory_name": model_directory_name,
        }
