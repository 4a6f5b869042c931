"""Versions, images, addresses and keys stand in the catalogue, and nowhere else."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.content.repo import ROOT, load

CATALOG = ROOT / "roles" / "host_profile" / "files" / "catalog"
# Two dots or eight digits, an address, a fingerprint, an image: too special to be there by chance.
SPECIAL = re.compile(
    r"\d+\.\d+\.\d+[\w.+~-]*|\d{8}[\w.+~-]*|https?://\S+|[0-9A-F]{40}|[\w.-]+/[\w./-]+[:@][\w.:-]+"
)
# Packages of the sandbox's test archive bear real versions on purpose.
TEST_DATA = {ROOT / "tool" / "stroke" / "package_repo.py"}
PROSE = {"source", "reason", "hint", "confidence", "name", "notes", "note"}


def values(node: object, key: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from values(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from values(value, key)
    elif key not in PROSE and not key.endswith(("_source", "_reason", "_hint")):
        text = str(node)
        if SPECIAL.fullmatch(text):
            yield text


@functools.cache
def catalogue() -> frozenset[str]:
    return frozenset(v for path in sorted(CATALOG.glob("*.yml")) for v in values(load(path)))


def code_files() -> list[Path]:
    found = [
        *(ROOT / "roles").rglob("*.yml"),
        *(ROOT / "roles").rglob("*.j2"),
        *(ROOT / "roles").rglob("*.py"),
        *(ROOT / "playbooks").rglob("*.yml"),
        *(ROOT / "tool").rglob("*.py"),
    ]
    return sorted(path for path in found if CATALOG not in path.parents and path not in TEST_DATA)


def without_comments(path: Path) -> str:
    """Examples in comments and in documentation may name a version."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = re.sub(r'"""(?s:.*?)"""', "", text)
    return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())


def test_the_catalogue_has_values_to_look_for() -> None:
    found = catalogue()
    assert {"6.16.9", "20260110"} <= found
    assert len(found) > 8


@pytest.mark.parametrize("path", code_files(), ids=lambda path: str(Path(path).relative_to(ROOT)))
def test_no_catalogue_value_is_repeated(path: Path) -> None:
    if path.name == "argument_specs.yml":
        pytest.skip("documentation: may name a version as an example")
    text = without_comments(path)
    repeated = [
        value for value in catalogue() if re.search(rf"(?<![\w.]){re.escape(value)}(?![\w])", text)
    ]
    assert repeated == []
