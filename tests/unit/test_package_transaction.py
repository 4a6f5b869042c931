"""The module that runs a transaction, with a package manager made of dictionaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest
from package_host.record import Record
from package_host.shell import Shell, Trouble

from tests.unit.facts import strix_halo
from tests.unit.plugins import ROLES, plugin

ansible.module_utils.__path__.append(str(ROLES / "packages" / "module_utils"))
import package_transaction  # noqa: E402  # it needs the path above

packages = plugin("packages", "packages")
manifest = plugin("host_profile", "manifest")
Json = dict[str, Any]


class Host:
    """Installs what it is told; fails in the middle when asked to."""

    def __init__(self, fails: bool = False) -> None:
        self.now: dict[str, list[str]] = {"old": ["1"]}
        self.held: set[str] = set()
        self.fails = fails

    def installed(self) -> dict[str, list[str]]:
        return {name: list(versions) for name, versions in self.now.items()}

    def beside(self) -> frozenset[str]:
        return frozenset()

    def plan(self, wanted: list[Json], own_holds: list[str]) -> Json:
        return {one["name"]: None for one in wanted}

    def install(self, wanted: list[Json], planned: Json) -> None:
        self.now |= {one["name"]: ["2"] for one in wanted}
        if self.fails:
            raise Trouble("STK-801", "the disk is full", "make room")

    def ours(self, found: Json, opened: Json) -> Json:
        return found

    def holds(self) -> set[str]:
        return self.held

    def hold(self, names: list[str]) -> None:
        self.held |= set(names)

    def release(self, names: list[str]) -> None:
        self.held -= set(names)

    def both(self, upgraded: list[Json], added: list[Json]) -> bool:
        return False

    def downgrade(self, rows: list[Json]) -> dict[str, str]:
        self.now |= {row["name"]: [row["before"]] for row in rows}
        return {}

    def remove(self, rows: list[Json]) -> dict[str, str]:
        for row in rows:
            del self.now[row["name"]]
        return {}


def params(folder: Path, *names: str, **more: Any) -> Json:
    return {"folder": str(folder), "records": ["kernel"], "hold": [], "firmware": [],
            "initramfs": "", "release": "", "wanted": [{"name": name} for name in names],
            **more}  # fmt: skip


def saved(folder: Path) -> Json:
    data: Json = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    return data


def test_what_came_is_recorded_and_all_of_it_is_taken_back(tmp_path: Path) -> None:
    host = Host()
    result = package_transaction.present(host, Shell(), params(tmp_path, "new", "old"))
    assert result["changed"] and result["diff"]["after"] == "new 2\nold 2\n"
    assert saved(tmp_path)["upgraded"] == {"old": {"before": "1", "after": "2"}}
    again = package_transaction.present(host, Shell(), params(tmp_path))
    assert not again["changed"]
    listed = package_transaction.absent(host, params(tmp_path, records=[]), really=False)
    assert [row["name"] for row in listed["packages"]] == ["new", "old"]
    assert host.now == {"old": ["2"], "new": ["2"]}
    package_transaction.absent(host, params(tmp_path, records=[]), really=True)
    assert host.now == {"old": ["1"]} and list(tmp_path.iterdir()) == []


def test_a_transaction_that_fails_is_recorded_as_far_as_it_came(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="the disk is full"):
        package_transaction.present(Host(fails=True), Shell(), params(tmp_path, "new"))
    assert saved(tmp_path)["added"] == {"new": ["2"]} and saved(tmp_path)["open"] is None


def test_listing_what_was_cut_off_leaves_the_record_open(tmp_path: Path) -> None:
    host = Host()
    record = Record(tmp_path, "kernel")
    record.begin(1, ["new"], host.installed(), None)
    host.now["new"] = ["2"]
    listed = package_transaction.absent(host, params(tmp_path), really=False)
    assert [row["name"] for row in listed["packages"]] == ["new"]
    assert saved(tmp_path)["open"] is not None
    assert package_transaction.present(host, Shell(), params(tmp_path))["changed"]
    assert saved(tmp_path)["added"] == {"new": ["2"]}


def test_a_changed_firmware_asks_for_an_initramfs_until_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    built: list[Any] = []

    def rebuild(*arguments: Any, **chosen: str) -> str:
        built.append(arguments)
        return "7"

    wanted = params(tmp_path, "fw", firmware=["fw"], initramfs="dracut")
    monkeypatch.setattr(package_transaction, "rebuild", lambda *a, **b: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        package_transaction.present(host, Shell(), wanted)
    assert saved(tmp_path)["initramfs"]
    facts = strix_halo(state__packages={"kernel": saved(tmp_path)})
    assert packages.package_work([], facts, "kernel", [])
    monkeypatch.setattr(package_transaction, "rebuild", rebuild)
    result = package_transaction.present(host, Shell(), wanted | {"wanted": []})
    assert result["initramfs"] == "7" and len(built) == 1
    assert saved(tmp_path)["initramfs"] is None


def test_holds_are_set_beside_those_of_others_and_only_ours_are_lifted(tmp_path: Path) -> None:
    host = Host()
    host.held = {"old", "other"}
    wanted = params(tmp_path, hold=["old", "new"])
    assert package_transaction.present(host, Shell(), wanted)["changed"]
    assert host.held == {"old", "other", "new"} and saved(tmp_path)["holds"] == ["new"]
    assert not package_transaction.present(host, Shell(), wanted)["changed"]
    assert package_transaction.present(host, Shell(), params(tmp_path))["changed"]
    assert host.held == {"old", "other"}


def test_check_mode_predicts_without_a_package_manager() -> None:
    result = package_transaction.predicted("rocm", [{"name": "a", "minimum": "2"}, {"name": "b"}])
    assert result["changed"] and result["diff"]["after"] == "a >= 2\nb any\n"
    assert not package_transaction.predicted("rocm", [])["changed"]


RULES = [
    {"name": "podman", "minimum": "4.4"},
    {"name": "crun"},
    {"name": "rocminfo", "version": "7.2*"},
]
REASONS = {"podman": "Quadlet", "container_runtime": "Podman needs it"}


def test_rules_become_items_with_a_reason_each() -> None:
    items = packages.package_items(RULES, "container_runtime", REASONS, "rpm")
    assert [item["minimum"] for item in items] == ["4.4", None, "7.2"]
    assert [item["reason"] for item in items] == ["Quadlet", "Podman needs it", "Podman needs it"]
    assert {item["version_kind"] for item in items} == {"rpm"}


def test_what_is_still_missing_after_a_transaction_is_said() -> None:
    facts = strix_halo()
    items = packages.package_items(RULES[:2], "container_runtime")
    pending = manifest.manifest_changes(items, packages.observed_packages(items, facts))
    assert packages.pending_packages(RULES, pending) == RULES[:2]
    rows = [{"name": "podman", "after": "4.3.1-1"}, {"name": "crun", "after": "1"}]
    left = manifest.manifest_changes(items, packages.packages_after(items, facts, rows))
    said = packages.package_shortage(left)
    assert said.startswith("STK-401: ") and "podman 4.3.1-1, ≥ 4.4 is wanted" in said
    assert "crun" not in said and "Hint: " in said


def test_there_is_nothing_to_do_for_a_clean_record() -> None:
    clean = {"open": None, "initramfs": None, "holds": ["linux-image-amd64"]}
    facts = strix_halo(state__packages={"kernel": clean})
    facts["packages"]["linux-image-amd64"]["held"] = True
    assert not packages.package_work([], facts, "kernel", ["linux-image-amd64"])
    assert packages.package_work([], facts, "kernel", [])  # our hold is no longer wanted
    assert packages.package_work([], facts, "kernel", ["linux-image-amd64", "firmware"])
    assert packages.package_work([{"what": "x"}], facts, "kernel", ["linux-image-amd64"])
    assert not packages.package_work([], strix_halo(), "kernel", [])
