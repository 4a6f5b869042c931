"""A service as a systemd unit around `docker run`, and as a file for `docker compose`."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Any

import yaml

from . import unit
from .container import cdi_devices, container, devices
from .words import numbers, quoted, systemd_literal, systemd_word

Json = dict[str, Any]

# Since this version the interval of health checks may be short until the first good one.
START_INTERVAL_SINCE = (25, 0)
# Since this version the daemon reads CDI specifications without being told to.
CDI_SINCE = (28, 2)
# Answered by nobody but the daemon itself: is the container of this start ready?
READY = "{{.State.Health.Status}}"


def _nodes(settings: Json) -> list[str]:
    """Docker knows no optional devices: what a simulated host may lack is left out."""
    version = numbers(settings["docker"], (26, 0))
    named = cdi_devices(settings, version >= CDI_SINCE)
    return named or [path for path in devices(settings) if not path.startswith("-")]


def _run(settings: Json, made: Json) -> list[str]:
    identity = settings["identity"]
    words = ["--name", made["name"], "--pull", "never", "--user",
             f"{identity['uid']}:{identity['gid']}"]  # fmt: skip
    for gid in identity["groups"]:
        words += ["--group-add", str(gid)]
    for device in _nodes(settings):
        words += ["--device", device]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    if made["read_only"]:
        words += ["--read-only"]
        for directory in made["tmpfs"]:
            words += ["--tmpfs", directory]
    if made["shm_size"]:
        words += ["--shm-size", made["shm_size"]]
    words += ["--pids-limit", "4096"]
    for source, target, option in made["volumes"]:
        words += ["--volume", f"{source}:{target}{':' + option if option else ''}"]
    words += ["--publish", made["publish"]]
    for name, value in sorted(made["environment"].items()):
        words += ["--env", f"{name}={value}"]
    words += [
        *("--health-cmd", shlex.join(made["health"])),
        *("--health-interval", "30s", "--health-timeout", "90s", "--health-retries", "3"),
        *("--health-start-period", f"{settings['start_timeout']}s"),
    ]
    if numbers(settings["docker"], (26, 0)) >= START_INTERVAL_SINCE:
        words += ["--health-start-interval", "5s"]
    # The unit's own journal has the engine's words, and systemd alone starts it again.
    words += ["--log-driver", "none", "--restart", "no"]
    words += ["--stop-timeout", str(made["stop_seconds"])]
    for key, label in made["labels"].items():
        words += ["--label", f"{key}={label}"]
    return words


def _wait(name: str) -> str:
    """Until the first completion. Ends as soon as docker-run has ended: that start has failed."""
    ask = shlex.join(["/usr/bin/docker", "container", "inspect", "--format", READY, name])
    loop = (
        f'while kill -0 "$MAINPID"; do [ "$({ask} 2>/dev/null)" = healthy ] && exit 0; '
        "sleep 2; done; exit 1"
    )
    return f"/bin/sh -c {quoted(systemd_literal(loop).replace('$$MAINPID', '$MAINPID'))}"


def docker_unit(settings: Json) -> Json:
    """The unit's text, and a digest that changes with the container."""
    made = container(settings)
    words = _run(settings, made)
    after = [made["image"], *made["arguments"]]
    digest = hashlib.sha256(json.dumps([*words, *after]).encode()).hexdigest()
    words += ["--label", f"stroke.config={digest}"]
    name = made["name"]
    mandatory = [path for path in devices(settings) if not path.startswith("-")]
    drain = unit.drain_command("/usr/bin/docker", made)
    command = " ".join(systemd_word(word) for word in ["/usr/bin/docker", "run", *words, *after])
    sections = {
        "Unit": [
            ("Description", unit.description(settings)),
            ("Requires", "docker.service"),
            ("Wants", "network-online.target"),
            ("After", "docker.service network-online.target"),
            ("StartLimitIntervalSec", str(unit.limit_interval(settings))),
            ("StartLimitBurst", str(unit.STARTS)),
        ],
        "Service": [
            *([("ExecStartPre", f"/usr/bin/udevadm wait --timeout=120 {' '.join(mandatory)}")]
              if mandatory else []),
            # The last container stays until now: it says how it ended.
            ("ExecStartPre", f"-/usr/bin/docker container rm --force {name}"),
            ("ExecStart", command),
            ("ExecStartPost", _wait(name)),
            *([("ExecStop", drain)] if drain else []),
            ("ExecStop", f"-/usr/bin/docker container stop -t {made['stop_seconds']} {name}"),
            ("ExecStopPost", f"-/usr/bin/docker container stop -t 10 {name}"),
            ("SuccessExitStatus", "143"),  # an engine that SIGTERM ended did what it was told
            ("Restart", "always"),
            ("RestartSec", "10"),
            ("TimeoutStartSec", str(settings["start_timeout"])),
            ("TimeoutStopSec", str(unit.stop_timeout(made))),
        ],
        "Install": [("WantedBy", "multi-user.target")],
    }  # fmt: skip
    return {"text": unit.text(sections), "digest": digest, "container": []}


def compose(settings: list[Json]) -> str:
    """The same services for people who run `docker compose` by themselves."""

    def literal(text: Any) -> str:
        return str(text).replace("$", "$$")  # what Compose would fill in

    services: Json = {}
    for one in settings:
        made = container(one)
        health = {
            "test": ["CMD", *map(literal, made["health"])],
            "interval": "30s", "timeout": "90s", "retries": 3,
            "start_period": f"{one['start_timeout']}s",
        }  # fmt: skip
        service: Json = {
            "container_name": made["name"],
            "image": made["image"],
            "pull_policy": "never",
            "command": [literal(word) for word in made["arguments"]],
            "user": f"{one['identity']['uid']}:{one['identity']['gid']}",
            "group_add": [str(gid) for gid in one["identity"]["groups"]],
            "devices": _nodes(one),
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "read_only": made["read_only"],
            "tmpfs": made["tmpfs"],
            "pids_limit": 4096,
            "volumes": [":".join(part for part in volume if part) for volume in made["volumes"]],
            "ports": [made["publish"]],
            "environment": {k: literal(v) for k, v in sorted(made["environment"].items())},
            "healthcheck": health,
            "labels": made["labels"],
            "restart": f"on-failure:{unit.STARTS}",
            "stop_grace_period": f"{made['stop_seconds']}s",
        }
        if made["shm_size"]:
            service["shm_size"] = made["shm_size"]
        services[made["name"]] = {key: value for key, value in service.items() if value != []}
    # Ansible hands over texts that know where they came from, which YAML takes for objects.
    plain = json.loads(json.dumps({"name": "stroke", "services": services}))
    document = yaml.safe_dump(plain, sort_keys=False, width=100)
    return f"{unit.HEADER}\n{document}"
