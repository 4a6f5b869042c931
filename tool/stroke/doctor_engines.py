"""Whether the containers here can work: arguments, environment, devices, image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .doctor_containers import Container
from .doctor_finding import Finding, finding
from .doctor_machine import Machine

Json = dict[str, Any]
# Exit codes of a container that somebody stopped: done, Ctrl-C, SIGKILL, SIGTERM.
STOPPED = (0, 130, 137, 143)
OFTEN = 3
GROUP_WORDS = ("keep-groups",)


def checks(machine: Machine) -> Iterator[Finding]:
    """Every container that runs, tries to, or would at the next start of its unit."""
    if not machine.serving:
        return
    for container in machine.containers:
        if container.state == "exited" and container.exit_code in STOPPED:
            continue
        yield from _refused(machine, container)
        yield from _devices(container)
        yield from _groups(container)
        yield from _settings(machine, container)
        yield from _image(machine, container)
        yield from _loop(container)


def engine_of(machine: Machine, container: Container) -> Json:
    """The engine of the catalogue that a container runs; empty where nothing names one."""
    words = " ".join((container.image, *container.arguments[:4])).lower()
    for name, engine in machine.catalog.get("engines", {}).items():
        plain = name.replace("cpp", "")
        if plain in words:
            return dict(engine)
    return {}


def _mend(container: Container, what: str) -> str:
    if container.place:
        unit = f"{container.name}.service"
        return (
            f"sudoedit {container.place} ({what}), "
            f"then: sudo systemctl daemon-reload && sudo systemctl restart {unit}"
        )
    return f"{container.runtime} rm --force {container.name}, and start it again: {what}"


def _refused(machine: Machine, container: Container) -> Iterator[Finding]:
    engine = engine_of(machine, container)
    removed: dict[str, str] = dict(engine.get("removed", {}))
    if not engine:  # no engine is named: only what harms every ROCm program
        for known in machine.catalog.get("engines", {}).values():
            removed |= {k: why for k, why in known.get("removed", {}).items() if k[:4] == "HSA_"}
    for name, why in removed.items():
        if name.startswith("-"):
            used = [w for w in container.arguments if w == name or w.startswith(f"{name}=")]
            code, shown = "STK-D61", " ".join(used)
        else:
            used = [container.environment[name]] if name in container.environment else []
            code, shown = "STK-D62", f"{name}={' '.join(used)}"
        if used:
            yield finding(
                code,
                f"{container.name} is started with {shown}: {why}",
                [f"{container.where}: {shown}", f"image {container.image}", _state(container)],
                _mend(container, f"without {name}"),
            )


def _state(container: Container) -> str:
    if not container.state:
        return "a unit file"
    more = f", exit code {container.exit_code}" if container.state != "running" else ""
    again = f", {container.restarts} restarts" if container.restarts else ""
    return f"state {container.state}{more}{again}"


def _devices(container: Container) -> Iterator[Finding]:
    if container.privileged or any("amd.com/" in device for device in container.devices):
        return
    has = container.devices
    wanted = []
    words = container.image.lower()
    if "vulkan" not in words and not any(device.startswith("/dev/kfd") for device in has):
        wanted.append("/dev/kfd")
    if not any(device.startswith("/dev/dri") for device in has):
        wanted.append("/dev/dri/renderD…")
    if wanted and "cpu" not in words:
        yield finding(
            "STK-D63",
            f"{container.name} gets no {' and no '.join(wanted)}, so it sees no GPU",
            [f"{container.where}: devices {', '.join(has) or 'none'}", f"image {container.image}"],
            _mend(container, f"with --device {' --device '.join(wanted)}"),
        )


def _groups(container: Container) -> Iterator[Finding]:
    names = [g for g in container.groups if not g.isdecimal() and g not in GROUP_WORDS]
    if names:
        shown = " ".join(names)
        yield finding(
            "STK-D64",
            f"{container.name} joins {shown} by name: the image's own number of that group counts, "
            "not this machine's",
            [f"{container.where}: groups {shown}"],
            _mend(container, "with --group-add keep-groups (rootless) or the numeric ids"),
        )


def _settings(machine: Machine, container: Container) -> Iterator[Finding]:
    """Environment that the catalogue sets differently for the GPUs of this machine."""
    variants = engine_of(machine, container).get("variants", {})
    for gfx in sorted({str(gpu.get("gfx")) for gpu in machine.serving}):
        good = {**(variants.get(gfx) or variants.get("gpu") or {}).get("environment", {})}
        for name, value in good.items():
            given = container.environment.get(name)
            if given is not None and given != str(value):
                yield finding(
                    "STK-D65",
                    f"{container.name} has {name}={given}; on {gfx} it has to be {value}",
                    [f"{container.where}: {name}={given}", f"stroke catalog {gfx}"],
                    _mend(container, f"with {name}={value}"),
                )


def _image(machine: Machine, container: Container) -> Iterator[Finding]:
    reference = _plain(container.image)
    for entry in machine.catalog.get("images", []):
        targets = entry.get("gfx") or []
        if not targets or _plain(str(entry.get("reference", ""))) != reference:
            continue
        for gpu in machine.serving:
            if gpu.get("gfx") not in targets:
                yield finding(
                    "STK-D66",
                    f"{container.name}: the image has no code for {gpu['gfx']}, "
                    f"only for {', '.join(targets)}",
                    [f"{container.where}: image {container.image}"],
                    f"stroke catalog {gpu['gfx']}   # names the images that have",
                )


def _plain(reference: str) -> str:
    """A reference without registry and digest: docker.io/a/b:1@sha256:… is a/b:1."""
    name = reference.partition("@")[0]
    first, _, rest = name.partition("/")
    return rest if "." in first or ":" in first or first == "localhost" else name


def _loop(container: Container) -> Iterator[Finding]:
    failing = container.state == "exited" and container.restarts >= OFTEN
    if container.state == "restarting" or failing:
        yield finding(
            "STK-D67",
            f"{container.name} ends as soon as it starts",
            [_state(container), f"image {container.image}"],
            f"{container.runtime} logs --tail 40 {container.name}",
        )
