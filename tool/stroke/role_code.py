"""The roles' own Python, run here: facts and profile of a host without an Ansible run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from . import content
from .errors import StrokeError

Json = dict[str, Any]
# What the playbooks ask for as well: where boot files, images, models and temporary files go. Their
# free space is read; nothing is written there.
PLACES = ("/", "/boot", "/var/lib/containers", "/var/lib/stroke", "/var/tmp")  # noqa: S108  # nosec B108


@cache
def _load(role: str, kind: str, name: str) -> ModuleType:
    """One Python file of a role; module_utils are put where Ansible puts them on a host."""
    import ansible.module_utils

    helpers = str(content.roles() / "gpu_facts" / "module_utils")
    if helpers not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(helpers)
    path = content.roles() / role / kind / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"stroke_{role}_{name}", path)
    if specification is None or specification.loader is None or not path.is_file():
        raise StrokeError(
            f"{path} is missing",
            code="STK-902",
            hint="install stroke again: pipx install --force stroke",
        )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def decisions(name: str) -> Any:
    """A module of the package `hostprofile`, which decides what is good for a host."""
    _load("host_profile", "filter_plugins", "host_profile")
    return importlib.import_module(name)


@cache
def catalog(site: str = "") -> Json:
    """The catalogue that comes with this program, with the entries of a site's own directory."""
    directory = content.roles() / "host_profile" / "files" / "catalog"
    module = _load("host_profile", "filter_plugins", "host_profile")
    loaded: Json = module.load_catalog(str(directory), site)
    return loaded


def facts(root: Path, known: Json, user: str, packages: Iterable[str] = ()) -> Json:
    """What gpu_facts says of the host below a directory; `/` is this machine.

    `packages` are looked up besides those of the catalogue.
    """
    import yaml

    module = _load("gpu_facts", "library", "gpu_facts")
    settings = _load("host_profile", "filter_plugins", "settings")
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    parameters = {name: option.get("default") for name, option in options.items()}
    parameters |= {
        "packages": sorted({*settings.catalog_packages(known), *packages}),
        "paths": list(PLACES),
        "users": [user],
        "pci_ids": settings.catalog_pci_ids(known),
    }
    found: Json = module.collect(host(root), parameters)
    return found


def archive_info(path: Path) -> Json:
    """What the role inference_server reads of an image archive."""
    found: Json = _load("inference_server", "filter_plugins", "oci_archive").oci_archive_info(
        str(path)
    )
    return found


def host(root: Path) -> Any:
    """The files of a host as gpu_facts reads them: nothing raises, nothing blocks."""
    _load("gpu_facts", "library", "gpu_facts")
    import ansible.module_utils.gpu_host.files as files

    return files.Host(root)


def scrub(hosts: Iterable[str], logins: Iterable[str], secrets: Iterable[str], keep: bool) -> Any:
    """The rules by which gpu_facts makes logs anonymous, with words that this machine knows."""
    _load("gpu_facts", "library", "gpu_facts")
    from ansible.module_utils.gpu_host import anonymous
    from ansible.module_utils.gpu_host import scrub as rules

    names = anonymous.Names({}, [], keep)
    names.know(hosts, logins, secrets)
    return rules.Scrub(names)


def profile(facts: Json, known: Json) -> Json:
    """What the catalogue makes of a host without settings of its own."""
    decided: Json = _load("host_profile", "filter_plugins", "host_profile").resolve(
        facts, known, {}
    )
    return decided
