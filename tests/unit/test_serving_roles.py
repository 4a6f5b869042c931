"""Access, runtime and models: what the small filters of the serving roles decide."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins import plugin

access = plugin("gpu_access", "gpu_access")
runtime = plugin("container_runtime", "container_runtime")
store = plugin("model_store", "model_store")

Json = dict[str, Any]

PASSWD = {"root": ["x", "0", "0", "", "/root", "/bin/sh"], "ada": ["x", "1000", "44", "", "", ""]}
GROUP = {"render": ["x", "992", "bob"], "video": ["x", "44", ""]}
WANTED = {"user": "stroke", "users": ["ada"], "groups": ["render", "video"]}


def test_what_is_added_is_recorded_and_what_was_there_is_not() -> None:
    plan = access.access_plan({}, PASSWD, GROUP, WANTED)
    assert plan["unknown_users"] == [] and plan["missing_groups"] == []
    assert plan["record"] == {
        "user": "stroke",
        "user_created": True,
        "groups_created": [],
        "memberships": {"stroke": ["render", "video"], "ada": ["render"]},  # video: primary
    }


def test_a_second_run_remembers_the_first() -> None:
    first = access.access_plan({}, PASSWD, {"video": GROUP["video"]}, WANTED)
    assert first["missing_groups"] == ["render"]
    passwd = PASSWD | {"stroke": ["x", "997", "996", "", "", ""]}
    group = {"render": ["x", "992", "stroke,ada"], "video": ["x", "44", "stroke"]}
    second = access.access_plan(first["record"], passwd, group, WANTED)
    assert second["record"] == first["record"] and second["missing_groups"] == []


def test_a_login_that_does_not_exist_is_named() -> None:
    plan = access.access_plan({}, PASSWD, GROUP, WANTED | {"users": ["ada", "eve"]})
    assert plan["unknown_users"] == ["eve"]


def test_only_added_memberships_of_users_that_stay_are_taken_back() -> None:
    record = access.access_plan({}, PASSWD, GROUP, WANTED)["record"]
    group = {"render": ["x", "992", "bob,stroke,ada"], "video": ["x", "44", "stroke"]}
    assert access.access_leftovers(record, group) == [{"user": "ada", "group": "render"}]
    assert access.access_leftovers(record, GROUP) == []
    assert access.access_leftovers({}, GROUP) == []


@pytest.mark.parametrize(
    ("kfd", "needed"),
    [
        (None, False),
        ({"mode": "0660", "gid": 992}, False),
        ({"mode": "0666", "gid": 992}, False),
        ({"mode": "0600", "gid": 992}, True),
        ({"mode": "0660", "gid": 0}, True),
    ],
)
def test_a_udev_rule_is_needed_only_for_a_closed_node(kfd: Json | None, needed: bool) -> None:
    facts = {"groups": {"render": 992}, "devices": {"kfd": kfd, "render": {}}}
    assert access.nodes_need_rule(facts, "render") is needed


def test_podman_has_a_floor_and_each_package_a_reason() -> None:
    rules = runtime.runtime_rules(["podman", "crun"], "4.4")
    assert rules == [{"name": "podman", "minimum": "4.4"}, {"name": "crun"}]
    reasons = runtime.runtime_reasons("4.4")
    assert "Podman 4.4" in reasons["podman"] and reasons["container_runtime"]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")
    return path


def entry(path: Path | str, **more: Any) -> Json:
    return {"name": "tiny.gguf", "source": str(path), **more}


def test_a_file_with_the_right_checksum_is_planned(model: Path) -> None:
    checksum = hashlib.sha256(b"GGUF").hexdigest()
    (plan,) = store.model_plan([entry(model, sha256=checksum.upper())])
    assert (plan["problem"], plan["sha256"], plan["size"]) == (None, checksum, 4)


def test_the_checksum_follows_the_file(model: Path) -> None:
    first = store.model_plan([entry(model)])[0]["sha256"]
    model.write_bytes(b"GGUF2")
    assert store.model_plan([entry(model)])[0]["sha256"] != first


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "00" * 32}, "STK-413"),
        ({"source": "/nonexistent/x.gguf"}, "STK-413"),
        ({"source": "/"}, "STK-413"),
        ({"name": "../x"}, "STK-302"),
        ({"source": "hf:no-organisation"}, "STK-302"),
        ({"source": "hf:a/b --revision x"}, "STK-302"),
    ],
)
def test_what_cannot_be_served_is_refused(model: Path, change: Json, code: str) -> None:
    (problem,) = store.model_problems(store.model_plan([entry(model) | change]))
    assert problem["code"] == code and problem["hint"]


PLACE = {"path": "/m", "owner": "stroke", "records": "/r", "program": "text"}


def test_a_model_and_its_record_are_items_and_the_model_is_never_read(model: Path) -> None:
    items = store.model_items(store.model_plan([entry(model)]), PLACE)
    assert [item["path"] for item in items] == ["/m", "/m/tiny.gguf", "/r/tiny.gguf.json"]
    assert items[1]["opaque"] and items[1]["size"] == 4 and "content" not in items[1]
    assert hashlib.sha256(b"GGUF").hexdigest() in items[2]["content"]


def test_the_same_hub_model_without_a_revision_means_main() -> None:
    (plan,) = store.model_plan([{"name": "m", "source": "hf:org/model", "revision": None}])
    assert plan["revision"] == "main"
    assert store.model_record(plan) == store.model_record(dict(plan))
