"""Fixture hosts for boot configurations, and the module boot_args run on them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils

ROOT = Path(__file__).parents[2]
TREES = ROOT / "tests" / "trees"
STATE = "/var/lib/stroke/boot_params"
LIBRARY = ROOT / "roles" / "boot_params" / "library" / "boot_args.py"
HELPERS = ROOT / "roles" / "boot_params" / "module_utils"
WANTED = ["amd_iommu=off", "ttm.pages_limit=28311552", "amdgpu.gttsize=110592"]
KEYS = ["iommu"]

# On a host Ansible ships the role's helpers as ansible.module_utils.boot_config.
ansible.module_utils.__path__.append(str(HELPERS))


def host(name: str, target: Path) -> Path:
    """A private copy of a fixture host, its symbolic links included."""
    shutil.copytree(TREES / name, target, symlinks=True)
    return target


def contents(root: Path) -> dict[str, bytes | str]:
    """Every file with its bytes, every link with its target."""
    return {
        str(path.relative_to(root)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def changed(before: dict[str, bytes | str], after: dict[str, bytes | str]) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def params(root: Path, **given: Any) -> dict[str, Any]:
    return {
        "root": str(root), "layout": "auto", "arguments": WANTED, "managed_keys": KEYS,
        "state": "present", "state_directory": STATE, **given,
    }  # fmt: skip


def run_module(root: Path, **given: Any) -> dict[str, Any]:
    """The module as a program of its own, as Ansible starts it."""
    check = {f"_ansible_{name}": given.pop(name, False) for name in ("check_mode", "diff")}
    code = (
        "import sys, runpy, ansible.module_utils as m;"
        f"m.__path__.append({str(HELPERS)!r});"
        "sys.argv = ['boot_args', sys.argv[1]];"
        f"runpy.run_path({str(LIBRARY)!r}, run_name='__main__')"
    )
    order = {"ANSIBLE_MODULE_ARGS": {**params(root, **given), **check}}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(order)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip(), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
