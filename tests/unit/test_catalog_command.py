"""`stroke catalog`: every entry is found by its names, explained with its source, or nearly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stroke import catalog, role_code
from stroke.errors import Exit, StrokeError

from tests.unit.playing import RecordedBackend, stroke

NOTHING = RecordedBackend({})
KNOWN = role_code.catalog()
ENTRIES = catalog.entries(KNOWN)


def test_the_overview_names_every_section_and_entry() -> None:
    shown = stroke(NOTHING, "catalog")
    assert shown.exit_code == 0 and not NOTHING.jobs
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    for entry in ENTRIES:
        assert entry.name in lines[entry.section], entry


@pytest.mark.parametrize("name", sorted({entry.name for entry in ENTRIES}))
def test_every_entry_is_found_by_its_name(name: str) -> None:
    _, found = catalog.find(KNOWN, name)
    assert any(entry.name == name for entry in found)


def test_an_entry_is_explained_with_its_source_and_who_refers_to_it() -> None:
    shown = stroke(NOTHING, "catalog", "gfx1151").stdout
    assert shown.startswith("gfx1151  gfx  Strix Halo")
    for words in ("kernel_rule", "rdna35", "source", "https://rocm.docs.amd.com", "confidence"):
        assert words in shown
    assert "in images" in shown and "in rocm_channels" in shown


@pytest.mark.parametrize("name", ["1586", "1002:1586", "0x1586", "1002:1586 "])
def test_a_pci_id_finds_its_products(name: str) -> None:
    kind, found = catalog.find(KNOWN, name)
    assert {entry.data["gfx"] for entry in found} == {"gfx1151"}
    assert kind == "section" and {entry.section for entry in found} == {"products"}


@pytest.mark.parametrize("name", ["R9700", "radeon ai pro r9700", "7551:c0"])
def test_a_product_is_found_by_its_name(name: str) -> None:
    _, found = catalog.find(KNOWN, name)
    assert [entry.data["gfx"] for entry in found] == ["gfx1201"]


def test_a_section_is_a_table() -> None:
    lines = stroke(NOTHING, "catalog", "kernel_rules").stdout.splitlines()
    assert lines[0].split() == ["NAME", "WHAT", "CONFIDENCE"]
    assert len(lines) == 1 + len(KNOWN["kernel_rules"])


def test_a_name_of_two_entries_explains_both() -> None:
    shown = stroke(NOTHING, "catalog", "rdna35").stdout
    assert "rdna35  firmware_rules" in shown and "rdna35  kernel_rules" in shown


@pytest.mark.parametrize(
    ("name", "near"), [("gfx1511", "gfx1151"), ("vlm", "vllm"), ("debian13", "debian-13")]
)
def test_an_unknown_name_is_an_error_with_near_matches(name: str, near: str) -> None:
    shown = stroke(NOTHING, "catalog", name)
    assert shown.stdout == ""
    error = shown.exception
    assert isinstance(error, StrokeError) and error.exit is Exit.USAGE
    assert (error.code, error.what) == ("STK-107", f"the catalogue has no {name}")
    assert near in str(error.hint)


def test_json_has_the_whole_entry() -> None:
    document = json.loads(stroke(NOTHING, "catalog", "gfx1151", "--json").stdout)
    assert document["schema"] == "stroke/catalog/1"
    (entry,) = document["entries"]
    assert (entry["section"], entry["name"]) == ("gfx", "gfx1151")
    assert entry["data"]["source"] and "kernel_rocm/rdna35-production" in entry["used_by"]
    everything = json.loads(stroke(NOTHING, "catalog", "--json").stdout)
    assert len(everything["entries"]) == len(ENTRIES)


def test_a_site_s_own_entries_are_explained(tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(
        "kernel_rules:\n  - {id: rdna35, install_floor: '9.9.9'}\n", encoding="utf-8"
    )
    shown = stroke(NOTHING, "catalog", "rdna35", "--site", str(tmp_path)).stdout
    assert "9.9.9" in shown and "own.yml" in shown
