"""Reading files of a host that may be partly unreadable, malformed or only a fixture tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Callable

# The dpkg status file of a large host is a few MiB; anything beyond this is not what we expect.
LIMIT = 32 * 1024 * 1024


class Host:
    """One host seen through a root directory; never raises, keeps what it could not read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: list[str] = []
        self.notes: list[str] = []

    @property
    def live(self) -> bool:
        """True for the running machine; a fixture tree must not start programs or take locks."""
        return os.fspath(self.root) == "/"

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def cannot(self, what: str, why: object) -> None:
        """Remember a failed read once, in words that a person can act on."""
        reason = (why.strerror or str(why)) if isinstance(why, OSError) else str(why)
        entry = f"{what}: {reason}"
        if entry not in self.unreadable:
            self.unreadable.append(entry)

    def guarded(self, what: str, default: Any, read: Callable[..., Any], *arguments: Any) -> Any:
        """Run one section so that a surprise in it costs that section only."""
        try:
            return read(*arguments)
        except Exception as error:
            self.cannot(what, f"{type(error).__name__}: {error}")
            return default

    def stat(self, path: str) -> os.stat_result | None:
        try:
            return self.at(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            self.cannot(path, error)
            return None

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def read(self, path: str, limit: int = LIMIT) -> bytes | None:
        found = self.stat(path)
        if found is None:
            return None
        if not stat.S_ISREG(found.st_mode):  # a FIFO would block for ever
            self.cannot(path, "not a regular file")
            return None
        try:
            with self.at(path).open("rb") as stream:
                return stream.read(limit)
        except OSError as error:
            self.cannot(path, error)
            return None

    def text(self, path: str, limit: int = LIMIT) -> str | None:
        data = self.read(path, limit)
        return None if data is None else data.decode("utf-8", "replace")

    def line(self, path: str) -> str | None:
        """The stripped content of a small file; an empty file counts as absent."""
        text = self.text(path, 64 * 1024)
        return (text.replace("\0", "").strip() or None) if text is not None else None

    def number(self, path: str, base: int = 10) -> int | None:
        text = self.line(path)
        if text is None:
            return None
        try:
            return int(text, base)
        except ValueError:
            self.cannot(path, f"not a number: {text[:40]!r}")
            return None

    def names(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self.at(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.cannot(path, error)
            return []


def kernel_arguments(cmdline: str) -> list[str]:
    """Whole tokens of a kernel command line; the kernel ignores what follows a lone `--`."""
    tokens: list[str] = []
    token = ""
    quoted = False
    for character in cmdline:
        if character == '"':
            quoted = not quoted
        if character.isspace() and not quoted:
            tokens.append(token)
            token = ""
        else:
            token += character
    tokens = [found for found in [*tokens, token] if found]
    return tokens[: tokens.index("--")] if "--" in tokens else tokens


def records(text: str) -> list[list[str]]:
    """Colon separated records (passwd, group) without comments and empty lines."""
    lines = (line.strip() for line in text.splitlines())
    return [line.split(":") for line in lines if line and not line.startswith("#")]
