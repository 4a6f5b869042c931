"""Reading files of a host that may be partly unreadable, malformed or only a fixture tree."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any, Callable

# The dpkg status file of a large host is a few MiB; anything beyond this is not what we expect.
LIMIT = 32 * 1024 * 1024
CHUNK = 64 * 1024
# A host that is broken all over would fill the report with the same sentence.
TOLD = 200


class Host:
    """One host seen through a root directory; never raises, keeps what it could not read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: list[str] = []
        self.notes: list[str] = []
        self._told: set[str] = set()

    @property
    def live(self) -> bool:
        """True for the running machine; a fixture tree must not start programs or take locks."""
        return os.fspath(self.root) == "/"

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def cannot(self, what: str, why: object) -> None:
        """Remember a failed read once, in words that a person can act on."""
        reason = (why.strerror or str(why)) if isinstance(why, OSError) else str(why)
        entry = printable(f"{what}: {reason}")
        if entry in self._told:
            return
        self._told.add(entry)
        if len(self.unreadable) < TOLD:
            self.unreadable.append(entry)
        elif len(self.unreadable) == TOLD:
            self.unreadable.append("more could not be read; the list ends here")

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
            with self.at(path).open("rb", buffering=0) as stream:
                parts = []
                while limit > 0 and (part := stream.read(min(CHUNK, limit))):
                    parts.append(part)
                    limit -= len(part)
                return b"".join(parts)
        except OSError as error:
            self.cannot(path, error)
            return None

    def link(self, path: str) -> str | None:
        """Last part of what a symbolic link points to, whether that exists or not."""
        try:
            return printable(self.at(path).readlink().name) or None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in (errno.EINVAL, errno.ENOTDIR):
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
            if len(text) <= 40:  # also spares int() a text that it would refuse for its length
                return int(text, base)
        except ValueError:
            pass
        self.cannot(path, f"not a number: {text[:40]!r}")
        return None

    def names(self, path: str) -> list[str]:
        try:
            names = sorted(entry.name for entry in self.at(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as error:
            self.cannot(path, error)
            return []
        odd = [name for name in names if printable(name) != name]
        for name in odd:
            self.cannot(f"{path}/{printable(name)}", "its name is not text")
        return [name for name in names if name not in odd] if odd else names


def printable(text: str) -> str:
    """Text that can be sent as JSON: bytes that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


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
