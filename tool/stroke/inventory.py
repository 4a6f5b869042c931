"""What the user called HOSTS: checked before a run, and explained by ansible when it is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import StrokeError


@dataclass(frozen=True, slots=True)
class Inventory:
    """The sources for `ansible-playbook -i`; `local` means this machine, without SSH."""

    sources: tuple[str, ...]
    local: bool = False

    @property
    def argument(self) -> str:
        """How the user would type it again."""
        return "" if self.local else " ".join(self.sources)


THIS_MACHINE = Inventory(("localhost,",), local=True)


def resolve(hosts: Sequence[str] | None) -> Inventory:
    """Return the inventory for what was typed; nothing typed means this machine."""
    if not hosts:
        return THIS_MACHINE
    for source in hosts:
        if "," in source or Path(source).exists():
            continue
        raise StrokeError(
            f"inventory not found: {source}",
            code="STK-101",
            hint=_not_found_hint(source),
        )
    return Inventory(tuple(hosts))


def _not_found_hint(source: str) -> str:
    if os.sep in source or Path(source).suffix in (".ini", ".yml", ".yaml", ".json", ".toml"):
        here = sorted(p.name for p in Path().glob("*.ini")) + sorted(
            p.name for p in Path().glob("host*.y*ml")
        )
        found = f"; here are: {', '.join(here[:4])}" if here else ""
        return f"check the path (seen from {Path.cwd()}){found}"
    return f"to name a host directly, end it with a comma: {source},"


def names(
    inventory: Inventory, command: str, env: Mapping[str, str], limit: Sequence[str] = ()
) -> tuple[str, ...]:
    """Ask `ansible-inventory --list` for the host names; raise what is wrong with the sources."""
    arguments = [command, "--list"]
    for source in inventory.sources:
        arguments += ["-i", source]
    if limit:
        arguments += ["--limit", ",".join(limit)]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    if done.returncode != 0:
        source, cause = cause_of(done.stderr)
        what = f"{source or ' '.join(inventory.sources)} cannot be read: {cause}"
        again = " ".join(f"-i {source}" for source in inventory.sources)
        raise StrokeError(what, code="STK-103", hint=f"ansible-inventory {again} --list")
    return listed(json.loads(done.stdout))


def require_hosts(inventory: Inventory, all_hosts: Sequence[str], limit: Sequence[str]) -> None:
    """Say why a run met no host at all."""
    where = " ".join(inventory.sources)
    if not all_hosts:
        raise StrokeError(
            f"{where} has no hosts",
            code="STK-102",
            hint="add a line with a host name, or leave HOSTS out to use this machine",
        )
    if limit:
        shown = ", ".join(all_hosts[:8]) + (" …" if len(all_hosts) > 8 else "")
        raise StrokeError(
            f"--limit {','.join(limit)} matches no host in {where}",
            code="STK-104",
            hint=f"the hosts are: {shown}",
        )


def listed(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hosts of `ansible-inventory --list`, in its order, each once."""
    groups = (group for key, group in document.items() if key != "_meta")
    found = (host for group in groups for host in group.get("hosts", ()))
    known = document.get("_meta", {}).get("hostvars", {})
    return tuple(dict.fromkeys((*found, *known)))


_WARNING = re.compile(r"with '(?P<plugin>\w+)' plugin: (?P<cause>.+)")
_ORIGIN = re.compile(r"^Origin: (?P<file>[^<\s][^:\n]*(?::\d+(?::\d+)?)?)$", re.MULTILINE)
_SOURCE = re.compile(r"failed to parse inventory source (?P<source>.+)")


def cause_of(stderr: str) -> tuple[str, str]:
    """Return the source that ansible could not parse and why, with file and line if it said so."""
    failed = _SOURCE.search(stderr)
    source = failed["source"].strip() if failed else ""
    blocks = [block for block in re.split(r"(?=\[(?:WARNING|ERROR)\]: )", stderr) if block.strip()]
    candidates = []
    for block in blocks:
        warning = _WARNING.search(block)
        if warning:
            cause = warning["cause"].removeprefix("Failed to parse inventory: ").strip()
            origin = _ORIGIN.search(block)
            where = origin["file"] if origin else ""
            candidates.append((_likely(source, warning["plugin"], where), cause, where, block))
    if candidates:
        _, cause, where, block = max(candidates, key=lambda candidate: candidate[0])
        said = block.partition("Standard error from inventory script:")[2].strip()
        cause = f"{cause.rstrip('.')}: {said.splitlines()[0]}" if said else cause
        return source, f"{cause} ({where})" if ":" in where else cause
    errors = [block for block in blocks if block.startswith("[ERROR]: ")]
    text = errors[-1].removeprefix("[ERROR]: ").strip() if errors else stderr.strip()
    if failed and text.startswith("Completely failed"):
        return source, "no plugin of ansible understands it"
    return source, text or "ansible-inventory gave no reason"


def _likely(source: str, plugin: str, where: str) -> int:
    """Rank the plugins' complaints: the one that fits the file says what is wrong with it."""
    suffix = Path(source).suffix
    fits = {".yml": "yaml", ".yaml": "yaml", ".json": "yaml", ".toml": "toml"}.get(suffix, "ini")
    executable = plugin == "script"
    located = re.search(r":\d+", where) is not None
    return 4 * executable + 2 * (located and (fits == "yaml" or plugin == fits)) + (plugin == fits)
