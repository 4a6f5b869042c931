"""Explain this machine: what its GPUs are, who may use them, and what is wrong with the command
that mends it. Reads only, starts no playbook, works as an ordinary user."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import doctor_arguments, doctor_driver, doctor_engines, doctor_leftovers, version
from .doctor_finding import ERROR, Finding
from .doctor_machine import Machine, read
from .errors import Exit

Json = dict[str, Any]
SCHEMA = "stroke/doctor/1"
CHECKS = (
    doctor_driver.checks,
    doctor_arguments.checks,
    doctor_leftovers.checks,
    doctor_engines.checks,
)
GPU_KEYS = (
    "slot", "gfx", "product", "name", "pci_id", "revision", "apu", "vram_bytes", "gtt_bytes",
    "cu_count", "render_node", "mes_version", "cwsr_size",
)  # fmt: skip


def examine(machine: Machine) -> list[Finding]:
    """Every finding, errors first, each once."""
    found = [finding for check in CHECKS for finding in check(machine)]
    return sorted(dict.fromkeys(found), key=lambda f: (f.kind.severity != ERROR, f.code))


def exit_of(findings: list[Finding]) -> Exit:
    """3 where an error keeps models from being served; warnings alone are 0."""
    broken = any(finding.kind.severity == ERROR for finding in findings)
    return Exit.FAILED if broken else Exit.OK


def status(machine: Machine, findings: list[Finding]) -> str:
    """One word for scripts."""
    if not machine.gpus:
        return "no gpu"
    return "findings" if findings else "healthy"


def document(machine: Machine, findings: list[Finding]) -> Json:
    """What `--json` prints; docs/doctor.schema.json describes it."""
    return {
        "schema": SCHEMA,
        "stroke": version(),
        "status": status(machine, findings),
        "exit_code": int(exit_of(findings)),
        "machine": {
            "distribution": machine.distribution,
            "kernel": machine.fact("kernel.running", ""),
            "architecture": machine.fact("environment.architecture", ""),
            "virtualization": machine.fact("environment.virtualization", ""),
            "memory_bytes": machine.fact("memory.total_bytes", 0),
            "boot_loader": machine.fact("boot.loader", ""),
        },
        "verdict": machine.profile.get("verdict"),
        "warnings": machine.profile.get("warnings", []),
        "refusals": machine.profile.get("refusals", []),
        "gpus": [
            {key: gpu.get(key) for key in GPU_KEYS} | {"driver": machine.driver(gpu)}
            for gpu in machine.gpus
        ],
        "devices": [asdict(device) for device in machine.devices],
        "nodes": [asdict(node) for node in machine.nodes],
        "user": {
            "name": machine.account.name,
            "uid": machine.account.uid,
            "session_groups": sorted(machine.account.session),
            "configured_groups": sorted(machine.account.configured),
        },
        # Not their environment, which may hold tokens.
        "containers": [
            {"runtime": c.runtime, "name": c.name, "image": c.image, "state": c.state}
            for c in machine.containers
        ],
        "findings": [
            {"severity": f.kind.severity, "title": f.kind.title, **asdict(f)} for f in findings
        ],
        "not_read": list(machine.not_read),
    }


def doctor(*, as_json: bool, root: Path) -> Exit:
    """Run the command."""
    from .console import Console
    from .doctor_view import report

    console = Console(as_json=as_json)
    machine = read(root)
    findings = examine(machine)
    console.result(report(machine, findings))
    console.document(document(machine, findings))
    return exit_of(findings)
