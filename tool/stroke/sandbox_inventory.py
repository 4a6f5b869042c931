"""The inventory of a sandbox: how to reach the guest, and what a simulated host declares."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stroke.guest_login import Login
from stroke.guest_recipe import ADMIN
from stroke.package_repo import SUITE, PackageRepository

if TYPE_CHECKING:
    from stroke.sandbox import SandboxOptions


def variables(
    options: SandboxOptions, login: Login, repository: PackageRepository
) -> dict[str, Any]:
    """Host variables of the guest."""
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": login.port,
        "ansible_user": ADMIN,
        "ansible_ssh_private_key_file": os.fspath(login.private_key),
        "ansible_ssh_common_args": shlex.join(login.options),
        "ansible_python_interpreter": "/usr/bin/python3",
        "stroke_gpu": options.declared_gpu,
        "stroke_memory_gib": options.declared_memory_gib,
        "rocm_source": "mirror",
        "rocm_mirror_uri": repository.uri,
        "rocm_mirror_suite": SUITE,
        "rocm_key_url": repository.key_url,
        "rocm_key_fingerprint": repository.fingerprint,
    }


def write_inventory(
    target: Path, options: SandboxOptions, login: Login, repository: PackageRepository
) -> None:
    """Write it in YAML's JSON form's plain cousin: one host, its variables, nothing shared."""
    lines = [
        f"# The sandbox {options.name}; written by `stroke sandbox up`, gone with"
        " `stroke sandbox down`.",
        "all:",
        "  hosts:",
        f"    {options.name}:",
    ]
    for key, value in variables(options, login, repository).items():
        lines.append(f"      {key}: {json.dumps(value)}")  # JSON is YAML
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
