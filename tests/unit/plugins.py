"""Loads a role's filter plugin the way Ansible does: by its path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROLES = Path(__file__).parents[2] / "roles"


def plugin(role: str, name: str) -> ModuleType:
    """The module roles/<role>/filter_plugins/<name>.py."""
    path = ROLES / role / "filter_plugins" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"{role}_{name}", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
