"""Where the sandbox keeps what it builds once and what belongs to one guest."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_home() -> Path:
    """Things that can be built again: base disks, the engine's image, the model."""
    return _base("XDG_CACHE_HOME", ".cache") / "stroke"


def sandbox_home() -> Path:
    """One directory per guest, removed whole by `stroke sandbox down`."""
    return _base("XDG_STATE_HOME", ".local/state") / "stroke" / "sandbox"


def runtime_dir() -> str | None:
    """Where files of this login live in memory; None: in the system's temporary directory."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    return directory if directory and os.access(directory, os.W_OK) else None


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two runs at once never build or start the same thing twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever held it before may have removed the file: then this lock guards nothing.
            if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                yield
                return


@contextmanager
def built_whole(target: Path) -> Iterator[Path]:
    """Give a scratch directory that takes the target's name only if everything in it worked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
