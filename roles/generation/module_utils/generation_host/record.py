"""The record of generations on a host: read with suspicion, written whole, never forgetting itself.

    {"schema": "stroke/generations/1", "current": number, "generations": [oldest first]}

Each generation has number, at (UTC), kernel, arguments, managed_keys, packages, images; `back_to`
is the number that was gone back to, where the outcome is another state than that one.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SCHEMA = "stroke/generations/1"
FIELDS = {"number": int, "at": str, "kernel": str, "arguments": list, "managed_keys": list,
          "packages": list, "images": dict}  # fmt: skip
# What makes a generation another one; its number and its time do not.
COMPARED = ("kernel", "arguments", "managed_keys", "packages", "images")


class Broken(Exception):
    """The record is there, and is not one."""


def load(path: Path) -> Json:
    """The record; an empty one where there is no file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"schema": SCHEMA, "current": 0, "generations": []}
    except (OSError, ValueError) as error:
        raise Broken(str(error)) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise Broken(f"it is not a document of the schema {SCHEMA}")
    known = data.get("generations")
    if not isinstance(known, list) or not isinstance(data.get("current"), int):
        raise Broken("it has no list of generations, or does not say which is the current one")
    for one in known:
        wrong = [name for name, kind in FIELDS.items()
                 if not isinstance(one, dict) or not isinstance(one.get(name), kind)]  # fmt: skip
        if wrong:
            raise Broken(f"a generation has no usable {', '.join(wrong)}")
    return data


def text(record: Json) -> str:
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def store(path: Path, content: str) -> None:
    """Write the record whole or not at all: a power cut leaves the old one or the new one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".generations.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    Path(name).replace(path)


def amiss(path: Path) -> bool:
    """Whether the record is not there, or not as this module leaves it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    mine = (0o100644, os.geteuid(), os.getegid())
    return (found.st_mode, found.st_uid, found.st_gid) != mine


def same(one: Json, other: Json) -> bool:
    return all(one.get(key) == other.get(key) for key in COMPARED)


def record(before: Json, now: Json, back: int, keep: int, at: str) -> Json:
    """The record after `now` was proven.

    A host that went back is at the generation that it went back to; any other state that differs
    from the last generation is a new one. The current one is never forgotten.
    """
    known = list(before["generations"])
    there = [*known[-1:], *(one for one in known if one["number"] == back)]
    found = next((one for one in there if same(one, now)), None)
    if found is None:
        numbers = [one["number"] for one in known]
        found = {**now, "number": max(numbers, default=0) + 1, "at": at}
        if back:  # with a part of it only, or with what is there in its place by now
            found["back_to"] = back
        known.append(found)
    while len(known) > max(2, keep):
        known.remove(next(one for one in known if one is not found))
    return {"schema": SCHEMA, "current": found["number"], "generations": known}
