#!/usr/bin/python
"""Take a host for one run, keep it, and let it go: two runs never change a host at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host import lock

DOCUMENTATION = r"""
module: host_lock
short_description: Take a host for one run, and let it go
description:
  - The lock is the file C(/var/lib/stroke/lock), with its owner. It outlives a reboot.
  - One run may take a host under several inventory names; it is free when all of them let it go.
  - Never fails because somebody else holds the lock; RV(taken) says whether the run has it.
options:
  root:
    description: Directory to work in; anything but C(/) is a fixture tree.
    type: path
    default: /
  state:
    description:
      - C(taken) takes the lock where it is free or its owner is gone; C(kept) gives a sign that the
        owner lives, and does not take a lock that was lost; C(released) lets it go.
    type: str
    choices: [taken, kept, released]
    required: true
  owner:
    description: Who asks, from the filter C(lock_owner).
    type: dict
    required: true
  name:
    description: Name of the host in the inventory of that run.
    type: str
    required: true
  dead:
    description: Runs that the controller knows to have ended.
    type: list
    elements: str
    default: []
  seen:
    description: C(state.lock.stamp) of the facts, from when the host was looked at.
    type: str
  force:
    description: Take the lock from whoever has it.
    type: bool
    default: false
  stale_seconds:
    description: An owner without connection that gave no sign for so long is gone.
    type: int
    default: 7200
  reboot_seconds:
    description: An owner that is not back so long after a reboot is gone.
    type: int
    default: 1800
author: stroke
"""

EXAMPLES = r"""
- name: Take the host for this run
  host_lock:
    state: taken
    owner: "{{ inventory_hostname | lock_owner }}"
    name: "{{ inventory_hostname }}"
"""

RETURN = r"""
taken:
  description: Whether this run has the lock now.
  returned: always
  type: bool
held:
  description: Who has it instead.
  returned: always
  type: dict
over:
  description: From whom it was taken, and why that one is gone; empty where it was free.
  returned: always
  type: str
moved:
  description: Whether another run was at work on the host since it was looked at.
  returned: always
  type: bool
"""

Json = dict[str, Any]


def store(root: Path, content: Json) -> None:
    """Write the lock whole or not at all: a power cut leaves the old one or the new one."""
    path = lock.at(root, lock.PATH)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".lock.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    Path(name).replace(path)


def drop(root: Path, run: str) -> None:
    path = lock.at(root, lock.PATH)
    path.unlink()
    with contextlib.suppress(OSError):  # somebody else's files are in it
        path.parent.rmdir()
    lock.at(root, lock.RELEASED).write_text(f"{run}\n", encoding="utf-8")


def work(root: Path, params: Json) -> Json:
    """Do what is asked for, alone: nobody else reads and writes the lock meanwhile."""
    mine, name = params["owner"], params["name"]
    before, now = lock.stamp(root), lock.look(root)
    held = now["held"]
    result: Json = {"taken": False, "held": {}, "over": "", "moved": False}
    if held and held["run"] == mine["run"]:
        names = [one for one in held["names"] if one != name]
        if params["state"] == "released" and not names:
            drop(root, mine["run"])
            return result
        if params["state"] != "released":
            names.append(name)
        store(root, _content(root, mine, names, held))
        return {**result, "taken": params["state"] != "released"}
    if params["state"] == "released":
        return result
    why = _gone(held, params)
    if params["state"] == "kept" or (held and not why):
        return {**result, "held": held or {}}
    store(root, _content(root, mine, [name], None))
    over = f"{lock.owner(held)}: {why}" if held else ""
    moved = params.get("seen") is not None and params["seen"] != before
    return {**result, "taken": True, "over": over, "moved": moved}


def _gone(held: Json | None, params: Json) -> str:
    if held is None:
        return ""
    if params["force"]:
        return "host_lock_break was set"
    if held["run"] in params["dead"]:
        return "its run has ended on the controller"
    return str(lock.gone(held, params["stale_seconds"], params["reboot_seconds"]))


def _content(root: Path, mine: Json, names: list[str], held: Json | None) -> Json:
    now, boot = lock.uptime(root), lock.boot_id(root)
    same = held is not None and held["boot_id"] == boot
    kept = {key: str(mine.get(key) or "") for key in lock.OWNER}
    return {**kept, "names": names, "boot_id": boot, "session": lock.session(root),
            "taken": held["taken"] if held and same else now, "renewed": now}  # fmt: skip


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "state": {"choices": ["taken", "kept", "released"], "required": True},
            "owner": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True},
            "dead": {"type": "list", "elements": "str", "default": []},
            "seen": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "stale_seconds": {"type": "int", "default": 7200},
            "reboot_seconds": {"type": "int", "default": 1800},
        },
        supports_check_mode=False,
    )
    root = Path(module.params["root"])
    folder = lock.at(root, lock.RELEASED).parent
    # Ansible keeps what its jobs print in there, too (async_dir), which is for root alone.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    alone = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(alone, fcntl.LOCK_EX)
    result = work(root, module.params)
    if not result["taken"] and result["held"]:
        said = lock.owner(result["held"])
        result["progress"] = f"{said} has the host"
        result["msg"] = (
            f"STK-520: {module.params['name']} is being changed by {said}. Hint: let that run end, "
            "or wait longer with -e host_lock_wait=SECONDS; if you know that it is dead, run again "
            "with -e host_lock_break=true"
        )
    elif not result["taken"] and module.params["state"] == "kept":
        result["msg"] = (
            f"STK-521: somebody took the lock of {module.params['name']} away while this run was "
            "at work. Hint: see with stroke status who works on it, then run stroke again"
        )
    # The lock is gone when the run is: it is no change of the host.
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
