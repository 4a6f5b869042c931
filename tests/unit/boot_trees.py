"""Fixture hosts for boot configurations, and the module boot_args run on them."""

from __future__ import annotations

import json
import re
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

import boot_args  # noqa: E402
from ansible.module_utils.boot_config import files  # noqa: E402

MID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
FEDORA = "6.17.12-300.fc43.x86_64"
OLDER = "6.17.1-300.fc43.x86_64"
DEBIAN = "6.12.107+deb13-amd64"
RECORD = f"{STATE}/originals.json".lstrip("/")
# What changes on each layout, besides the record.
EDITED = {
    "boot-bls-fedora": {
        "etc/kernel/cmdline", "etc/default/grub",
        f"boot/loader/entries/{MID}-{FEDORA}.conf", f"boot/loader/entries/{MID}-{OLDER}.conf",
    },
    "boot-bls-rhel": {
        "etc/default/grub", f"boot/loader/entries/{MID}-5.14.0-570.49.1.el9_6.x86_64.conf",
    },
    "boot-bls-kernelopts": {"etc/default/grub", "boot/efi/EFI/almalinux/grubenv"},
    "boot-systemd-debian": {
        "etc/kernel/cmdline", f"boot/efi/loader/entries/{MID}-{DEBIAN}.conf",
    },
    "boot-systemd-fedora": {
        "etc/kernel/cmdline", f"boot/loader/entries/{MID}-{FEDORA}+3-0.conf",
    },
}  # fmt: skip


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


def run(root: Path, *, check: bool = False, **given: Any) -> dict[str, Any]:
    told: dict[str, Any] = boot_args.work(files.Host(root), params(root, **given), check)
    return told


def options(root: Path, path: str) -> str:
    (line,) = re.findall(r"^options\s+(.*)$", (root / path).read_text(), re.MULTILINE)
    return str(line)
