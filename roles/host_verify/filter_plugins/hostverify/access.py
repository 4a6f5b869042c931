"""Devices, groups and users: on the host, and inside of the container by the processes' own ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .check import Judge, listed

Json = dict[str, Any]

GROUP_READ_WRITE = 0o060
GPU_NODES = ("/dev/kfd", "/dev/dri/")


def host(evidence: Json, judge: Judge) -> Iterator[Json]:
    """Nodes and memberships on the host."""
    facts, user = evidence["facts"], evidence["user"]
    gid = facts["groups"].get("render")
    nodes = {"/dev/kfd": facts["devices"]["kfd"], **facts["devices"]["render"]}
    kfd = nodes["/dev/kfd"] is not None
    found = "/dev/kfd exists" if kfd else "/dev/kfd does not exist"
    hint = "is amdgpu bound to the GPU? lspci -k; journalctl -k -g amdgpu"
    yield judge.check("V301", kfd, "/dev/kfd exists", found, hint)
    closed = [
        path
        for path, node in nodes.items()
        if node
        and (node["gid"] != gid or int(node["mode"], 8) & GROUP_READ_WRITE != GROUP_READ_WRITE)
    ]
    good = not closed and len(nodes) > 1
    found = f"closed: {listed(closed)}" if closed else listed(nodes)
    yield judge.check("V302", good, "open to the group render", found, "stroke provision")
    groups = ((facts.get("users") or {}).get(user) or {}).get("groups") or []
    missing = [name for name in ("render", "video") if name not in groups]
    if missing:
        found = f"{user} is not in {listed(missing)}"
    else:
        found = f"{user} is in render ({gid}) and video ({facts['groups'].get('video')})"
    yield judge.check("V303", not missing, "member of render and video", found, "stroke provision")


def _open_to(node: Json, process: Json) -> bool:
    mode = int(node["mode"], 8)
    if node["uid"] in process["uids"] and mode & 0o600 == 0o600:
        return True
    return mode & 0o006 == 0o006 or (node["gid"] in process["groups"] and mode & 0o060 == 0o060)


def inside(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """Nodes and groups of one service's processes."""
    process = service["seen"].get("process") or {}
    if not process:
        return
    nodes = [node for node in process["devices"] if node["path"].startswith(GPU_NODES)]
    closed = [node["path"] for node in nodes if not _open_to(node, process)]
    good = bool(nodes) and not closed
    found = f"closed: {listed(closed)}" if closed else listed(node["path"] for node in nodes)
    wanted = "each GPU node readable and writable"
    yield judge.check("V304", good, wanted, found, "stroke provision; is the group id numeric?")
    gid = evidence["facts"]["groups"].get("render")
    found = f"groups {listed(process['groups'])}"
    hint = "stroke provision; a rootless container needs crun and keep-groups"
    yield judge.check("V305", gid in process["groups"], f"render ({gid})", found, hint)
