"""Keys that a run made on hosts: shown once to whoever sits before the terminal, and kept nowhere.

A playbook leaves each in a file of a private directory, since its output is recorded.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StrokeError
from .paths import runtime_dir

# Variables whose value every user of this machine would see in the list of processes.
SECRETS = re.compile(r"""\b(inference_server_api_key|model_store_hf_token)["']?\s*[=:]""")


def refuse_on_command_line(words: tuple[str, ...]) -> None:
    """A secret in an argument is known to every user of the machine, and to the history."""
    for word in words:
        if not word.startswith("@") and (found := SECRETS.search(word)):
            raise StrokeError(
                f"{found[1]} is on the command line, where every user of this machine sees it",
                code="STK-447",
                hint=f"put it into a file: -e {found[1]}_file=FILE",
            )


@contextmanager
def handover() -> Iterator[Path]:
    """A directory for the keys of one run; it is gone with them."""
    with tempfile.TemporaryDirectory(prefix="stroke-keys-", dir=runtime_dir()) as name:
        yield Path(name)


def keys(directory: Path) -> list[tuple[str, str, str]]:
    """Host, service and key of each file."""
    found = []
    for file in sorted(directory.iterdir()):
        host, _, service = base64.urlsafe_b64decode(file.name).decode().rpartition(" ")
        found.append((host, service, file.read_text(encoding="utf-8").strip()))
    return found
