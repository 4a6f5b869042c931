"""Programs of the host, each with a limit of time and of output: what they print, or why not."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from typing import Any

SECONDS = 15
PROPERTIES = (
    "ActiveState,SubState,Result,ExecMainStatus,ExecMainCode,MainPID,NRestarts,InvocationID,"
    "ControlGroup,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic"
)


class Host:
    """The machine as the watchdog sees it; `user` is the login of a rootless service's manager."""

    def __init__(self, user: str = "") -> None:
        self.manager = ["systemctl"]
        self.prefix: list[str] = []
        self.uid: int | None = None
        if user:
            login = pwd.getpwnam(user)
            self.uid = login.pw_uid
            # Podman finds its images by HOME, which runuser leaves as it is.
            session = [f"HOME={login.pw_dir}", f"XDG_RUNTIME_DIR=/run/user/{login.pw_uid}"]
            self.prefix = ["runuser", "--user", user, "--", "env", *session]
            self.manager = [*self.prefix, "systemctl", "--user"]

    def say(self, *words: str, seconds: float = SECONDS) -> str:
        """Standard output and error of a program; a sentence where it did not run to its end."""
        try:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                check=False, stdin=subprocess.DEVNULL, cwd="/",
                encoding="utf-8", errors="replace", env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"({words[0]} did not end within {seconds:.0f} s)\n"
        except OSError as problem:
            return f"({words[0]}: {problem.strerror})\n"
        return done.stdout

    def unit(self, name: str) -> dict[str, str]:
        """Properties of a unit; empty where systemd does not answer."""
        text = self.say(*self.manager, "show", f"--property={PROPERTIES}", "--", name)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def restart(self, name: str) -> str:
        """Ask systemd for a restart without waiting: a model may take half an hour to load."""
        return self.say(*self.manager, "--no-block", "restart", "--", name).strip()

    def inspect(self, runtime: str, container: str) -> dict[str, Any]:
        """What the runtime knows of a container; empty where there is none."""
        text = self.say(*self.prefix, runtime, "container", "inspect", container)
        try:
            found = json.loads(text)[0]
        except (ValueError, LookupError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}
