"""Read-only programs: what they print, or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

SECONDS = 60


def run(words: list[str], user: dict[str, Any] | None = None) -> str:
    """Standard output of a program; empty where it is missing, fails to start or says nothing.

    `user` (name, uid, home) runs it as that user with the user's own home and runtime directory,
    which is where a rootless container and a user's unit live.
    """
    environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0"}
    if user:
        place = f"/run/user/{user['uid']}"
        words = ["runuser", "-u", user["name"], "--", "env", f"HOME={user['home']}",
                 f"XDG_RUNTIME_DIR={place}",
                 f"DBUS_SESSION_BUS_ADDRESS=unix:path={place}/bus", *words]  # fmt: skip
    program = shutil.which(words[0])
    if not program:
        return ""
    try:
        done = subprocess.run(
            [program, *words[1:]], capture_output=True, timeout=SECONDS, check=False,
            encoding="utf-8", errors="replace", env=environment, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
