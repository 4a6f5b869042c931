"""The inventory of a sandbox: how to reach the guest, and what a simulated host declares."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stroke.engine_image import EngineImage
from stroke.guest_login import Login
from stroke.guest_recipe import ADMIN
from stroke.package_repo import SUITE, PackageRepository
from stroke.tiny_model import NAME, TinyModel

if TYPE_CHECKING:
    from stroke.sandbox import SandboxOptions


def variables(
    options: SandboxOptions,
    login: Login,
    repository: PackageRepository,
    engine: EngineImage,
    model: TinyModel,
) -> dict[str, Any]:
    """Host variables of the guest."""
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": login.port,
        "ansible_user": ADMIN,
        "ansible_ssh_private_key_file": os.fspath(login.private_key),
        "ansible_ssh_common_args": shlex.join(login.options),
        "ansible_python_interpreter": "/usr/bin/python3",
        # An emulated guest on a busy machine needs more than Ansible's 10 s to answer.
        "ansible_timeout": 120,
        "stroke_gpu": options.declared_gpu,
        "stroke_memory_gib": options.declared_memory_gib,
        "rocm_source": "mirror",
        "rocm_mirror_uri": repository.uri,
        "rocm_mirror_suite": SUITE,
        "rocm_key_url": repository.key_url,
        "rocm_key_fingerprint": repository.fingerprint,
        "inference_server_engine": "llamacpp",
        "inference_server_image": engine.reference,
        "inference_server_image_archive": os.fspath(engine.archive),
        "model_store_models": [
            {"name": NAME, "source": os.fspath(model.path), "sha256": model.sha256}
        ],
        "inference_server_model": NAME,
    }


def write_inventory(target: Path, name: str, values: dict[str, Any]) -> None:
    """One host with its variables; each value is JSON, which is YAML without surprises."""
    lines = [
        f"# The sandbox {name}: written by `stroke sandbox up`, gone with `stroke sandbox down`.",
        "all:",
        "  hosts:",
        f"    {name}:",
        *(f"      {key}: {json.dumps(value)}" for key, value in values.items()),
    ]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
