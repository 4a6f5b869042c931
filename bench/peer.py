"""pyinfra as a peer: installed from PyPI into an environment of its own, given the same hosts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from stroke.paths import cache_home

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
VERSION = "3.10.0"


def program() -> Path:
    """pyinfra's command, installed once for all runs."""
    place = cache_home() / "bench" / f"pyinfra-{VERSION}"
    if not (place / "bin" / "pyinfra").is_file():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run(
            [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check",
             f"pyinfra=={VERSION}"],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    return place / "bin" / "pyinfra"


def _hosts(inventory: Path) -> dict[str, dict[str, Any]]:
    listed = subprocess.run(
        [BIN / "ansible-inventory", "-i", inventory, "--list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(listed.stdout)["_meta"]["hostvars"])


def _option(variables: dict[str, Any], name: str) -> str | None:
    """Value of `-o Name=value` in ansible_ssh_common_args."""
    words = shlex.split(str(variables.get("ansible_ssh_common_args", "")))
    return next((w.split("=", 1)[1] for w in words if w.startswith(f"{name}=")), None)


def _known_hosts(hosts: dict[str, dict[str, Any]], where: Path) -> Path:
    """Keys that the inventory knows under an alias, under the names that pyinfra looks up."""
    target = where / "known_hosts"
    lines = set()
    for name, variables in hosts.items():
        known = _option(variables, "UserKnownHostsFile")
        address = variables.get("ansible_host", name)
        port = variables.get("ansible_port", 22)
        place = address if int(port) == 22 else f"[{address}]:{port}"
        for line in Path(known).read_text(encoding="utf-8").splitlines() if known else []:
            lines.add(f"{place} {line.split(maxsplit=1)[1]}")
    target.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
    return target


def deploy(inventory: Path, where: Path) -> tuple[str, ...]:
    """The command that checks on all hosts what stroke wants there."""
    environment = {**os.environ, "ANSIBLE_CONFIG": os.fspath(ROOT / "ansible.cfg"),
                   "ANSIBLE_ROLES_PATH": os.fspath(ROOT / "roles")}  # fmt: skip
    subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, ROOT / "bench" / "manifest.yml",
         "-e", f"bench_target={where}"],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    hosts = _hosts(inventory)
    known = _known_hosts(hosts, where)
    entries = []
    for name, variables in hosts.items():
        data: dict[str, Any] = {
            "ssh_hostname": str(variables.get("ansible_host", name)),
            "ssh_port": int(variables.get("ansible_port", 22)),
            "manifest": os.fspath(where / f"{name}.json"),
            "_sudo": True,
        }
        if known.stat().st_size:
            data["ssh_known_hosts_file"] = os.fspath(known)
        for ours, theirs in (("ansible_user", "ssh_user"),
                             ("ansible_ssh_private_key_file", "ssh_key")):  # fmt: skip
            if variables.get(ours):
                data[theirs] = variables[ours]
        entries.append((name, data))
    target = where / "inventory.py"
    target.write_text(f"all_hosts = {entries!r}\n", encoding="utf-8")
    return (os.fspath(program()), "--yes", os.fspath(target),
            os.fspath(ROOT / "bench" / "peer_deploy.py"))  # fmt: skip


def names(inventory: Path) -> list[str]:
    """Hosts of an inventory, in its order."""
    return list(_hosts(inventory))
