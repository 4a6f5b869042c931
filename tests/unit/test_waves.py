"""Waves: a canary, then shares, and never the whole of a group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins import plugin

waves = plugin("host_profile", "waves")
NAMES = [f"node-{number}" for number in range(1, 13)]


def sizes(groups: dict[str, list[str]], hosts: list[str] = NAMES, **more: Any) -> list[int]:
    found: list[int] = waves.wave_sizes(groups, hosts, more.pop("limited", hosts), **more)
    return found


def test_the_canary_comes_first_then_shares() -> None:
    assert sizes({"all": NAMES}, canary="1", wave="50%") == [1, 6, 5]
    assert sizes({"all": NAMES}, canary=2, wave=4) == [2, 4, 4, 2]
    assert sizes({"all": NAMES}, wave="25%") == [3, 3, 3, 3]


def test_no_wave_holds_a_whole_group() -> None:
    pair = {"all": NAMES, "pair": ["node-2", "node-3"]}
    assert sizes(pair, canary="1", wave="100%") == [1, 1, 10]
    assert sizes({"all": NAMES}, wave="100%") == [11, 1]


def test_a_group_that_is_only_partly_worked_on_may_be_down_in_its_part() -> None:
    assert sizes({"all": NAMES}, limited=NAMES[:4], wave="100%") == [4]


def test_one_host_is_one_wave() -> None:
    assert sizes({"all": ["a"]}, ["a"], canary=1, wave="50%") == [1]
    assert sizes({"all": []}, []) == [1]


@given(
    members=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sets(st.sampled_from(NAMES))),
    limited=st.sets(st.sampled_from(NAMES), min_size=1),
    canary=st.sampled_from(["0", "1", "3", "10%"]),
    wave=st.sampled_from(["1", "2", "5", "10%", "50%", "100%"]),
)
def test_waves_are_whole_and_leave_somebody(
    members: dict[str, set[str]], limited: set[str], canary: str, wave: str
) -> None:
    groups = {name: [h for h in NAMES if h in found] for name, found in members.items()}
    found = sizes(groups, limited=sorted(limited), canary=canary, wave=wave)
    left = [name for name in NAMES if name in limited]
    assert sum(found) == len(left) and min(found) >= 1
    for size in found:
        batch, left = set(left[:size]), left[size:]
        whole = [n for n, m in groups.items() if len(m) > 1 and batch.issuperset(m)]
        assert whole == []


@pytest.mark.parametrize("value", ["half", "-1", "101%", "1.5", "", "1; reboot", "٣"])
def test_what_is_no_share_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="STK-643"):
        sizes({"all": NAMES}, wave=value)


def test_a_limit_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "left").write_text("node-2\n\nnode-3\n", encoding="utf-8")
    assert waves.limit_pattern(f"@{tmp_path}/left,node-7") == "node-2,node-3,node-7"
    assert waves.limit_pattern(None) == "all"


def test_the_stop_rule_counts_over_all_waves() -> None:
    assert not waves.fleet_stop(NAMES, NAMES, "0")
    assert waves.fleet_stop(NAMES, NAMES[1:], "0")
    assert not waves.fleet_stop(NAMES, NAMES[1:], "10%")
    assert waves.fleet_stop(NAMES, NAMES[2:], "10%")
    assert not waves.fleet_stop(NAMES, NAMES[2:], 2)


def facts(active: bool) -> dict[str, Any]:
    return {"seen": {"units": {"stroke-inference.service": {"active": active}}}}


def change(role: str, stage: str = "prepare") -> dict[str, Any]:
    return {"role": role, "stage": stage}


@pytest.mark.parametrize(
    ("changes", "active", "down"),
    [
        ([change("kernel")], True, True),
        ([change("inference_server", "serve")], True, True),
        ([change("boot_params", "reboot")], True, True),
        ([change("gpu_access"), change("metrics", "serve")], True, False),
        ([change("kernel")], False, False),
        ([], True, False),
    ],
)
def test_only_what_serves_is_interrupted(
    changes: list[dict[str, Any]], active: bool, down: bool
) -> None:
    assert waves.interrupts(changes, facts(active), ["stroke-inference"]) is down


def state(interrupts: bool, serves: bool = True) -> dict[str, Any]:
    return {"stroke_interrupts": interrupts, "stroke_serves": serves}


def test_hosts_of_a_group_that_would_all_be_down_are_named() -> None:
    groups = {"all": ["a", "b", "c"], "pair": ["a", "b"], "one": ["a"]}
    both = {"a": state(True), "b": state(True), "c": state(False)}
    assert waves.down_together(groups, ["a", "b", "c"], [], both) == {"a": "pair", "b": "pair"}
    assert waves.down_together(groups, ["a"], [], both) == {}, "b serves meanwhile"
    assert waves.down_together(groups, ["a"], ["b"], both) == {"a": "pair"}, "b failed before"


def test_hosts_that_do_not_serve_yet_stop_nobody() -> None:
    fresh = {"a": state(False, False), "b": state(False, False)}
    assert waves.down_together({"all": ["a", "b"]}, ["a", "b"], [], fresh) == {}
    last = {"a": state(True), "b": state(False, False)}
    assert waves.down_together({"all": ["a", "b"]}, ["a", "b"], [], last) == {"a": "all"}
