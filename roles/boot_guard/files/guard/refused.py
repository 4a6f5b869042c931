"""What a command of the guard cannot do."""

from __future__ import annotations


class Refused(Exception):
    """Why a command stops; `code` is one of stroke's."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code
