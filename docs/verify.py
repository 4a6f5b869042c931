"""Makes verify.md from the table of checks; docs/generate.py writes the file."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).resolve().parents[1] / "roles/host_verify/files/checks.yml"
HEAD = """\
# What verify checks

`stroke verify` (and the end of every `stroke provision` that changed something) proves a host
layer by layer and changes nothing. Each layer rests on those above it here: mend the first that
fails, then ask again.

A check is `passed`, `failed`, `warning` (told, and no failure), or `skipped (simulated)`: what
only a real GPU can answer (marked GPU below) is never passed on a host whose GPU is declared. A
check whose subject was never asked for is left out. Ids stay: none is ever given to another
check.

    stroke verify hosts.ini                       a table; exit code 6 when a check failed
    stroke verify hosts.ini --json                with wanted, found and hint of each check
    stroke verify hosts.ini --junit verify.xml    a test suite for each host, for CI systems

All of it is read in two runs on the host, one of which `stroke plan` makes too: `gpu_facts` for
what the host is, `service_probe` for what its services are, may do and answer. What processes may
do comes from `/proc`, not from what was asked for on their behalf; memory of the GPU is followed
from the request down to what the container sees, and V200 names the first layer that disagrees.
With several services, checks of a service carry its name.
"""


def page() -> str:
    """The whole page."""
    checks: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["checks"]
    parts = [HEAD]
    for layer, group in groupby(checks, key=lambda check: check["layer"]):
        rows = [
            f"## {layer[0].upper()}{layer[1:]}",
            "",
            "| id | check | proves | |",
            "|---|---|---|---|",
        ]
        for check in group:
            proves = str(check["proves"]).strip()
            needs = "GPU" if check.get("gpu") else ""
            rows.append(f"| {check['id']} | {check['what']} | {proves} | {needs} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)
