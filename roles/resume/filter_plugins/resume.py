"""Words of a command as a systemd unit wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def resume_word(word: str) -> str:
    """One word in quotes; what systemd would expand in it stands for itself."""
    if any(ord(character) < 32 for character in word):
        raise ValueError("a path with control characters cannot be started by a unit")
    plain = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("%", "%%").replace("$", "$$") + '"'


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter of this role."""
        return {"resume_word": resume_word}
