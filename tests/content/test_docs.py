"""Pages say what the code says, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.content.repo import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"),
                *(ROOT / "roles").glob("*/README.md")])  # fmt: skip


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date() -> None:
    """Mend with: .venv/bin/python docs/generate.py"""
    stale: list[Path] = generator().stale()
    assert [str(path.relative_to(ROOT)) for path in stale] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(Path(page).relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)`", readme, re.M))
    wanted = {name for pair in named for name in pair if name}
    targets = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^([a-z- ]+):", makefile, re.M))))
    assert wanted >= {"demo", "test"}
    assert sorted(wanted - targets) == []


def test_constraints_pin_every_dependency_with_hashes_and_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==", text, re.M)
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.M)[1:]
    assert len(pins) == len(blocks)
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted-host", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    direct = [*project["project"]["dependencies"],
              *(name for extra in project["project"]["optional-dependencies"].values()
                for name in extra),
              *(name for group in groups.values() for name in group)]  # fmt: skip
    names = {re.split(r"[<>=!~ ;\[]", requirement)[0].lower() for requirement in direct}
    assert sorted(names - set(pins)) == []
