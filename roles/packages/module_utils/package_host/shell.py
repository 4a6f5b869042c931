"""Programs of the host, run in plain English and without questions."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NamedTuple

PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# needrestart only lists: restarting services is nobody's wish in the middle of a run.
QUIET = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
SHOWN = 400


class Trouble(Exception):
    """A failure with a code of docs/errors.md, what is wrong, and what helps."""

    def __init__(self, code: str, what: str, hint: str) -> None:
        super().__init__(f"{code}: {what}. Hint: {hint}")


class Done(NamedTuple):
    """How a program ended, and what it said."""

    rc: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The last errors in one line: apt marks them with E:, dnf with Error:."""
        text = self.err.strip() or self.out.strip()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        marked = [line for line in lines if line.startswith(("E:", "Error", "error"))]
        # What follows dnf's word Error: is the reason, line by line.
        start = lines.index(marked[0]) if marked else max(0, len(lines) - 4)
        chosen = marked if marked and marked[0].startswith("E:") else lines[start:]
        return "; ".join(chosen)[:SHOWN]


class Shell:
    """Runs programs and waits for them."""

    def run(self, *words: str, stdin: str | None = None) -> Done:
        path = os.environ.get("PATH", "")
        done = subprocess.run(
            words,
            input=stdin if stdin is not None else "",
            capture_output=True,
            check=False,
            env={**os.environ, **QUIET, "PATH": f"{path}:{PATHS}" if path else PATHS},
            encoding="utf-8",
            errors="replace",
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def has(self, program: str) -> bool:
        return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{PATHS}") is not None
