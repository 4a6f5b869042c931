"""What stroke needs at run time, for the Python of another machine."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# pip writes this machine's Python into the programs that it lays beside the packages.
PROGRAM = """#!/bin/sh
export PYTHONPATH=/opt/stroke/tool:/opt/stroke/site STROKE_CONTENT=/opt/stroke
exec /usr/bin/python3 -m {module} "$@"
"""
MODULES = {
    "stroke": "stroke",
    "ansible-playbook": "ansible.cli.playbook",
    "ansible-inventory": "ansible.cli.inventory",
}


def install(target: Path, python: str) -> None:
    """Lay the packages that pyproject.toml names into a directory; `python` as in 3.13."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", target,
         "--python-version", python, "--only-binary=:all:", *project["dependencies"]],
        check=True,
    )  # fmt: skip


def programs() -> dict[str, str]:
    """Text of each program on a machine that has the checkout and its packages in /opt/stroke."""
    return {name: PROGRAM.format(module=module) for name, module in MODULES.items()}
