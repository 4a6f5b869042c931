"""Models of the store: where each comes from, whether it is the right one, how it is fetched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

Json = dict[str, Any]

CHUNK = 4 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,190}")
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
HUB = "hf:"
TOKEN_FOLDER = "/etc/stroke/secrets/model_store"  # noqa: S105  a place, not a token
# What fetch_model.py says → code and what helps. What came so far stays and is continued.
KINDS = {
    "missing": ("STK-615", "look for its name on the hub; hf:org/model in model_store_models"),
    "refused": ("STK-616", "open its page and ask for access, and set model_store_hf_token_file"),
    "space": ("STK-617", "make room, then run again: what has come is kept; on the host try df -h"),
    "network": ("STK-618", "run again: what has come is kept"),
    "damaged": ("STK-618", "run again; if it stays, another revision of the model may be whole"),
}


def _memory(path: Path, status: os.stat_result) -> Path:
    """Where the checksum of exactly this file is kept: models can be tens of gigabytes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return cache / "stroke" / "models" / hashlib.sha256(key.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Checksum of a file, read once for each version of it."""
    memory = _memory(path, path.stat())
    if memory.is_file():
        return memory.read_text(encoding="ascii")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    with contextlib.suppress(OSError):  # an unwritable cache only costs the time of reading again
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(digest.hexdigest(), encoding="ascii")
    return digest.hexdigest()


def _file(entry: Json) -> Json:
    path = Path(entry["source"]).expanduser().absolute()
    wanted = (entry.get("sha256") or "").lower()
    found = {"name": entry["name"], "kind": "file", "source": str(path)}
    if not path.is_file():
        reason = "is not a file" if path.exists() else "does not exist"
        return found | {"problem": f"{path} {reason} on this machine", "code": "STK-413"}
    try:
        checksum = file_sha256(path)
    except OSError as problem:
        return found | {"problem": f"{path} cannot be read ({problem.strerror})", "code": "STK-413"}
    if wanted and checksum != wanted:
        what = f"{path} has sha256 {checksum}, but {wanted} is asked for"
        return found | {"problem": what, "code": "STK-413"}
    return found | {"sha256": checksum, "size": path.stat().st_size, "problem": None}


def _hub(entry: Json) -> Json:
    model = entry["source"].removeprefix(HUB)
    found = {"name": entry["name"], "kind": "hub", "source": model}
    if not HUB_ID.fullmatch(model):
        return found | {"problem": f"{entry['source']} is not hf:org/model", "code": "STK-302"}
    return found | {"revision": entry.get("revision") or "main", "problem": None}


def model_plan(models: list[Json]) -> list[Json]:
    """Each model with its checked source, or with a `problem` and its `code`."""
    plan = []
    for entry in models:
        if not NAME.fullmatch(str(entry["name"])):
            problem = f"{entry['name']!r} is no name for a model: it has to match {NAME.pattern}"
            plan.append(
                {"name": entry["name"], "kind": "file", "problem": problem, "code": "STK-302"}
            )
        else:
            plan.append((_hub if entry["source"].startswith(HUB) else _file)(entry))
    return plan


def model_problems(plan: list[Json]) -> list[Json]:
    """What is wrong with the wanted models, as problems with code and hint."""
    return [
        {
            "code": entry["code"],
            "what": f"model {entry['name']}: {entry['problem']}",
            "hint": "model_store_models names a file on this machine, or hf:org/model",
        }
        for entry in plan
        if entry["problem"]
    ]


def model_record(entry: Json) -> str:
    """What is written beside the store when a model is there whole, and tells which one it is."""
    kept: Json = {key: entry[key] for key in ("name", "sha256", "size", "revision") if key in entry}
    if entry["kind"] == "hub":
        kept["source"] = entry["source"]
    return json.dumps(kept, indent=2, sort_keys=True) + "\n"


def token_items(wanted: bool) -> list[Json]:
    """The hub's token as items: root's alone, and nothing of it where there is none."""
    base = {"role": "model_store", "stage": "prepare", "owner": "root", "group": "root"}
    folder = {"kind": "directory", "path": TOKEN_FOLDER}
    if not wanted:
        return [base | folder | {"state": "absent", "reason": "no token for the hub is set"}]
    why = {"reason": "the hub gives some models only for it; no service gets to see it"}
    above = {"kind": "directory", "path": TOKEN_FOLDER.rpartition("/")[0], "mode": "0711"}
    file = {"kind": "file", "path": f"{TOKEN_FOLDER}/hf_token", "mode": "0400", "opaque": True}
    return [base | above | why, base | folder | why | {"mode": "0700"}, base | file | why]


def model_items(plan: list[Json], store: Json) -> list[Json]:
    """The manifest's items: the store, each model, and the record that tells which one it is."""
    base = {"role": "model_store", "stage": "prepare"}
    root = {"mode": "0644", "owner": "root", "group": "root"}
    owned = {"mode": "0755", "owner": store["owner"], "group": "root"}
    reason = "models are on the host before the service starts"
    items: list[Json] = [
        base | owned | {"kind": "directory", "path": store["path"], "reason": reason}
    ]
    if any(entry["kind"] == "hub" for entry in plan):
        program = {"path": f"{store['records']}/fetch_model.py", "content": store["program"]}
        items.append(base | root | program | {"kind": "file", "reason": "fetches models"})
    for entry in plan:
        path = f"{store['path']}/{entry['name']}"
        if entry["kind"] == "file":
            why = f"copied from {entry['source']}, checksum verified"
            size = {"size": entry["size"], "opaque": True}
            items.append(base | root | size | {"kind": "file", "path": path, "reason": why})
        else:
            why = f"fetched from Hugging Face: {entry['source']} at {entry['revision']}"
            items.append(base | owned | {"kind": "directory", "path": path, "reason": why})
        record = {
            "path": f"{store['records']}/{entry['name']}.json",
            "content": model_record(entry),
        }
        items.append(
            base | root | record | {"kind": "file", "reason": "tells which model is there"}
        )
    return items


def fetch_problem(model: str, result: Json) -> list[Json]:
    """Why a model could not be fetched, with the code of its kind."""
    code, hint = KINDS.get(result.get("kind", ""), KINDS["network"])
    return [{"code": code, "what": f"model {model}: {result['what']}", "hint": hint}]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "model_plan": model_plan,
            "model_problems": model_problems,
            "model_record": model_record,
            "model_items": model_items,
            "token_items": token_items,
            "fetch_problem": fetch_problem,
        }
