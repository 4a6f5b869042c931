"""Find the playbooks and roles that this program runs: in the wheel, or in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import StrokeError

PACKAGE = Path(__file__).parent


def root() -> Path:
    """Return the content tree: STROKE_CONTENT, else the wheel's copy, else the checkout."""
    override = os.environ.get("STROKE_CONTENT")
    if override:
        tree = Path(override).absolute()
        if _directory(tree) is None:
            raise StrokeError(
                f"STROKE_CONTENT is {override}, which has no site.yml",
                code="STK-902",
                hint="unset STROKE_CONTENT, or point it at a checkout of stroke",
            )
        return tree
    for tree in (PACKAGE / "content", PACKAGE.parents[1]):
        if _directory(tree) is not None:
            return tree
    raise StrokeError(
        f"the playbooks that belong to {PACKAGE} are missing",
        code="STK-902",
        hint="install stroke again: pipx install --force stroke",
    )


def playbook(name: str) -> Path:
    """Return one playbook by its name without suffix, in either layout."""
    tree = root()
    path = (_directory(tree) or tree) / f"{name}.yml"
    if not path.is_file():
        raise StrokeError(
            f"playbook {name}.yml is not in {tree}",
            code="STK-902",
            hint="install stroke again: pipx install --force stroke",
        )
    return path


def roles() -> Path:
    """Return the directory of the roles; beside the playbooks in the wheel, at the root else."""
    return root() / "roles"


def _directory(tree: Path) -> Path | None:
    """Return where site.yml lies: `playbooks/` of a checkout wins over its three-line import."""
    for directory in (tree / "playbooks", tree):
        if (directory / "site.yml").is_file():
            return directory
    return None
