"""Read-only programs of the running machine: what they print."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess

from .files import Host

SECONDS = 60


def as_user(name: str | None, *words: str) -> tuple[str, ...]:
    """The command as another user runs it in that user's own session, with root's rights needed.

    LookupError for a login that does not exist.
    """
    if name is None:
        return words
    login = pwd.getpwnam(name)
    settings = (f"HOME={login.pw_dir}", f"XDG_RUNTIME_DIR=/run/user/{login.pw_uid}")
    return ("runuser", "-u", name, "--", "env", "--chdir=/", *settings, *words)


def run(host: Host, *words: str, exit_code_answers: bool = False) -> str | None:
    """Standard output; None where there is no such program, or the root is a fixture.

    A program that fails and prints nothing is noted as unreadable, unless its exit code is part
    of the answer, as rpm's is: it counts the names that it does not know.
    """
    program = shutil.which(words[0]) if host.live else None
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, *words[1:]], capture_output=True, timeout=SECONDS, check=False,
            encoding="utf-8", errors="replace", env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        host.cannot(" ".join(words[:2]), error)
        return None
    if done.returncode != 0 and not done.stdout.strip() and not exit_code_answers:
        host.cannot(" ".join(words[:2]), done.stderr.strip()[:200] or f"exit {done.returncode}")
    return done.stdout
