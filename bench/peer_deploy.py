"""The checks of a manifest as a pyinfra deploy: runs in pyinfra's own environment, not in ours."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from pyinfra import host  # type: ignore[import-not-found]
from pyinfra.facts.server import Command  # type: ignore[import-not-found]
from pyinfra.operations import (  # type: ignore[import-not-found]
    apt,
    files,
    server,
    systemd,
)

ITEMS: list[dict[str, Any]] = json.loads(Path(host.data.manifest).read_text(encoding="utf-8"))
ANSWERS = "import sys, urllib.request as r; r.urlopen(sys.argv[1])"


def place(item: dict[str, Any]) -> None:
    mode = str(item.get("mode") or ("0755" if item["kind"] == "directory" else "0644")).lstrip("0")
    owner, group = item.get("owner") or "root", item.get("group") or "root"
    path, present = item["path"], item.get("state") != "absent"
    if item["kind"] == "directory":
        files.directory(path=path, present=present, user=owner, group=group, mode=mode)
    elif present and item.get("content") is not None:
        files.put(src=io.StringIO(item["content"]), dest=path, user=owner, group=group, mode=mode)
    else:
        files.file(path=path, present=present, user=owner, group=group, mode=mode)


def ask(command: str) -> str:
    return str(host.get_fact(Command, command))


packages = [
    item["name"] for item in ITEMS if item["kind"] == "package" and item.get("state") != "absent"
]
apt.packages(packages=packages, present=True, update=False)
for one in ITEMS:
    match one["kind"]:
        case "file" | "directory":
            place(one)
        case "user":
            server.user(user=one["name"], groups=one["groups"], append=True, ensure_home=False)
        case "unit":
            if one.get("state") == "absent":
                ask(f"systemctl is-active {one['name']} || true")
            else:
                systemd.service(service=one["name"], running=True)
            if one.get("url"):
                ask(f'python3 -c "{ANSWERS}" {one["url"]}/v1/models')
        case "image":
            ask(f"podman image inspect --format '{{{{.Id}}}}' {one['reference']}")
if any(one["kind"] in ("kernel", "kernel_arg") for one in ITEMS):
    ask("uname -r")
    ask("cat /proc/cmdline")
