"""Hands the package `hostprofile`, which decides what is good for a host, to Ansible."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

Json = dict[str, Any]
PACKAGE = Path(__file__).with_name("hostprofile")


def _part(name: str) -> ModuleType:
    """A module of the package beside this file: Ansible loads plugins by path, not by name."""
    if PACKAGE.name not in sys.modules:
        specification = importlib.util.spec_from_file_location(
            PACKAGE.name, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
        )
        if specification is None or specification.loader is None:
            raise ImportError(f"{PACKAGE} cannot be loaded")
        package = importlib.util.module_from_spec(specification)
        sys.modules[PACKAGE.name] = package
        specification.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE.name}.{name}")


_catalog = _part("catalog")
_resolve = _part("resolve")


def load_catalog(directory: str, site_directory: str = "") -> Json:
    """The catalogue of a directory, with a site's own directory laid over it."""
    catalog: Json = _catalog.load(directory, site_directory)
    return catalog


def resolve(facts: Json, catalog: Json, settings: Json) -> Json:
    """The profile of a host: values, the reason for each, warnings and refusals."""
    profile: Json = _resolve.resolve(facts, catalog, settings)
    return profile


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"load_catalog": load_catalog, "resolve_profile": resolve}
