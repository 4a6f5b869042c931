"""A stream that outlives its reader: a closed terminal or pipe must not stop work on hosts."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO


class Steady:
    """Passes everything on to a stream until that fails; what comes after goes nowhere."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        reconfigure = getattr(file, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a character that the terminal lacks becomes a ?

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write, or give up for good."""
        try:
            return self._file.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or give up for good."""
        try:
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._file.fileno())
            os.close(nowhere)
