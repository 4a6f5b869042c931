"""What the user's own files may do to this program: YAML is measured before anything expands it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import content
from .errors import StrokeError
from .inventory import Inventory
from .role_code import decisions

SUFFIXES = (".yml", ".yaml", ".json")
PROOF = {"verify", "host_verify"}
VARIABLES = ("group_vars", "host_vars")


def vet(where: Inventory, extra_vars: Sequence[str]) -> None:
    """Raise STK-641 for a file of the inventory, its variables or -e @file that is a YAML bomb."""
    for path in _files(where, extra_vars):
        reason = _bomb(path)
        if reason:
            raise StrokeError(
                f"{path} is not read: {reason}",
                code="STK-641",
                hint="write the values out, or take the aliases (&name, *name) apart",
            )


def settings(extra_vars: Sequence[str]) -> None:
    """Raise STK-106 for -e '{…' that nobody can read: ansible would blame the inventory."""
    import yaml

    for setting in extra_vars:
        if not setting.startswith(("{", "[")):
            continue
        try:
            yaml.safe_load(setting)
        except yaml.YAMLError as error:
            said = str(error).partition("\n")[0]
            raise StrokeError(  # not the setting itself: it may be half of a secret
                f"-e {setting[0]}… is neither JSON nor YAML: {said}",
                code="STK-106",
                hint='-e name=value, or -e \'{"name": "value"}\'',
            ) from None


def tags(given: Sequence[str]) -> None:
    """Raise STK-106 for a tag that no step has: what does nothing looks like success."""
    wanted = {tag.strip() for group in given for tag in group.split(",")}
    if not wanted:
        return
    if wanted <= PROOF:
        raise StrokeError(
            f"--tags {','.join(sorted(wanted))} alone has nothing to change",
            code="STK-106",
            hint="a proof is a command of its own: stroke verify",
        )
    known = _tags_of(content.playbook("site"))
    unknown = sorted(wanted - known - {"all"})
    if unknown:
        raise StrokeError(
            f"--tags {','.join(unknown)}: there is no such stage and no such role",
            code="STK-106",
            hint=f"there are: {', '.join(sorted(known - {'always'}))}",
        )


def _tags_of(playbook: Path) -> set[str]:
    """Every tag of a playbook's steps."""
    import yaml

    def steps(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for task in tasks:
            yield task
            yield from steps(task.get("block", []))

    plays = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    return {tag for play in plays for step in steps(play["tasks"]) for tag in step.get("tags", [])}


def _bomb(path: Path) -> str:
    import yaml

    try:
        text = path.read_bytes().decode("utf-8", "replace")
        # Only aliases multiply; depth is what else can end a parser.
        if "*" not in text and max(text.count("["), text.count("{")) < 100 and len(text) < 100_000:
            return ""
        reason: str = decisions("hostprofile.yaml_size").too_large(text)
    except OSError:
        return ""
    except yaml.YAMLError:  # ansible says it better
        return ""
    return reason


def _files(where: Inventory, extra_vars: Sequence[str]) -> Iterator[Path]:
    """YAML that ansible is going to load for these sources."""
    for source in where.sources:
        path = Path(source)
        if "," in source or not path.exists():
            continue
        beside = path if path.is_dir() else path.parent
        if path.is_dir():
            yield from _yaml(path)
        elif path.suffix in SUFFIXES and not os.access(path, os.X_OK):
            yield path
        for name in VARIABLES:
            yield from _yaml(beside / name)
    for setting in extra_vars:
        if setting.startswith("@"):
            yield Path(setting[1:]).expanduser()


def _yaml(folder: Path) -> Iterator[Path]:
    """Files below a folder of variables; ansible reads those without a suffix, too."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and path.suffix in ("", *SUFFIXES):
            yield path
