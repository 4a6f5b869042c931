"""Container runtimes of the host."""

from __future__ import annotations

import re
import shutil
import subprocess

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


def container_runtime(host: Host, known: Known) -> dict[str, str | None]:
    docker = ("docker-ce", "docker-ce-cli", "docker.io", "moby-engine")
    return {
        "podman": _version(host, known, "podman", "podman"),
        "docker": _version(host, known, "docker", *docker),
    }
