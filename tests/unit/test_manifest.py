"""The difference between wanted and observed, and the order of Debian versions."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from typing import Any

import debver
import manifest
import pytest
import yaml

from tests.unit.trees import ROOT

Json = dict[str, Any]
CASES = ROOT / "tests" / "cases" / "manifest"
COMMON: Json = {"role": "r", "stage": "prepare", "reason": "because"}


def cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted(CASES.glob("*.yml"))
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("case", cases())
def test_one_item(case: Json) -> None:
    item = {**COMMON, **case["item"]}
    found = manifest.manifest_changes([item], [case["observed"]])
    if case["change"] is None:
        assert found == []
        return
    (change,) = found
    what = next(item[key] for key in ("path", "name", "reference", "key", "kind") if key in item)
    expected = {"role": "r", "kind": item["kind"], "stage": item["stage"], "what": what}
    assert change == {**expected, "reason": "because", **case["change"]}


def absent(path: str, **more: Any) -> Json:
    return {**COMMON, "kind": "file", "path": path, "content": "x", **more}


def test_order_is_by_stage_and_then_as_the_roles_said() -> None:
    desired = [
        absent("/d", stage="serve"),
        absent("/b", stage="prepare"),
        absent("/c", stage="reboot"),
        absent("/a", stage="prepare"),
    ]
    found = manifest.manifest_changes(desired, [{"exists": False}] * 4)
    assert [change["what"] for change in found] == ["/b", "/a", "/c", "/d"]


UNIT: Json = {**COMMON, "stage": "serve", "kind": "unit", "name": "u.service", "active": True}
RUNNING: Json = {"exists": True, "active": True, "enabled": "generated", "sub": "running"}


def test_unit_restarts_when_something_it_needs_changes() -> None:
    desired = [{**UNIT, "needs": ["/etc/u", "image:1", "/etc/same"]}, absent("/etc/u")]
    found = manifest.manifest_changes(desired, [RUNNING, {"exists": False}])
    assert [(change["what"], change["action"], change["reason"]) for change in found] == [
        ("/etc/u", "create", "because"),
        ("u.service", "restart", "/etc/u changes"),
    ]


def test_unit_is_left_alone_when_something_else_changes() -> None:
    desired = [{**UNIT, "needs": ["/etc/u"]}, absent("/etc/other")]
    found = manifest.manifest_changes(desired, [RUNNING, {"exists": False}])
    assert [change["what"] for change in found] == ["/etc/other"]


def test_stopped_unit_is_started_and_not_restarted() -> None:
    stopped = {**RUNNING, "active": False, "sub": "dead"}
    desired = [{**UNIT, "needs": ["/etc/u"]}, absent("/etc/u")]
    found = manifest.manifest_changes(desired, [stopped, {"exists": False}])
    assert [(change["what"], change["action"]) for change in found] == [
        ("/etc/u", "create"),
        ("u.service", "start"),
    ]


def test_resting_unit_is_not_restarted() -> None:
    resting = {**RUNNING, "active": False}
    desired = [{**UNIT, "active": False, "needs": ["/etc/u"]}, absent("/etc/u")]
    found = manifest.manifest_changes(desired, [resting, {"exists": False}])
    assert [change["what"] for change in found] == ["/etc/u"]


def test_unit_is_not_restarted_for_the_owner_of_what_it_reads() -> None:
    """A file with the right bytes and a wrong mode is mended; the service need not know."""
    right = {"exists": True, "type": "file", "mode": "0600", "owner": "root", "group": "root",
             "sha256": hashlib.sha256(b"x").hexdigest()}  # fmt: skip
    desired = [absent("/etc/u"), {**UNIT, "needs": ["/etc/u"]}]
    found = manifest.manifest_changes(desired, [right, RUNNING])
    assert [change["what"] for change in found] == ["/etc/u"]


def test_long_text_is_told_by_its_hash_only() -> None:
    item = absent("/etc/long", content="x" * (manifest.SHOWN + 1))
    (created,) = manifest.manifest_changes([item], [{"exists": False}])
    assert "diff" not in created


def test_converged_host_has_no_change() -> None:
    assert manifest.manifest_changes([], []) == []


@pytest.mark.parametrize(
    ("desired", "observed"),
    [
        ([UNIT], []),
        ([{**COMMON, "kind": "dance"}], [{}]),
        ([{**UNIT, "stage": "later"}], [{}]),
    ],
)
def test_a_broken_manifest_is_an_error_of_ours(desired: list[Json], observed: list[Json]) -> None:
    with pytest.raises(ValueError, match=r"wanted|unknown kind or stage"):
        manifest.manifest_changes(desired, observed)


@pytest.mark.parametrize(
    ("version", "minimum", "met"),
    [
        ("7.2.12-1~bpo13+1", "7.2.12", True),
        ("7.2.12-1~bpo13+1", "7.2.12-1", False),
        ("7.2.12-1~bpo13+1", "7.2.12-1~bpo13+1", True),
        ("6.14.0-1018.18", "6.14.0-1018", True),
        ("6.14.0-1017.17", "6.14.0-1018", False),
        ("6.17.0-19.19~24.04.2", "6.17.0-19.19~24.04.2", True),
        ("1:2.0-1", "3.0", False),
        ("1:2.0-1", "0:3.0", True),
        ("2.0", "1:1.0", False),
        ("6.16.9", "6.16.10", False),
        ("20260916-1~bpo13+1", "20260110", True),
        ("6.18~rc4", "6.18", False),
        ("4.4+ds1-1", "4.4", True),
        ("7.2-0~exp1", "7.2", True),
    ],
)
def test_minimum_is_compared_as_far_as_it_says(version: str, minimum: str, met: bool) -> None:
    assert debver.at_least(version, minimum) is met


def versions(chance: random.Random) -> tuple[str, str]:
    """Two versions that dpkg accepts, often nearly the same."""

    def one() -> str:
        tail = "".join(chance.choice("0123459ab~.+-") for _ in range(chance.randrange(6)))
        tail += "1" if tail.endswith("-") else ""
        return chance.choice(["", "", "0:", "1:"]) + chance.choice("0123459") + tail

    left = one()
    near = left + chance.choice(["~", "~1", "+b1", "-1", "-0", "a", "0", ".0", ""])
    return left, near if chance.random() < 0.5 else one()


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is the reference")
def test_order_is_that_of_dpkg() -> None:
    chance = random.Random(20261121)  # noqa: S311
    for _ in range(200):
        left, right = versions(chance)
        word = {-1: "lt", 0: "eq", 1: "gt"}[debver.compare(left, right)]
        done = subprocess.run(["dpkg", "--compare-versions", left, word, right], check=False)
        assert done.returncode == 0, f"{left} {word} {right}"


def test_order_is_total() -> None:
    assert debver.compare("1", "1-0") == 0
    chance = random.Random(7)  # noqa: S311
    for _ in range(2000):
        (a, b), (c, _) = versions(chance), versions(chance)
        assert debver.compare(a, a) == 0
        assert debver.compare(a, b) == -debver.compare(b, a)
        if debver.compare(a, b) <= 0 and debver.compare(b, c) <= 0:
            assert debver.compare(a, c) <= 0
