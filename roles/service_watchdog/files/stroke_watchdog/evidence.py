"""Keep what can be seen of a service that hangs, before a restart wipes it out.

Bounded three ways: each file, each bundle's number of files, and all bundles together. The API
key and every variable of the environment are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .host import Host
from .probe import GLANCE, fetch, key_of

FILE = 512 * 1024
THREADS = 400
KERNEL_WORDS = ("amdgpu", "kfd", "ttm", "drm", "hung task", "blocked for more", "out of memory",
                "oom", "mce:", "pcieport", "segfault")  # fmt: skip
# What is told of a container: never its environment, which is where people put tokens.
CONTAINER = ("Id", "Created", "Path", "Args", "State", "Image", "ImageName", "ImageDigest",
             "RestartCount", "Mounts", "HostConfig", "OCIRuntime")  # fmt: skip
GPU_FILES = (
    "vendor", "device", "gpu_busy_percent", "mem_busy_percent", "mem_info_gtt_total",
    "mem_info_gtt_used", "mem_info_vram_total", "mem_info_vram_used", "pp_dpm_sclk",
    "pp_dpm_mclk", "power_state", "power_dpm_force_performance_level", "reset_method",
)  # fmt: skip
Json = dict[str, Any]


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def gpus(root: Path = Path("/")) -> Iterator[str]:
    """One block of lines for each GPU: how busy it is and what it has of the memory."""
    for device in sorted(root.glob("sys/class/drm/card[0-9]*/device")):
        slot = os.path.basename(os.path.realpath(device))  # noqa: PTH119
        yield f"[{device.parent.name} {slot}]"
        sensors = sorted(device.glob("hwmon/hwmon*/*_input"))
        for path in [device / name for name in GPU_FILES] + sensors:
            value = _line(path)
            if value is not None:
                yield f"{path.name}: {'; '.join(value.splitlines())}"


def members(group: str, root: Path = Path("/")) -> list[int]:
    """Processes below a control group, whichever hierarchy systemd uses."""
    found: set[int] = set()
    for base in ("sys/fs/cgroup", "sys/fs/cgroup/unified", "sys/fs/cgroup/systemd"):
        for listing in (root / base / group.lstrip("/")).rglob("cgroup.procs"):
            found |= {int(word) for word in (_line(listing) or "").split()}
    return sorted(found)


def threads(pids: list[int], root: Path = Path("/")) -> Iterator[str]:
    """Where every thread waits: D is uninterruptible, and no signal ends it."""
    number = 0
    for pid in pids:
        for task in sorted((root / f"proc/{pid}/task").glob("[0-9]*")):
            number += 1
            if number > THREADS:
                yield f"(more than {THREADS} threads)"
                return
            lines = (_line(task / "status") or "").split("\n")
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            waits = _line(task / "wchan") or "0"
            yield f"{pid}/{task.name} {status.get('Name', '?')} {status.get('State', '?')} {waits}"
            if status.get("State", "").startswith("D"):
                yield from (f"    {line}" for line in (_line(task / "stack") or "").split("\n"))


def kernel_lines(text: str) -> str:
    """Lines of the kernel's log that have to do with a GPU or with memory."""
    return "".join(f"{line}\n" for line in text.splitlines()
                   if any(word in line.lower() for word in KERNEL_WORDS))  # fmt: skip


def _container(found: Json) -> Json:
    kept: Json = {key: found[key] for key in CONTAINER if key in found}
    settings = found.get("Config") or {}
    kept["Config"] = {key: settings[key] for key in ("User", "Labels", "Image") if key in settings}
    return kept


def _page(config: Json, path: str, key: str) -> str:
    try:
        status, text = fetch(config["url"] + path, key, GLANCE)
    except OSError as problem:
        return f"({problem})\n"
    return f"HTTP {status}\n{text}\n"


def _parts(
    config: Json, state: Json, unit: dict[str, str], host: Host
) -> Iterator[tuple[str, str]]:
    key = key_of(config.get("key_file") or "")
    name, journal = config["unit"], ["journalctl", "--no-pager", "--output=short-iso"]
    whose = [f"--unit={name}"]
    if host.uid is not None:  # by fields: a service user may not read what it has said
        uid = f"_UID={host.uid}"
        whose = [f"_SYSTEMD_USER_UNIT={name}", uid, "+", f"USER_UNIT={name}", uid]
    yield "summary.json", json.dumps({"config": config, "unit": unit, "state": state}, indent=2)
    yield "unit.txt", host.say(*host.manager, "status", "--no-pager", "--lines=0", "--", name)
    yield "journal.txt", host.say(*journal, "--lines=400", *whose)
    kernel = host.say("journalctl", "--dmesg", "--no-pager", "--output=short-monotonic",
                      "--lines=5000")  # fmt: skip
    yield "kernel.txt", kernel_lines(kernel)
    yield "gpu.txt", "\n".join(gpus())
    found = host.inspect(config["runtime"], config["container"])
    yield "container.json", json.dumps(_container(found), indent=2)
    pid = (found.get("State") or {}).get("Pid")
    inside = (_line(Path(f"/proc/{pid}/cgroup")) or "") if pid else ""
    groups = {unit.get("ControlGroup", ""), *(line.split(":", 2)[2] for line in inside.split("\n")
                                             if line.count(":") >= 2)}  # fmt: skip
    pids = {number for group in groups - {"", "/"} for number in members(group)}
    yield "threads.txt", "\n".join(threads(sorted(pids)))
    pages = ["/health", *(page["path"] for page in config.get("progress") or [])]
    yield "endpoint.txt", "".join(f"{path}: {_page(config, path, key)}" for path in pages)
    yield "memory.txt", _line(Path("/proc/meminfo")) or ""


def keep(config: Json, state: Json, unit: dict[str, str], host: Host, now: float) -> Path:
    """Write one bundle, named by its time, and forget the oldest ones beyond the bounds."""
    place = Path(config["evidence_path"])
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    bundle = place / f"{stamp}-{config['service']}"
    bundle.mkdir(mode=0o700, exist_ok=True)
    secret = key_of(config.get("key_file") or "")
    for name, text in _parts(config, state, unit, host):
        clean = text.replace(secret, "(API key)") if secret else text
        data = clean.encode()[-FILE:]  # the end of a log is what counts
        handle = os.open(bundle / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123  a descriptor, so that the mode is ours
            file.write(data)
    prune(place, bundle, config["evidence_keep"], config["evidence_mib"] << 20)
    return bundle


def prune(place: Path, newest: Path, count: int, size: int) -> None:
    """Keep at most so many bundles and bytes; the newest one stays whatever its size."""
    taken = 0
    bundles = sorted((path for path in place.iterdir() if path.is_dir()), reverse=True)
    for number, bundle in enumerate(bundles):
        taken += sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        if bundle != newest and (number >= count or taken > size):
            shutil.rmtree(bundle)
