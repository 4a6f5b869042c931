"""What must not become an inference unit, and why a unit does not start, as problems with codes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

UNIT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,254}")
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,190}")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_NAME = re.compile(r"(TOKEN|API_KEY|PASSWORD|SECRET)$")
HOST_PATH = re.compile(r"(/[A-Za-z0-9._@+-]+)+")
DIGEST = re.compile(r"[A-Za-z0-9._/:-]*")
PODMAN_EVENT = re.compile(r"\d{4}-\d\d-\d\d .* m=\+|time=.* level=warning|[0-9a-f]{64}$")
SECRET_ARGUMENTS = {"--api-key", "--hf-token"}


def unsafe_text(text: str) -> bool:
    """Whether the text has characters that end a line or are invisible."""
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def _problem(code: str, what: str, hint: str) -> Json:
    return {"code": code, "what": what, "hint": hint}


def _runtime_problems(settings: Json) -> Iterator[Json]:
    """Settings of the runtime that contradict each other or the host."""
    if settings["cdi"] == "true" and not settings["cdi_devices"]:
        yield _problem(
            "STK-443",
            "inference_server_cdi is true, but the host describes no devices for CDI",
            "on the host run amd-ctk cdi generate --output=/etc/cdi/amd.json, or set it to auto",
        )


def _named_problems(settings: Json) -> Iterator[Json]:
    prefix = "inference_server_"
    for key, pattern in (("name", UNIT_NAME), ("image", REFERENCE), ("model", MODEL_NAME)):
        value = str(settings[key] or "")
        if not pattern.fullmatch(value):
            what = f"{prefix}{key} is {value!r}" if value else f"{prefix}{key} is not set"
            yield _problem("STK-302", what, f"it has to match {pattern.pattern}")
    for key, pattern in (
        ("models_path", HOST_PATH),
        ("cache_path", HOST_PATH),
        ("model_digest", DIGEST),
    ):
        if not pattern.fullmatch(settings[key] or ""):
            hint = f"it has to match {pattern.pattern}"
            yield _problem("STK-302", f"{prefix}{key} is {settings[key]!r}", hint)
    served = settings["served_model_name"]
    if served and not MODEL_NAME.fullmatch(served):
        hint = f"it has to match {MODEL_NAME.pattern}"
        yield _problem("STK-302", f"{prefix}served_model_name is {served!r}", hint)
    try:
        ipaddress.ip_address(settings["bind"])
    except ValueError:
        hint = "give an address of the host, for example 127.0.0.1"
        yield _problem("STK-302", f"{prefix}bind is {settings['bind']!r}, not an IP address", hint)
    if not 1 <= settings["port"] <= 65535:
        hint = "give a number from 1 to 65535"
        yield _problem("STK-302", f"{prefix}port is {settings['port']}", hint)


def _argument_problems(settings: Json) -> Iterator[Json]:
    definition = settings["definition"]
    exposed = "every user of the host can read units; keep to loopback and put a proxy before it"
    for word in map(str, settings["extra_args"]):
        flag, where = word.split("=", 1)[0], "in inference_server_extra_args"
        if flag in definition["removed"]:
            yield _problem(
                "STK-303", f"{flag} {where}: {definition['removed'][flag]}", "leave it out"
            )
        elif flag in definition["managed"]:
            hint = f"set {definition['managed'][flag]} instead"
            yield _problem("STK-303", f"{flag} {where} is set by stroke", hint)
        elif flag in SECRET_ARGUMENTS:
            yield _problem("STK-303", f"{flag} {where} is a secret", exposed)
        elif unsafe_text(word):
            yield _problem("STK-302", f"{word!r} {where} has control characters", "write one line")
    for name, value in settings["extra_env"].items():
        where = "in inference_server_extra_env"
        if name in definition["removed"]:
            yield _problem(
                "STK-303", f"{name} {where}: {definition['removed'][name]}", "leave it out"
            )
        elif SECRET_NAME.search(str(name)):
            yield _problem("STK-303", f"{name} {where} is a secret", exposed)
        elif not ENVIRONMENT_NAME.fullmatch(str(name)) or unsafe_text(str(value)):
            hint = "names have letters, digits and underscores; values are one line"
            yield _problem("STK-302", f"{name} {where} cannot be passed on", hint)


def inference_problems(settings: Json, archive: Json) -> list[Json]:
    """Why this unit must not be rendered; an unreadable archive is told before anything else."""
    if archive.get("problem"):
        what = f"image archive {archive['path']}: {archive['problem']}"
        hint = "write it again: podman save --format oci-archive -o FILE IMAGE"
        return [_problem("STK-405", what, hint)]
    found = [*_named_problems(settings), *_runtime_problems(settings)]
    return [*found, *_argument_problems(settings)]


def start_problem(name: str, journal: str, back: str = "") -> Json:
    """Why the service does not start: the end of its journal without Podman's own events.

    `back` says whether the service from before was started again: serves, failed, or was not.
    """
    lines = [line for line in journal.splitlines() if line.strip() and not PODMAN_EVENT.match(line)]
    what = f"{name}.service does not start; its journal ends with:"
    if back == "serves":
        what = f"{name}.service did not become ready; the one before serves again. Why:"
    elif back == "failed":
        what = f"{name}.service does not start, and neither does the one from before. Why:"
    return _problem(
        "STK-605" if back == "serves" else "STK-601",
        "\n  ".join([what, *lines[-12:]]),
        f"on the host run journalctl -u {name}.service",
    )


def generator_problem(path: str, answer: Json) -> Json:
    """Why the host's generator drops the unit, without the names of files that are already gone."""
    words = [
        line.split("]: ", 1)[-1]
        for line in str(answer.get("stderr") or answer.get("msg") or "no answer").splitlines()
        if "Loading source unit file" not in line
    ]
    what = f"Podman's generator does not accept {path}: {' '.join(words).strip()}"
    hint = "a setting has no place in a unit of this Podman; podman --version tells which one it is"
    return _problem("STK-603", what, hint)


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "inference_problems": inference_problems,
            "generator_problem": generator_problem,
            "start_problem": start_problem,
        }
