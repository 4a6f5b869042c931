"""What was there before: kept in the state directory until it is given back."""

from __future__ import annotations

import json
from typing import Any

from .errors import BootConfigError
from .files import Host

FILE = "originals.json"
VERSION = 1


class Record:
    """The arguments of the last run, and for each file its values before and after it."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        data = data or {}
        self.arguments: list[str] = list(data.get("arguments", []))
        self.keys: list[str] = list(data.get("keys", []))
        self.layout: str = str(data.get("layout", ""))
        self.files: dict[str, dict[str, Any]] = dict(data.get("files", {}))

    @property
    def empty(self) -> bool:
        return not self.files

    def text(self) -> str:
        data = {
            "version": VERSION,
            "layout": self.layout,
            "arguments": self.arguments,
            "keys": self.keys,
            "files": self.files,
        }
        return json.dumps(data, indent=1, sort_keys=True) + "\n"


def load(host: Host, directory: str) -> Record:
    """The record of earlier runs; a damaged one is never taken for "there was nothing"."""
    path = f"{directory}/{FILE}"
    text = host.read(path)
    if text is None:
        return Record()
    try:
        data = json.loads(text)
        good = data["version"] == VERSION and all(
            isinstance(value, str)
            for entry in data["files"].values()
            for value in [*entry["original"], *entry["written"]]
        )
        if good:
            return Record(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BootConfigError(
        f"{path} is damaged, so the arguments from before stroke are not known",
        f"check the kernel arguments yourself, then sudo rm {path}",
    )


def save(host: Host, directory: str, record: Record) -> None:
    host.make_directory(directory)
    # A command line may name what others should not read, as the files with it do.
    host.write(f"{directory}/{FILE}", record.text(), mode=0o600)


def forget(host: Host, directory: str) -> None:
    host.remove(f"{directory}/{FILE}")
    host.remove_directory(directory)
