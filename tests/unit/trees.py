"""Fixture hosts: tests/trees/<name>, laid over the trees that its file `base` names in turn."""

from __future__ import annotations

import shutil
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).parents[2]
TREES = ROOT / "tests" / "trees"
# Under parts/ are pieces of hosts; boot-* are layouts of boot loaders without a machine.
HOSTS = sorted(
    path.name
    for path in TREES.iterdir()
    if path.is_dir() and path.name != "parts" and not path.name.startswith("boot-")
)

# On a host Ansible ships the role's helpers as ansible.module_utils.gpu_host.
ansible.module_utils.__path__.append(str(ROOT / "roles" / "gpu_facts" / "module_utils"))
ansible.module_utils.__path__.append(str(ROOT / "roles" / "host_verify" / "module_utils"))
ansible.module_utils.__path__.append(str(ROOT / "roles" / "generation" / "module_utils"))


def tree(name: str, target: Path) -> Path:
    """A private copy of a fixture host, ready to be changed by a test."""
    base = TREES / name / "base"
    if base.is_file():
        for part in base.read_text(encoding="utf-8").split():
            tree(part, target)
    for source in sorted((TREES / name).rglob("*")):
        place = target / source.relative_to(TREES / name)
        if source.is_dir() and not source.is_symlink():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        # Links of sysfs and udev stay links; most of them lead out of a sparse tree.
        shutil.copy2(source, place, follow_symlinks=False)
    (target / "base").unlink(missing_ok=True)
    return target


def write(root: Path, path: str, content: str | bytes) -> Path:
    """Put one file into a tree."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file
