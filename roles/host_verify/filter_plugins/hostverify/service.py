"""The unit, its container and what the endpoint answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .check import Judge

Json = dict[str, Any]


def journal(service: Json) -> str:
    """The command that shows what the service says."""
    return f"journalctl {'_SYSTEMD_USER_UNIT=' if service['rootless'] else '-u '}{service['unit']}"


def unit(service: Json, judge: Judge) -> Iterator[Json]:
    """State of the unit and of its container."""
    seen = service["seen"]
    properties, container = seen.get("unit") or {}, seen.get("container") or {}
    state = properties.get("ActiveState") or "unknown"
    said = f"{service['unit']} is {state}"
    yield judge.check("V401", state == "active", "active", said, journal(service))
    target = "default.target" if service["rootless"] else "multi-user.target"
    wanted_by = properties.get("WantedBy") or ""
    good = target in wanted_by.split()
    found = f"wanted by {wanted_by or 'nothing'}"
    yield judge.check("V402", good, f"wanted by {target}", found, "stroke provision")
    restarts = int(properties.get("NRestarts") or 0)
    found = f"restarted by systemd {restarts} times since it was started"
    yield judge.check("V403", restarts == 0, "no restart", found, journal(service), warn=True)
    health = ((container.get("State") or {}).get("Health") or {}).get("Status") or "unknown"
    found = f"its own completion in the container: {health}"
    yield judge.check("V404", health == "healthy", "healthy", found, journal(service))
    if service["digest"]:
        label = ((container.get("Config") or {}).get("Labels") or {}).get("stroke.config")
        good = label == service["digest"]
        found = f"the container runs {'the wanted' if good else 'another'} configuration"
        yield judge.check("V405", good, service["digest"][:12], found, "stroke provision")


def endpoint(service: Json, judge: Judge) -> Iterator[Json]:
    """A completion, the model's name, and whether the key is asked for."""
    answer = service["completion"]
    tokens, model = answer["tokens"], service["model"]
    found = answer["error"] or "the answer has no tokens"
    if tokens:
        found = f"{tokens} tokens in {answer['seconds']} s: {answer['text'][:60]!r}"
        found += "" if answer["chat"] else " (no chat: the model has no chat template)"
    yield judge.check("V501", bool(tokens), "a completion", found, journal(service))
    if tokens:
        named = answer["model"]
        said = f"the endpoint answers as {named}"
        yield judge.check("V502", named == model, model, said, "stroke provision")
    seen = service["seen"]
    if seen.get("has_key"):
        code = seen.get("status_without_key")
        said = f"HTTP status {code or 'unknown'} without the key"
        yield judge.check("V503", code in (401, 403), "401 or 403", said, "stroke provision")
