"""What cannot be done to a boot configuration, with the way out."""

from __future__ import annotations


class BootConfigError(Exception):
    """A refusal; nothing was written."""

    def __init__(self, what: str, hint: str, code: str = "STK-411") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {self.what}. Hint: {self.hint}"
