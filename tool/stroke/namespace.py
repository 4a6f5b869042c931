"""Root over the files that a command makes, whoever runs it."""

from __future__ import annotations

import os

from stroke.errors import StrokeError
from stroke.process import missing_tools, run, which

_USER = ("--user", "--map-root-user", "--map-auto")


def as_root() -> list[str]:
    """A command prefix: owners and mounts of its own; the mounts end with the command.

    Without it a build that is killed would leave /proc and /sys mounted inside the tree that is
    removed next.
    """
    if os.geteuid() == 0:
        return ["unshare", "--mount", "--"]
    if which("newuidmap") is None:
        raise missing_tools(["newuidmap"])
    prefix = ["unshare", *_USER, "--mount", "--"]
    attempt = run([*prefix, "true"], check=False)
    if attempt.returncode != 0:
        raise StrokeError(
            "this user cannot have a user namespace of its own, which building without root needs"
            f" ({attempt.stderr.strip()})",
            code="STK-701",
            hint='sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$USER",'
            " or run stroke sandbox as root",
        )
    return prefix
