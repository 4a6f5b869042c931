"""Several Python modules as one program: one file to bring to a host instead of one for each."""

from __future__ import annotations

from pathlib import Path

TEMPLATE = """\
# Managed by stroke; changes are overwritten. Remove with: stroke remove
# The modules of one program, each under its own name, and a loader that finds them in this file.
import importlib.abc
import importlib.util
import runpy
import sys

SOURCES = {}


class Loader(importlib.abc.InspectLoader, importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in SOURCES else None

    def get_source(self, name):
        return SOURCES[name]

    def is_package(self, name):
        return any(other.startswith(name + ".") for other in SOURCES)


"""


def single_program(folder: str, main: str, package: str = "") -> str:
    """The modules of a folder in one text; `main` is the one that runs, as by `python -m`.

    With `package` they are parts of that package, and import each other as such. A module that
    cannot stand in a raw string is a ValueError.
    """
    prefix = f"{package}." if package else ""
    text = TEMPLATE
    for path in sorted(Path(folder).glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "'''" in source or source.endswith("\\"):
            raise ValueError(f"{path} cannot stand in a raw string")
        name = package if path.stem == "__init__" else prefix + path.stem
        text += f"SOURCES[{name!r}] = r'''{source}'''\n\n"
    return (
        f"{text}sys.meta_path.insert(0, Loader())\n"
        f"runpy.run_module({prefix + main!r}, run_name='__main__')\n"
    )


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, object]:
        return {"single_program": single_program}
