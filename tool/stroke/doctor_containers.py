"""Containers that use a GPU here: running ones, stopped ones, and Quadlet units that make them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

RUNTIMES = ("podman", "docker")
QUADLETS = ("/etc/containers/systemd", "/usr/share/containers/systemd")
USER_QUADLETS = ".config/containers/systemd"
PATIENCE = 20.0
WORDS = re.compile(r"rocm|vllm|llama|amdgpu", re.IGNORECASE)
VARIABLES = ("HSA_", "HIP_", "ROCM_", "ROCR_", "VLLM_")


@dataclass(frozen=True, slots=True)
class Container:
    """One container, whoever made it, with what decides whether it can work."""

    runtime: str
    name: str
    image: str
    state: str = ""
    exit_code: int = 0
    restarts: int = 0
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    privileged: bool = False
    place: str = ""

    @property
    def concerns_gpu(self) -> bool:
        """Whether this is about ROCm or an inference engine at all."""
        words = " ".join((self.image, *self.arguments[:3]))
        named = any(name.startswith(VARIABLES) for name in self.environment)
        device = any(path.startswith(("/dev/kfd", "amd.com/")) for path in self.devices)
        return bool(WORDS.search(words)) or named or device

    @property
    def where(self) -> str:
        """Where the setting stands, for evidence."""
        return self.place or f"{self.runtime} inspect {self.name}"


def containers(host: Any, home: str | None) -> tuple[list[Container], list[str]]:
    """What this user may see, and which runtime did not answer."""
    found, problems = list(quadlets(host, home)), []
    for runtime in RUNTIMES:
        program = shutil.which(runtime) if host.live else None
        if program is None:
            continue
        try:
            found += [_inspected(runtime, item) for item in _ask(program)]
        except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
            problems.append(f"{runtime}: {_said(error)}")
    return [container for container in found if container.concerns_gpu], problems


def _said(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).strip().splitlines()[-1][:200]
    return f"{type(error).__name__}: {error}"[:200]


def _ask(program: str) -> list[dict[str, Any]]:
    def run(*words: str) -> str:
        return subprocess.run(
            [program, *words],
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        ).stdout

    names = run("ps", "--all", "--quiet", "--no-trunc").split()
    listed = json.loads(run("inspect", "--type", "container", *names)) if names else []
    if not isinstance(listed, list):
        raise TypeError("inspect answered with something else than a list")
    return [item for item in listed if isinstance(item, dict)]


def _inspected(runtime: str, item: Mapping[str, Any]) -> Container:
    """One item of `inspect`, which Podman and Docker write almost alike."""
    config, host = _map(item, "Config"), _map(item, "HostConfig")
    state = _map(item, "State")
    devices = [str(one.get("PathOnHost", "")) for one in _list(host, "Devices")]
    for request in _list(host, "DeviceRequests"):
        devices += [str(name) for name in request.get("DeviceIDs") or []]
    words = [item.get("Path"), *(item.get("Args") or [])]
    if not any(words):
        words = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    return Container(
        runtime=runtime,
        name=str(item.get("Name", "")).lstrip("/") or str(item.get("Id", ""))[:12],
        image=str(item.get("ImageName") or config.get("Image") or ""),
        state=str(state.get("Status", "")),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(item.get("RestartCount") or 0),
        arguments=tuple(str(word) for word in words if word),
        environment=dict(str(pair).partition("=")[::2] for pair in config.get("Env") or []),
        devices=tuple(devices),
        groups=tuple(str(group) for group in host.get("GroupAdd") or []),
        privileged=host.get("Privileged") is True,
    )


def _map(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _list(item: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [one for one in item.get(key) or [] if isinstance(one, dict)]


def quadlets(host: Any, home: str | None) -> Iterator[Container]:
    """The .container files of Podman's systemd generator, stroke's own among them."""
    folders = [*QUADLETS, *([f"{home}/{USER_QUADLETS}"] if home else [])]
    for folder in folders:
        for name in host.names(folder):
            if name.endswith(".container"):
                path = f"{folder}/{name}"
                yield _quadlet(path, host.text(path, 256 * 1024) or "")


def _quadlet(path: str, text: str) -> Container:
    values: dict[str, list[str]] = {}
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if found := re.match(r"\s*\[(\w+)\]", line):
            section = found[1]
        elif section == "Container" and (pair := re.match(r"\s*(\w+)\s*=\s*(.*?)\s*$", line)):
            values.setdefault(pair[1], []).append(pair[2])
    pairs = [word for line in values.get("Environment", []) for word in _words(line)]
    name = PurePosixPath(path).stem
    return Container(
        runtime="quadlet",
        name=name,
        image=values.get("Image", [""])[-1],
        arguments=tuple(_words(values.get("Exec", [""])[-1])),
        environment=dict(pair.partition("=")[::2] for pair in pairs),
        # A leading `-` makes a device optional; `:` separates the path inside.
        devices=tuple(device.lstrip("-").split(":")[0] for device in values.get("AddDevice", [])),
        groups=tuple(values.get("GroupAdd", [])),
        privileged="--privileged" in " ".join(values.get("PodmanArgs", [])),
        place=path,
    )


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that never ends
        return line.split()
