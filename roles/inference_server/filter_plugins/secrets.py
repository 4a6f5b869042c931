"""The API key of a service: whether it needs one, where it comes from, which files carry it.

The key itself is only in values that no task prints. Everything else here is paths and decisions.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import runpy
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ROOT = "/etc/stroke/secrets"
INSIDE = "/run/stroke"
KEY_FILE = "api_key"

# Filter plugins cannot import each other by name: Ansible loads each one from its path.
_given = runpy.run_path(
    os.fspath(Path(__file__).parents[2] / "gpu_facts" / "filter_plugins" / "secret_values.py")
)
KEY: re.Pattern[str] = _given["SECRET"]
given_secret: Callable[..., Json] = _given["given_secret"]
secret_look: Callable[..., Json] = _given["secret_look"]


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # refused elsewhere, with a better reason


def api_key(value: Any, file: str | None, bind: str, exposed: bool) -> Json:
    """Whether the service has a key (`wanted`), the given one (`value`) and what is wrong with it.

    A service that others than the host itself can reach gets a key of its own if none is given.
    """
    given = given_secret(value, file, "inference_server_api_key")
    return given | {"wanted": bool(given["value"] or exposed or not _loopback(bind))}


def service_key(service: Json, value: Any) -> Json:
    """The same for one service of the host; `value` is the key that the variable has for all.

    An entry of inference_servers that names a file of its own has nothing to do with the variable.
    """
    file, bind = service["api_key_file"], str(service["bind"])
    return api_key(None if service["own_key"] else value, file, bind, service["exposed"])


def usable_key(given: str | None, slurped: Json) -> str:
    """The given key, else the one that the host has, else a new one."""
    if given:
        return given
    try:
        kept = base64.b64decode(slurped.get("content") or "").decode("ascii").strip()
    except ValueError:
        kept = ""
    return kept if KEY.fullmatch(kept) else secrets.token_urlsafe(32)


def is_new_key(key: str, slurped: Json) -> bool:
    """Whether the host does not have exactly this key."""
    return usable_key(None, slurped) != key


def _files(settings: Json) -> dict[str, str]:
    """File names to what is in them, {key} standing for the key."""
    wanted = (settings["definition"].get("secrets") or {}).get(KEY_FILE) or {}
    return {KEY_FILE: "{key}\n"} | dict(wanted.get("files") or {})


def inference_secrets(settings: Json) -> Json:
    """What the unit needs for its key: arguments, variables, and files to mount read-only."""
    wanted = (settings["definition"].get("secrets") or {}).get(KEY_FILE)
    if not settings.get("api_key") or not wanted:
        return {"arguments": [], "environment": {}, "mounts": []}
    folder = f"{ROOT}/{settings['name']}"
    return {
        "arguments": [str(word) for word in wanted["arguments"]],
        "environment": dict(wanted.get("environment") or {}),
        "mounts": [[f"{folder}/{name}", f"{INSIDE}/{name}"] for name in _files(settings)],
    }


def secret_files(settings: Json, key: str = "{key}") -> list[Json]:
    """The files of the service's directory, with their contents when the key is given."""
    folder = f"{ROOT}/{settings['name']}"
    return [{"path": f"{folder}/{name}", "content": content.replace("{key}", key)}
            for name, content in _files(settings).items()]  # fmt: skip


def secret_items(settings: Json, user: str) -> list[Json]:
    """The manifest's items; contents are compared on the host, by `secret_looks`."""
    folder = f"{ROOT}/{settings['name']}"
    base = {"role": "inference_server", "stage": "serve"}
    if not settings.get("api_key"):
        gone = {"kind": "directory", "path": folder, "state": "absent"}
        return [base | gone | {"reason": "the service is on loopback and has no key"}]
    root = {"owner": "root", "group": "root"}
    # The engine of a rootless service is started by its user, who has to get to the files.
    closed = {"mode": "0710", "owner": "root", "group": user} if settings.get("rootless") else (
        {"mode": "0700"} | root)  # fmt: skip
    why = "requests need the key that is in it"
    places: list[Json] = [
        base | root | {"kind": "directory", "path": ROOT, "mode": "0711", "reason": "has secrets"},
        base | closed | {"kind": "directory", "path": folder, "reason": why},
    ]
    mine = {"kind": "file", "mode": "0400", "owner": user, "group": "root", "opaque": True}
    return places + [base | mine | {"path": file["path"], "reason": why}
                     for file in secret_files(settings)]  # fmt: skip


def secret_looks(services: list[Json], value: Any, formats: dict[str, str]) -> list[Json]:
    """The questions about the files of each service, whatever engine of the catalogue it has."""
    looks = []
    for service in services:
        folder = f"{ROOT}/{service['name']}"
        derived = {f"{folder}/{file}": text for file, text in formats.items()}
        looks.append(
            secret_look(f"{folder}/{KEY_FILE}", service_key(service, value)["value"], derived)
        )
    return looks


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "service_key": service_key,
            "usable_key": usable_key,
            "is_new_key": is_new_key,
            "inference_secrets": inference_secrets,
            "secret_files": secret_files,
            "secret_items": secret_items,
            "secret_looks": secret_looks,
        }
