"""The parts that every service has in its unit, whichever runtime starts the container."""

from __future__ import annotations

import shlex
from typing import Any

from .words import quoted, systemd_literal

Json = dict[str, Any]
HEADER = (
    "# Managed by stroke (role inference_server); changes are overwritten. "
    "Remove with: stroke remove"
)
# Starts that may fail in a row before the unit stays failed.
STARTS = 5


def stop_timeout(container: Json) -> int:
    """Seconds for each step of a stop: the requests in flight, then the engine's own end."""
    return int(container["stop_seconds"]) + 15


def limit_interval(settings: Json) -> int:
    """Starts that each use all of their time still fall into the interval."""
    return STARTS * (int(settings["start_timeout"]) + 30)


def description(settings: Json) -> str:
    return f"Inference server {settings['engine']} with {settings['model']}"


def drain_command(program: str, container: Json) -> str | None:
    """Waits on the host until the engine has no request in flight, or its time is over.

    For engines that cut their answers off on SIGTERM. The engine is asked inside its container: a
    host need not have a client. Words of the catalogue only: nothing of it comes from a user.
    """
    if not container["drain"]:
        return None
    asks = shlex.join([program, "exec", container["name"], *container["drain"]])
    loop = f"while {asks} | grep -qF {shlex.quote(container['busy'])}; do sleep 1; done"
    # The end of the time is no failure: the stop goes on either way.
    words = ["-/usr/bin/timeout", str(container["stop_seconds"]), "/bin/sh", "-c",
             quoted(systemd_literal(loop))]  # fmt: skip
    return " ".join(words)


def text(sections: dict[str, list[tuple[str, str]]]) -> str:
    """A unit file."""
    parts = [
        "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in lines)])
        for name, lines in sections.items()
    ]
    return f"{HEADER}\n" + "\n\n".join(parts) + "\n"
