"""Who this run is, and what this machine knows of the run that holds a host."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PROC = Path("/proc")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _stat(pid: int) -> tuple[int, str]:
    """Parent and start time of a process; zero and nothing where it is not there or a zombie."""
    fields = _text(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) <= 19 or fields[0] == "Z":
        return 0, ""
    return int(fields[1]), fields[19]


def _is_ansible(pid: int) -> bool:
    command = _text(PROC / str(pid) / "cmdline").split("\0")[:2]
    return any(Path(word).name.startswith("ansible") for word in command)


def _playbook() -> int:
    """The process of ansible-playbook itself, not that of a worker, which lives for one task."""
    found = pid = os.getpid()
    if not PROC.joinpath("self").exists():
        return os.getppid()
    while pid > 1:
        if _is_ansible(pid):
            found = pid
        pid = _stat(pid)[0]
    return found


def _this_machine() -> Json:
    """Which machine this is, since when it runs, and whose process numbers are meant."""
    name = socket.gethostname()
    identity = f"stroke {_text(Path('/etc/machine-id'))} {name}"  # the id itself is confidential
    try:
        space = os.fspath((PROC / "self/ns/pid").readlink())
    except OSError:
        space = ""
    return {
        "controller": name,
        "machine": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "boot": _text(PROC / "sys/kernel/random/boot_id"),
        "pidns": space,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a login without an entry in passwd
        return str(os.getuid())


def lock_owner(_name: str) -> Json:
    """Owner of a lock that this run takes; the same in every task of one ansible-playbook."""
    machine, pid = _this_machine(), _playbook()
    started = _stat(pid)[1]
    whole = "\n".join((*map(str, machine.values()), str(pid), started))
    run = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return {"user": _user(), **machine, "pid": str(pid), "started": started, "run": run}


def lock_dead(held: Json | None) -> str:
    """Why a holder's run is known here to have ended; empty where nobody here can tell."""
    here = _this_machine()
    if not held or held.get("machine") != here["machine"] or not str(held.get("pid")).isdecimal():
        return ""
    if held["boot"] != here["boot"]:
        return "this machine was restarted since"
    if held["pidns"] != here["pidns"]:
        return ""
    started = _stat(int(held["pid"]))[1]
    return "" if started and started == held["started"] else "its run has ended"


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lock_owner": lock_owner, "lock_dead": lock_dead}
