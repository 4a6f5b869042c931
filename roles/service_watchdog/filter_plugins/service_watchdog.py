"""What the watchdog is told of each service, and which settings make no sense. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

Json = dict[str, Any]

# Bounds of the settings, in their own units.
BOUNDS = {
    "timeout": (1, 120),
    "failures": (1, 100),
    "backoff": (0, 86400),
    "restarts_per_day": (0, 100),
    "evidence_keep": (1, 1000),
    "evidence_mib": (1, 10240),
}
INTERVAL = (5, 3600)
KEY_FILE = "/etc/stroke/secrets/{name}/api_key"


def _config(service: Json, limits: Json) -> Json:
    name = str(service["name"])
    return {
        "service": name,
        "unit": str(service.get("unit") or f"{name}.service"),
        "container": str(service.get("container") or name),
        "runtime": str(service.get("runtime") or "podman"),
        "user": str(service.get("user") or ""),
        "url": str(service["url"]),
        "model": str(service.get("model") or ""),
        "key_file": str(service.get("key_file") or KEY_FILE.format(name=name)),
        "start_seconds": int(service.get("start_seconds") or 1800),
        "progress": list(service.get("progress") or []),
        **limits,
    }


def watchdog_settings(services: list[Json], limits: Json, directory: str) -> dict[str, str]:
    """Path → content of one settings file for each service."""
    configs = [_config(service, limits) for service in services]
    return {
        f"{directory}/{config['service']}.json": json.dumps(config, indent=2, sort_keys=True) + "\n"
        for config in configs
    }


def watchdog_manifest(content: dict[str, str], timers: list[str], state: str) -> list[Json]:
    """Items of the manifest: every file by its content, every timer enabled and active."""
    own: Json = {"role": "service_watchdog", "stage": "serve"}
    gone: Json = {"state": "absent"} if state == "absent" else {}
    why = "an endpoint that is up but produces nothing is noticed, recorded and restarted"
    files = [
        {**own, "kind": "file", "path": path, "content": text, "mode": "0644", "owner": "root",
         "group": "root", "reason": why, **gone}
        for path, text in content.items()
    ]  # fmt: skip
    units = [
        {**own, "kind": "unit", "name": timer, "active": True, "enabled": True,
         "reason": why, **gone}
        for timer in timers
    ]  # fmt: skip
    return files + units


def watchdog_problems(services: list[Json], limits: Json, interval: int) -> list[Json]:
    """Settings that no watchdog can work with."""
    values = {"interval": (interval, INTERVAL)}
    values |= {name: (int(limits[name]), bounds) for name, bounds in BOUNDS.items()}
    problems = [
        {
            "code": "STK-303",
            "what": f"service_watchdog_{name} is {value}, which is not between {low} and {high}",
            "hint": "docs/watchdog.md explains the settings",
        }
        for name, (value, (low, high)) in values.items()
        if not low <= value <= high
    ]
    for service in services:
        lacking = [key for key in ("name", "url") if not service.get(key)]
        if lacking or not re.fullmatch(r"[A-Za-z0-9_.:-]+", str(service.get("name"))):
            problems.append(
                {
                    "code": "STK-303",
                    "what": "an entry of service_watchdog_services lacks a url or a unit's name",
                    "hint": "leave the variable to the playbooks, which fill it in",
                }
            )
    return problems


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "watchdog_settings": watchdog_settings,
            "watchdog_manifest": watchdog_manifest,
            "watchdog_problems": watchdog_problems,
        }
