"""What the processes of a container really have, from /proc: not what was asked for."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PROC = Path("/proc")
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
# Nodes that every container has: null, zero, full, random, urandom; tty, console, ptmx; terminals.
HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
TERMINALS = range(136, 144)
NODES = 500
# Heaps of device memory in the KFD topology, as its kernel header numbers them.
DEVICE_HEAPS = ("1", "2")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fields(text: str) -> dict[str, str]:
    """`Name:\\tvalue` or `name value` lines as a table."""
    pairs = (re.split(r":\s*|\s+", line, maxsplit=1) for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def status(text: str) -> Json:
    """The part of /proc/PID/status that says what a process may do; ids are those of the host."""
    found = fields(text)
    return {
        "uids": [int(word) for word in found.get("Uid", "").split()],
        "gids": [int(word) for word in found.get("Gid", "").split()],
        "groups": [int(word) for word in found.get("Groups", "").split()],
        "capabilities": {name: int(found.get(name, "0"), 16) for name in CAPABILITIES},
        "no_new_privileges": found.get("NoNewPrivs") == "1",
        "seccomp": int(found.get("Seccomp", "0")),
    }


def group(text: str) -> str:
    """Control group of a process from /proc/PID/cgroup; systemd's own where there are several."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    return paths.get("name=systemd") or paths.get("") or ""


def members(pid: int, proc: Path = PROC) -> list[int]:
    """Every process of the same control group, and of those below it."""
    whole = group(_text(proc / str(pid) / "cgroup"))
    if whole in ("", "/"):
        return [pid]
    found = []
    for entry in sorted(proc.iterdir()):
        if entry.name.isdigit():
            own = group(_text(entry / "cgroup"))
            if own == whole or own.startswith(f"{whole}/"):
                found.append(int(entry.name))
    return found or [pid]


def together(found: list[Json]) -> Json:
    """The most that any of the processes may do."""
    return {
        "uids": sorted({uid for one in found for uid in one["uids"]}),
        "groups": sorted({gid for one in found for gid in [*one["gids"], *one["groups"]]}),
        "capabilities": {
            name: f"{_either(one['capabilities'][name] for one in found):016x}"
            for name in CAPABILITIES
        },
        "no_new_privileges": all(one["no_new_privileges"] for one in found),
        "seccomp": min(one["seccomp"] for one in found),
        "processes": len(found),
    }


def _either(masks: Any) -> int:
    whole = 0
    for mask in masks:
        whole |= mask
    return whole


def namespaces(pid: int, proc: Path = PROC) -> list[str]:
    """Namespaces that the process shares with the host's first process."""
    shared = []
    for name in NAMESPACES:
        try:
            own = (proc / str(pid) / "ns" / name).readlink()
            if own == (proc / "1" / "ns" / name).readlink():
                shared.append(name)
        except OSError:
            continue
    return shared


def devices(pid: int, proc: Path = PROC) -> list[Json]:
    """Device nodes inside of the container that not every container has."""
    top = proc / str(pid) / "root" / "dev"
    found: list[Json] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in ("pts", "shm", "mqueue"))
        for name in sorted(names):
            node = _device(Path(folder) / name)
            if node and len(found) < NODES:
                found.append({"path": f"/dev/{(Path(folder) / name).relative_to(top)}", **node})
    return found


def _device(path: Path) -> Json | None:
    try:
        seen = path.lstat()
    except OSError:
        return None
    if not (stat.S_ISCHR(seen.st_mode) or stat.S_ISBLK(seen.st_mode)):
        return None
    number = (os.major(seen.st_rdev), os.minor(seen.st_rdev))
    if stat.S_ISCHR(seen.st_mode) and (number in HARMLESS or number[0] in TERMINALS):
        return None
    return {"mode": f"{stat.S_IMODE(seen.st_mode):04o}", "uid": seen.st_uid, "gid": seen.st_gid}


def root_read_only(pid: int, proc: Path = PROC) -> bool | None:
    """Whether the container's root file system can only be read; None: nobody knows."""
    for line in _text(proc / str(pid) / "mountinfo").splitlines():
        words = line.split()
        if len(words) > 5 and words[4] == "/":
            return "ro" in words[5].split(",")
    return None


def memory(pid: int, proc: Path = PROC, cgroups: Path = Path("/sys/fs/cgroup")) -> Json:
    """GPU memory as a program in the container sees it, and the limit of its control group."""
    inside = proc / str(pid) / "root" / "sys"
    nodes = []
    for folder in sorted((inside / "class/kfd/kfd/topology/nodes").glob("*/mem_banks")):
        banks = [fields(_text(path)) for path in folder.glob("*/properties")]
        sizes = [int(bank.get("size_in_bytes", "0")) for bank in banks
                 if bank.get("heap_type") in DEVICE_HEAPS]  # fmt: skip
        if sizes:
            nodes.append(sum(sizes))
    limit: int | None = None
    place = cgroups / group(_text(proc / str(pid) / "cgroup")).lstrip("/")
    while place != cgroups.parent:
        word = _text(place / "memory.max").strip()
        if word.isdigit():
            limit = min(int(word), limit) if limit is not None else int(word)
        place = place.parent
    return {"device_bytes": nodes, "limit_bytes": limit}


def command_lines(pids: list[int], proc: Path = PROC) -> str:
    """Arguments of the processes: what every user of the host may read."""
    return "\n".join(_text(proc / str(pid) / "cmdline").replace("\0", " ") for pid in pids)


def view(pid: int, proc: Path = PROC) -> Json:
    """Everything above for the container whose first process this is; empty when it is gone."""
    if pid <= 1 or not (proc / str(pid)).is_dir():
        return {}
    pids = members(pid, proc)
    found = [status(text) for text in (_text(proc / str(one) / "status") for one in pids) if text]
    if not found:
        return {}
    return {
        **together(found),
        "shared_namespaces": namespaces(pid, proc),
        "devices": devices(pid, proc),
        "root_read_only": root_read_only(pid, proc),
        "memory": memory(pid, proc),
    }
