"""Container runtimes of the host."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from . import dpkg
from .files import Host
from .packages import Known


def _version(host: Host, known: Known, binary: str, *names: str) -> str | None:
    """Version from the package that ships the program; asking the program is the slow way."""
    if host.exists(f"/usr/bin/{binary}"):
        for name in names:
            version = known.get(name).version
            if version:
                return dpkg.upstream(version)
    program = shutil.which(binary) if host.live else None
    if not program:
        return None
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        host.cannot(program, error)
        return None
    match = re.search(r"(\d+\.\d+(?:\.\d+)*)", answer.stdout)
    return match.group(1) if match else None


CDI_PLACES = ("/etc/cdi", "/var/run/cdi")


def _described(host: Host, path: str) -> list[dict[str, Any]]:
    content = json.loads(host.text(path) or "{}")
    return [
        {
            "name": f"{content['kind']}={device['name']}",
            "nodes": sorted(
                node["path"]
                for node in (device.get("containerEdits") or {}).get("deviceNodes") or []
            ),
        }
        for device in content.get("devices") or []
        if str(content.get("kind", "")).startswith("amd.com/")
    ]


def cdi(host: Host) -> list[dict[str, Any]]:
    """AMD's devices in the host's CDI specifications: full name and device nodes."""
    paths = [f"{place}/{name}" for place in CDI_PLACES for name in sorted(host.names(place))]
    return [
        device
        for path in paths
        if path.endswith(".json")
        for device in host.guarded(path, [], _described, host, path)
    ]


def container_runtime(host: Host, known: Known) -> dict[str, Any]:
    docker = ("docker-ce", "docker-ce-cli", "docker.io", "moby-engine")
    return {
        "podman": _version(host, known, "podman", "podman"),
        "docker": _version(host, known, "docker", *docker),
        "cdi": cdi(host),
    }
