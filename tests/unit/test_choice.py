"""What the facts answer of a manifest without a second look, and which roles have to run."""

from __future__ import annotations

from typing import Any

import choice
import pytest

from tests.unit.plugins import plugin
from tests.unit.trees import ROOT

Json = dict[str, Any]
FILE: Json = {"exists": True, "type": "file", "mode": "0644"}
FACTS: Json = {
    "apt": {"broken": ["podman"], "interrupted": ["0001"]},
    "packages": {"podman": {"version": "5.4.2", "held": False}},
    "users": {"stroke": {"groups": ["render"]}, "nobody-yet": None},
    "kernel": {"running": "7.2.12", "running_package": {"version": "7.2.12-1"}},
    "seen": {
        "patterns": ["/etc/a.d/*stroke*", "/var/lib/stroke", "/var/lib/stroke/*"],
        "paths": {"/etc/a.d/stroke-x": FILE, "/var/lib/stroke": {"exists": True, "type": "link"}},
        "units": {"s.service": {"exists": True, "active": True}},
        "images": {"localhost/i:1": "sha256:1"},
        "arguments": ["quiet", "amd_iommu=on", '"ttm.pages-limit=5"', "amd_iommu=off"],
    },
}


@pytest.mark.parametrize(
    ("item", "seen"),
    [
        ({"kind": "package", "name": "podman"}, {"version": "5.4.2", "held": False}),
        ({"kind": "package", "name": "never-asked"}, None),
        (
            {"kind": "user", "name": "stroke"},
            {"exists": True, "groups": ["render"], "subids": False},
        ),
        ({"kind": "user", "name": "nobody-yet"}, {"exists": False, "groups": [], "subids": False}),
        ({"kind": "user", "name": "never-asked"}, None),
        ({"kind": "package_database"}, {"unfinished": ["podman", "0001"]}),
        ({"kind": "kernel"}, {"running": "7.2.12", "version": "7.2.12-1"}),
        ({"kind": "file", "path": "/etc/a.d/stroke-x"}, FILE),
        ({"kind": "file", "path": "/etc/a.d/stroke-y"}, {"exists": False}),
        ({"kind": "file", "path": "/etc/a.d/other"}, None),
        ({"kind": "file", "path": "/etc/a.d/deeper/stroke-x"}, None),
        ({"kind": "file", "path": "/var/lib/stroke"}, {"exists": True, "type": "link"}),
        ({"kind": "directory", "path": "/var/lib/stroke"}, None),
        ({"kind": "directory", "path": "/var/lib/stroke/models"}, {"exists": False}),
        ({"kind": "unit", "name": "s.service"}, {"exists": True, "active": True}),
        ({"kind": "unit", "name": "t.service"}, None),
        ({"kind": "image", "reference": "i:1"}, {"exists": True, "image_id": "sha256:1"}),
        ({"kind": "image", "reference": "i"}, None),
        ({"kind": "kernel_arg", "key": "amd_iommu"}, {"values": ["on", "off"]}),
        ({"kind": "kernel_arg", "key": "ttm.pages_limit"}, {"values": ["5"]}),
        ({"kind": "kernel_arg", "key": "nomodeset"}, {"values": []}),
        ({"kind": "dance"}, None),
    ],
)
def test_item_is_answered_by_the_facts_or_left_open(item: Json, seen: Json | None) -> None:
    assert choice.manifest_seen([item], FACTS) == [seen]
    assert choice.manifest_unseen([item], FACTS) == ([item] if seen is None else [])


def test_a_second_look_fills_the_gaps_in_order() -> None:
    items: list[Json] = [
        {"kind": "unit", "name": "t.service"},
        {"kind": "kernel"},
        {"kind": "image", "reference": "i"},
    ]
    assert choice.manifest_seen(items, FACTS, [{"a": 1}, {"b": 2}]) == [
        {"a": 1},
        {"running": "7.2.12", "version": "7.2.12-1"},
        {"b": 2},
    ]


def test_facts_without_a_survey_answer_what_they_know() -> None:
    facts = {key: value for key, value in FACTS.items() if key != "seen"}
    found = choice.manifest_seen([{"kind": "kernel"}, {"kind": "unit", "name": "s"}], facts)
    assert found == [{"running": "7.2.12", "version": "7.2.12-1"}, None]


def changes(*pairs: tuple[str, str]) -> list[Json]:
    return [{"role": role, "stage": stage} for role, stage in pairs]


@pytest.mark.parametrize(
    ("found", "roles"),
    [
        (changes(), []),
        (changes(("rocm", "prepare")), ["rocm", "host_verify", "generation"]),
        (changes(("kernel", "prepare")), ["kernel", "boot_guard", "host_verify", "generation"]),
        (
            changes(("boot_params", "reboot")),
            ["boot_params", "boot_guard", "host_verify", "generation"],
        ),
        (
            changes(("inference_server", "serve"), ("model_store", "prepare")),
            ["inference_server", "model_store", "host_verify", "generation"],
        ),
    ],
)
def test_roles_follow_from_changes(found: list[Json], roles: list[str]) -> None:
    assert choice.manifest_roles(found) == roles


def test_full_runs_every_role_in_the_order_of_site() -> None:
    text = (ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8")
    places = [text.index(f"when: \"'{role}' in stroke_roles") for role in choice.ROLES]
    assert places == sorted(places)
    assert choice.manifest_roles([], True) == list(choice.ROLES)


@pytest.mark.parametrize(
    ("tags", "roles"),
    [(["all"], []), (["kernel"], []), (["verify"], ["host_verify"]),
     (["host_verify", "kernel"], ["host_verify"])],
)  # fmt: skip
def test_proof_alone_may_be_asked_for(tags: list[str], roles: list[str]) -> None:
    assert choice.manifest_roles([], False, tags) == roles


def test_a_role_that_no_step_runs_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="dance"):
        choice.manifest_roles(changes(("dance", "prepare")))


def test_restart_is_told_for_its_unit_only() -> None:
    found = [{"kind": "unit", "what": "a.service", "action": "restart"}]
    assert choice.manifest_restarts(found) == ["a.service"]
    assert choice.manifest_restarts([{**found[0], "action": "start"}]) == []


@pytest.mark.parametrize(
    ("running", "differing"),
    [
        (["quiet", "a=1", "b"], []),
        (["a=1"], ["b"]),
        (["a=1", "a=1", "b"], ["a=1"]),
        (["a=2", "b"], ["a=1"]),
        (["a=2", "a=1", "b"], ["a=1"]),
    ],
)
def test_a_menu_is_made_again_for_what_does_not_run(
    running: list[str], differing: list[str]
) -> None:
    boot_params = plugin("boot_params", "boot_params")
    facts = {"kernel": {"args": running}}
    assert boot_params.differing_arguments(facts, ["a=1", "b"]) == differing
    assert boot_params.differing_arguments(None, ["a=1"]) == []
