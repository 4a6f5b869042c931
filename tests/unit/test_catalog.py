"""The catalogue is whole, and a site's own files over it are checked like the shipped ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hostprofile import catalog, schema_check
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts import strix_halo
from tests.unit.plugins import ROLES, plugin

FILES = ROLES / "host_profile" / "files"
SHIPPED = catalog.load(str(FILES / "catalog"))
SCHEMA = json.loads((FILES / "catalog.schema.json").read_text(encoding="utf-8"))
profile = plugin("host_profile", "host_profile")

Json = dict[str, Any]


def site(directory: Path, **files: Any) -> Json:
    """The catalogue with these files of a site; a string is written as it is."""
    for name, content in files.items():
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (directory / f"{name}.yml").write_text(text, encoding="utf-8")
    return catalog.load(str(FILES / "catalog"), str(directory))


def entries(node: Any, where: str = "") -> list[tuple[str, Json]]:
    """Every entry of the catalogue: a table in a list of the top level, or an engine."""
    found = [(f"{name}[{i}]", e) for name, part in node.items() if isinstance(part, list)
             for i, e in enumerate(part)]  # fmt: skip
    found += [(f"engines.{name}", engine) for name, engine in node["engines"].items()]
    return [*found, ("container_runtime", node["container_runtime"])]


def test_the_catalogue_meets_its_schema() -> None:
    assert list(schema_check.problems(SHIPPED, SCHEMA)) == []
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(SHIPPED)) == []


def test_every_reference_in_the_catalogue_resolves() -> None:
    assert list(catalog.dangling(SHIPPED)) == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("gfx", "kernel_rule", "none"), ("gfx", "firmware_rule", "none"),
        ("gfx", "memory_rule", "none"), ("gfx", "support", "nobody"), ("gfx", "engine", "none"),
        ("products", "gfx", "gfx9999"), ("kernel_rocm", "gfx", ["gfx9999"]),
        ("images", "engine", "none"), ("images", "gfx", ["gfx9999"]),
        ("rocm_channels", "distributions", [{"distribution": "plan9"}]),
        ("support_matrix", "official", [{"distribution": "plan9"}]),
        ("known_problems", "when", {"gfx": ["gfx9999"]}),
        ("known_problems", "when", {"release": "("}),
        ("image_tags", "tag", "no group"),
    ],
)  # fmt: skip
def test_a_reference_that_leads_nowhere_is_found(section: str, key: str, value: Any) -> None:
    broken = copy.deepcopy(SHIPPED)
    broken[section][0][key] = value
    assert len(list(catalog.dangling(broken))) >= 1


def test_every_entry_has_a_source_and_a_confidence() -> None:
    for where, entry in entries(SHIPPED):
        assert str(entry["source"]).strip(), where
        assert entry["confidence"] in ("high", "medium", "low", "derived"), where


def test_no_product_is_there_twice() -> None:
    ids = [(p["pci_id"], p["revision"]) for p in SHIPPED["products"]]
    assert len(ids) == len(set(ids))
    # What a driverless host is known by: one id never means two targets.
    assert len({p["pci_id"]: p["gfx"] for p in SHIPPED["products"]}) == len(
        {(p["pci_id"], p["gfx"]) for p in SHIPPED["products"]}
    )


def test_every_target_that_serves_has_a_product_and_an_image() -> None:
    for gfx in SHIPPED["gfx"]:
        name = gfx["name"]
        assert [p for p in SHIPPED["products"] if p["gfx"] == name], name
        images = [i for i in SHIPPED["images"] if i["engine"] == gfx["engine"] and i["chosen"]]
        if gfx.get("serves", True):
            assert [i for i in images if name in i["gfx"]], name


@pytest.mark.parametrize("section", sorted(SCHEMA["properties"]))
def test_a_misspelt_key_is_found_in_every_section(section: str) -> None:
    broken = copy.deepcopy(SHIPPED)
    place = broken[section][0] if isinstance(broken[section], list) else broken[section]
    if section == "engines":
        place = place["vllm"]
    place["misspelt"] = "1"
    assert any("misspelt" in problem for problem in schema_check.problems(broken, SCHEMA))


# --- the small checker against jsonschema ------------------------------------------------------

_PLACES = [
    (section, number, key)
    for section, part in SHIPPED.items()
    if isinstance(part, list)
    for number, entry in enumerate(part)
    for key in entry
]
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 300), st.floats(allow_nan=False), st.text(max_size=6),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(_PLACES), _VALUES)
def test_the_small_checker_agrees_with_jsonschema(place: tuple[str, int, str], value: Any) -> None:
    section, number, key = place
    part = list(SHIPPED[section])
    part[number] = part[number] | {key: value}
    changed = {section: part}
    schema = SCHEMA | {"required": []}
    ours = list(schema_check.problems(changed, schema))
    theirs = list(jsonschema.Draft202012Validator(schema).iter_errors(changed))
    # jsonschema counts 2.0 among the integers; YAML writes 2.0 only for what is no integer.
    if not (isinstance(value, float) and value.is_integer()):
        assert bool(ours) == bool(theirs), (ours, [e.message for e in theirs])


def test_an_unknown_keyword_of_a_schema_is_an_error() -> None:
    with pytest.raises(ValueError, match="oneOf"):
        list(schema_check.problems(1, {"oneOf": []}))


# --- a site's own catalogue ---------------------------------------------------------------------


def test_a_site_changes_one_value_and_keeps_the_rest(tmp_path: Path) -> None:
    ours = site(tmp_path, kernels={"kernel_rules": [{"id": "rdna35", "install_floor": "6.19"}]})
    rule = next(rule for rule in ours["kernel_rules"] if rule["id"] == "rdna35")
    old = next(rule for rule in SHIPPED["kernel_rules"] if rule["id"] == "rdna35")
    assert rule["install_floor"] == "6.19"
    assert rule["minimum"] == old["minimum"]
    assert rule["confidence"] == "site"
    assert "kernels.yml" in rule["source"]
    result = profile.resolve(strix_halo(), ours, {})
    assert result["kernel"]["install_floor"] == "6.19"
    assert result["catalog_overridden"] == ["kernel_rules/rdna35"]


def test_a_site_adds_a_distribution_that_is_refused_otherwise(tmp_path: Path) -> None:
    fedora = next(d for d in SHIPPED["distributions"] if d["id"] == "fedora-44")
    mine = fedora | {"id": "fedora-45", "match": {"id": "fedora", "version": "45"}}
    facts = strix_halo(distribution={"id": "fedora", "version_id": "45", "name": "Fedora 45"})
    assert profile.resolve(facts, SHIPPED, {})["refusals"][0]["code"] == "STK-401"
    ours = site(tmp_path, distributions={"distributions": [mine]})
    assert ours["site"]["problems"] == []
    assert profile.resolve(facts, ours, {})["verdict"] != "refused"


def test_a_site_adds_an_image_that_is_taken_first(tmp_path: Path) -> None:
    mine = {
        "reference": "registry.example/vllm:7", "engine": "vllm", "chosen": True,
        "gfx": ["gfx1151"], "rocm": "7.14.0", "version": None, "command": [], "digest": None,
    }  # fmt: skip
    ours = site(tmp_path, images={"images": [mine]})
    engine = profile.resolve(strix_halo(), ours, {})["engine"]
    assert engine["definition"]["image"] == "registry.example/vllm:7"


WRONG = {
    "no-yaml": "gfx: [",
    "binary": "\x00\x01",
    "list": "- 1",
    "number": "5",
    "section": "gpus: []",
    "no-list": "gfx: 7",
    "no-entries": "gfx: [gfx1151]",
    "no-name": "kernel_rules: [{install_floor: '7'}]",
    "type": "kernel_rules: [{id: rdna35, install_floor: 7}]",
    "key": "kernel_rules: [{id: rdna35, minimun: '7'}]",
    "nested": "memory_rules: [{id: apu, reserve_gib: lots}]",
    "negative": "memory_rules: [{id: apu, reserve_gib: -1}]",
    "reference": "gfx: [{name: gfx1151, kernel_rule: rdna99}]",
    "pattern": "image_tags: [{repository: docker.io/rocm/vllm, tag: '('}]",
    "incomplete": "gfx: [{name: gfx1010, product: Navi 10}]",
    "engine": "engines: {vllm: 5}",
    "engine-arguments": "engines: {vllm: {arguments: '--x'}}",
    "null": "gfx:",
    "deep": "a: " + "[" * 3000,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_a_refusal_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text(WRONG[name], encoding="utf-8")
    ours = catalog.load(str(FILES / "catalog"), str(tmp_path))
    result = profile.resolve(strix_halo(), ours, {})
    assert {refusal["code"] for refusal in result["refusals"]} == {"STK-304"}
    assert "wrong.yml" in result["refusals"][0]["what"]
    assert result["refusals"][0]["hint"]
    assert {k: v for k, v in ours.items() if k != "site"} == SHIPPED


def test_bytes_that_are_no_text_and_links_that_go_round_are_refusals(tmp_path: Path) -> None:
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00gfx")
    (tmp_path / "loop.yml").symlink_to(tmp_path / "loop.yml")
    ours = catalog.load(str(FILES / "catalog"), str(tmp_path))
    assert len(ours["site"]["problems"]) == 2


@pytest.mark.parametrize("missing", ["nowhere", "a-file"])
def test_a_directory_that_is_none_is_a_refusal(missing: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    ours = catalog.load(str(FILES / "catalog"), str(tmp_path / missing))
    assert "is not a directory" in ours["site"]["problems"][0]


def test_an_empty_directory_or_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("", encoding="utf-8")
    ours = catalog.load(str(FILES / "catalog"), str(tmp_path))
    assert ours.pop("site")["problems"] == []
    assert ours == SHIPPED


def test_one_wrong_file_does_not_hide_the_others(tmp_path: Path) -> None:
    ours = site(
        tmp_path,
        a={"kernel_rules": [{"id": "rdna35", "install_floor": "6.19"}]},
        b="gfx: [",
    )
    assert ours["site"]["overridden"] == ["kernel_rules/rdna35"]
    assert len(ours["site"]["problems"]) == 1
