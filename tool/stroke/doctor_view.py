"""How doctor's answer looks: the machine, its devices, then findings with what mends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import text, views
from .doctor_access import Node, group_name
from .doctor_devices import Device
from .doctor_finding import ERROR, Finding
from .doctor_machine import Machine

Json = dict[str, Any]
STYLE = {"error": "bold red", "warning": "bold yellow"}
SHOWN = 6


def report(machine: Machine, findings: list[Finding]) -> RenderableType:
    """The whole answer; a machine without an AMD GPU gets one line."""
    if not machine.gpus:
        return Text(f"{about(machine)}: no AMD GPU, so there is nothing to explain.")
    parts: list[RenderableType] = [Text(about(machine), style="bold")]
    parts += [Text(f"  {_gpu(machine, gpu)}") for gpu in machine.gpus]
    parts.append(_verdict(machine))
    if machine.live:
        parts += [Text(), *_devices(machine)]
    parts += [Text(), *_findings(findings)]
    if machine.not_read:
        parts += [Text(), *_not_read(machine)]
    return Group(*parts)


def about(machine: Machine) -> str:
    """Distribution, kernel and memory in a row."""
    memory = text.gib(machine.fact("memory.total_bytes"))
    words = [
        text.clean(machine.distribution or machine.fact("distribution.name", "unknown system")),
        f"kernel {text.clean(machine.fact('kernel.running', 'unknown'))}",
        f"{memory} RAM" if memory else "",
    ]
    return ", ".join(word for word in words if word)


def _gpu(machine: Machine, gpu: Json) -> str:
    vram, gtt = text.gib(gpu.get("vram_bytes")), text.gib(gpu.get("gtt_bytes"))
    mes = gpu.get("mes_version")
    words = [
        str(gpu.get("gfx") or f"PCI id 1002:{gpu.get('pci_id')}"),
        machine.product(gpu),
        f"at {gpu.get('slot')}",
        f"driver {machine.driver(gpu) or 'none'}",
        f"{vram} VRAM" if vram else "",
        f"{gtt} GTT" if gtt else "",
        f"MES firmware {mes:#x}" if mes else "",
        "does not serve" if machine.serving and gpu not in machine.serving else "",
    ]
    return text.clean(", ".join(word for word in words if word))


def _verdict(machine: Machine) -> RenderableType:
    word = str(machine.profile.get("verdict", "unknown"))
    items = [*machine.profile.get("refusals", []), *machine.profile.get("warnings", [])]
    line = Text.assemble("  stroke: ", views.styled(word))
    for item in items:
        line.append(f"\n    {item['code']}: {text.clean(item['what'])}", style="dim")
    return line


def _devices(machine: Machine) -> Iterator[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    listed = set()
    for device in machine.devices:
        shown = "  " if device.node else ""
        name = device.node.path if device.node else f"{device.subsystem} {device.name}"
        grid.add_row(f"  {shown}{text.clean(name)}", _udev(machine, device))
        listed.add(name)
    for node in machine.nodes:
        if node.path not in listed:
            grid.add_row(f"  {node.path}", _who(machine, node))
    who = machine.account
    groups = ", ".join(sorted(group_name(gid) for gid in who.session))
    later = sorted(group_name(gid) for gid in who.configured - who.session)
    waiting = f"; after the next login also {', '.join(later)}" if later else ""
    grid.add_row(f"  user {who.name}", f"in {groups}{waiting}")
    yield Text("Devices", style="bold")
    yield grid


def _udev(machine: Machine, device: Device) -> Text:
    if device.node:
        return _who(machine, device.node)
    names = [
        device.properties.get("ID_MODEL_FROM_DATABASE", ""),
        f"PCI id {device.properties['PCI_ID'].lower()}" if "PCI_ID" in device.properties else "",
        f"driver {device.driver or 'none'}",
    ]
    return Text(text.clean(", ".join(name for name in names if name)))


def _who(machine: Machine, node: Node) -> Text:
    line = Text(text.clean(str(node).removeprefix(f"{node.path}: ")))
    if node.openable:
        return line.append(f", {machine.account.name} may open it", style="green")
    later = " until the next login" if node.openable_after_login else ""
    return line.append(f", {machine.account.name} may not open it{later}", style="red")


def _findings(findings: list[Finding]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("Nothing wrong was found.", style="green")
        return
    errors = sum(finding.kind.severity == ERROR for finding in findings)
    counts = [text.count(errors, "error")] if errors else []
    rest = len(findings) - errors
    counts += [text.count(rest, "warning")] if rest else []
    yield Text(" and ".join(counts), style="bold")
    for finding in findings:
        severity = finding.kind.severity
        yield Text.assemble(
            (f"{finding.code} {severity}", STYLE[severity]), f": {text.clean(finding.what)}"
        )
        body = Table.grid(padding=(0, 1))
        body.add_column(no_wrap=True)
        body.add_column(overflow="fold")
        for number, line in enumerate(part for part in finding.evidence if part):
            body.add_row("seen:" if number == 0 else "", Text(text.clean(line), style="dim"))
        body.add_row("fix:", Text(text.clean(finding.fix), style="bold"))
        yield Padding(body, (0, 0, 0, 2))


def _not_read(machine: Machine) -> Iterator[RenderableType]:
    lines = list(machine.not_read)
    yield Text("Not looked at:", style="dim")
    yield from (Text(f"  {text.clean(line)}", style="dim") for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield Text(f"  and {len(lines) - SHOWN} more; --json lists all", style="dim")
