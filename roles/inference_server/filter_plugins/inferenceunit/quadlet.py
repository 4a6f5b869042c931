"""A service as a Podman Quadlet file, for the system's systemd or for that of the service user."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from . import unit
from .container import cdi_devices, container, devices
from .words import numbers, quoted, systemd_literal, systemd_word

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


def _identity(settings: Json) -> Iterator[tuple[str, str]]:
    """Who the engine is: the service user by number, or, without root, what is mapped to it.

    Root of a rootless container is the service user outside. Another user inside would have
    Podman copy every layer of the image with shifted owners: 25 GB for vLLM's.
    """
    if settings["rootless"]:
        yield "User", "0"
        yield "Group", "0"
        yield "GroupAdd", "keep-groups"
        return
    yield "User", str(settings["identity"]["uid"])
    yield "Group", str(settings["identity"]["gid"])
    for gid in settings["identity"]["groups"]:
        yield "GroupAdd", str(gid)


def _lines(settings: Json, made: Json) -> Iterator[tuple[str, str]]:
    health = systemd_literal(json.dumps(made["health"]))
    yield "ContainerName", made["name"]
    yield "Image", made["image"]
    yield "Pull", "never"
    yield "Exec", " ".join(systemd_word(word) for word in made["arguments"])
    yield from _identity(settings)
    for device in cdi_devices(settings) or devices(settings):
        yield "AddDevice", device
    yield "DropCapability", "all"
    yield "NoNewPrivileges", "true"
    if made["read_only"]:
        yield "ReadOnly", "true"
        for directory in made["tmpfs"]:
            yield "Tmpfs", directory
    if made["shm_size"]:
        yield "ShmSize", made["shm_size"]
    yield "PidsLimit", "0"  # the service's TasksMax counts them
    for source, target, option in made["volumes"]:
        yield "Volume", f"{source}:{target}{':' + option if option else ''}"
    yield "PublishPort", made["publish"]
    for name, value in sorted(made["environment"].items()):
        yield "Environment", systemd_word(f"{name}={value}")
    yield "HealthCmd", health
    # Asked often until the first answer, then seldom: the unit is active as soon as it can be.
    yield "HealthStartupCmd", health
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
    yield "StopTimeout", str(made["stop_seconds"])
    for key, label in made["labels"].items():
        yield "Label", f"{key}={label}"


def _sections(settings: Json, made: Json, lines: list[tuple[str, str]], modern: bool) -> Json:
    """A user's systemd has no network-online.target; Podman's generator waits for the system's."""
    rootless = settings["rootless"]
    mandatory = [path for path in devices(settings) if not path.startswith("-")]
    drain = unit.drain_command("/usr/bin/podman", made)
    network = [("Wants", "network-online.target"), ("After", "network-online.target")]
    return {
        "Unit": [
            ("Description", unit.description(settings)),
            *([] if rootless else network),
            ("StartLimitIntervalSec", str(unit.limit_interval(settings))),
            ("StartLimitBurst", str(unit.STARTS)),
        ],
        "Container": lines,
        "Service": [
            *([("ExecStartPre", f"/usr/bin/udevadm wait --timeout=120 {' '.join(mandatory)}")]
              if mandatory else []),
            *([] if modern
              else [("ExecStartPost", f"/usr/bin/podman wait --condition=healthy {made['name']}")]),
            *([("ExecStop", drain)] if drain else []),
            ("TasksMax", "4096"),
            ("Restart", "always"),
            ("RestartSec", "10"),
            ("TimeoutStartSec", str(settings["start_timeout"])),
            ("TimeoutStopSec", str(unit.stop_timeout(made))),
        ],
        "Install": [("WantedBy", "default.target" if rootless else "multi-user.target")],
    }  # fmt: skip


def quadlet(settings: Json) -> Json:
    """The file's text for the host's Podman, and a digest that changes with the container."""
    made = container(settings)
    modern = numbers(settings["podman"], (5, 0)) >= (5, 0)
    lines: list[tuple[str, str]] = []
    for key, value in _lines(settings, made):
        if modern or key not in NEWER_KEYS:
            lines.append((key, value))
        else:
            lines.append(("PodmanArgs", quoted(f"{NEWER_KEYS[key]}={value}")))
    if modern:
        lines.append(("Notify", "healthy"))
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    lines.append(("Label", f"stroke.config={digest}"))
    return {"text": unit.text(_sections(settings, made, lines, modern)), "digest": digest,
            "container": [list(line) for line in lines]}  # fmt: skip
