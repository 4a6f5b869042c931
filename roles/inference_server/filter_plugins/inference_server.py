"""Hands the package `inferenceunit`, which knows what services are made of, to Ansible."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

Json = dict[str, Any]
PACKAGE = Path(__file__).with_name("inferenceunit")


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


_container = _part("container")
_docker = _part("docker")
_host = _part("host")
_items = _part("items")
_quadlet = _part("quadlet")
_records = _part("records")
_services = _part("services")
_words = _part("words")

systemd_word = _words.systemd_word
model_directory_name = _container.model_directory_name
service_identity = _host.service_identity


def inference_unit(settings: Json) -> Json:
    """`text` of the unit or Quadlet file, and `digest`, which changes with the container."""
    make = _docker.docker_unit if settings["runtime"] == "docker" else _quadlet.quadlet
    made: Json = make(settings)
    return made


_archive: Any = runpy.run_path(os.fspath(PACKAGE.with_name("oci_archive.py")))["oci_archive_info"]


def inference_images(found: list[Json]) -> list[Json]:
    """Of each service its container, the name of its image, and whose they are."""
    return [
        {"name": service["name"], "container": service["container"],
         "reference": service["image"] or _archive(service["image_archive"]).get("reference")
         or service["definition"].get("image"), **_services.scope(service)}
        for service in found
    ]  # fmt: skip


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "inference_clashes": _services.clashes,
            "inference_commands": _host.commands,
            "inference_compose": _docker.compose,
            "inference_forms": _services.forms,
            "inference_images": inference_images,
            "inference_items": _items.items,
            "inference_look": _services.look,
            "inference_place": _host.place,
            "inference_record": _records.record,
            "inference_services": _services.services,
            "inference_superseded": _records.superseded,
            "inference_unit": inference_unit,
            "inference_watched": _services.watched,
            "model_directory_name": model_directory_name,
            "service_identity": service_identity,
        }
