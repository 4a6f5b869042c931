"""Which generation is meant, what of it is to be had, and what the host then wants."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.facts import strix_halo
from tests.unit.plugins import ROLES, plugin

generation = plugin("generation", "generation")
boot_params = plugin("boot_params", "boot_params")
guard = plugin("boot_guard", "boot_guard")
manifest = plugin("host_profile", "manifest")
packages = plugin("packages", "packages")
host_profile = plugin("host_profile", "host_profile")
preflight = plugin("preflight", "preflight")
system = plugin("host_verify", "verify")._part("system")
check = plugin("host_verify", "verify")._part("check")
CATALOG = host_profile.load_catalog(str(ROLES / "host_profile" / "files" / "catalog"))
Json = dict[str, Any]

OLD, NEW = "6.17.1+deb13-amd64", "7.2.12+deb13-amd64"
FIRMWARE = "firmware-amd-graphics"
IMAGE = {"reference": "localhost/vllm:1", "id": "sha256:" + "1" * 64}
PARTS = ["kernel", "arguments", "firmware", "image"]
NAME = "stroke-inference"


def made(number: int, **more: Any) -> Json:
    return {"number": number, "at": "2026-11-21T10:00:00Z", "kernel": OLD,
            "arguments": ["ttm.pages_limit=4096"], "managed_keys": ["iommu"],
            "packages": [{"name": FIRMWARE, "version": "20260110-1"}],
            "images": {NAME: dict(IMAGE)}, **more}  # fmt: skip


def newest(number: int) -> Json:
    return made(number, kernel=NEW, arguments=["amd_iommu=off", "old=1"], images={})


def known(*every: Json, **more: Any) -> Json:
    rows = list(every or (made(1), newest(2)))
    return {"current": rows[-1]["number"], "generations": rows, "kernels": [OLD, NEW],
            "packages": {FIRMWARE: "20260916-1"},
            "offered": {FIRMWARE: ["20260916-1", "20260110-1"]},
            "images": [IMAGE["id"]], **more}  # fmt: skip


def facts(**more: Any) -> Json:
    found = strix_halo(kernel__running=NEW, boot__layout="grub", package_manager="apt", **more)
    found["packages"] |= {
        "linux-image-amd64": {"version": "7.2.12-1", "held": False},
        FIRMWARE: {"version": "20260916-1", "held": False},
    }
    return found


def profile(host: Json, **settings: Any) -> Json:
    found: Json = host_profile.resolve(host, CATALOG, settings)
    assert found["refusals"] == []
    return found


def back(host: Json | None = None, one: Json | None = None, data: Json | None = None,
         parts: list[str] | None = None) -> Json:  # fmt: skip
    host = host or facts()
    found: Json = generation.generation_profile(
        profile(host), one or made(1), data or known(), host, parts or PARTS, NAME
    )
    return found


# Which one is meant.


@pytest.mark.parametrize("wanted", [1, "1", " 1 "])
def test_a_number_means_that_generation(wanted: Any) -> None:
    assert generation.generation_choice(known(), wanted)["back"]["number"] == 1


def test_previous_is_the_last_that_differs_from_the_newest() -> None:
    every = [made(1), made(2, kernel="6.18"), newest(3), newest(4)]
    assert generation.generation_choice(known(*every), "previous")["back"]["number"] == 2


def test_a_second_rollback_goes_no_further() -> None:
    gone = known(made(1), made(2, kernel="6.18"), newest(3), current=2)
    assert generation.generation_choice(gone, "previous")["back"]["number"] == 2
    partly = known(made(1), newest(2), made(3, kernel=NEW, back_to=1))
    assert generation.generation_choice(partly, "previous")["back"]["number"] == 1


@pytest.mark.parametrize(
    ("every", "wanted", "code"),
    [
        ([], "previous", "STK-451"), ([], 1, "STK-451"), ([made(1)], "previous", "STK-451"),
        ([newest(1), newest(2)], "previous", "STK-451"), ([made(1)], 2, "STK-450"),
        ([made(1)], "last", "STK-450"), ([made(1)], "-1", "STK-450"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(every: list[Json], wanted: Any, code: str) -> None:
    data = known() | {"generations": every}
    found = generation.generation_choice(data, wanted)
    assert found["back"] == {}
    assert [problem["code"] for problem in found["problems"]] == [code]
    stopped = preflight.identity_problems(facts(), {}, found["problems"], True)
    assert stopped == found["problems"]


# What of it is to be had.


@pytest.mark.parametrize(
    ("data", "host", "codes"),
    [
        ({}, {}, []),
        ({"kernels": [NEW]}, {}, ["STK-453"]),
        ({"kernels": [NEW], "offered": {f"linux-image-{OLD}": ["6.17.1-1"]}}, {}, []),
        ({"kernels": [NEW], "offered": {}}, {}, []),  # apt has no lists yet: it is asked later
        ({"kernels": [NEW]}, {"package_manager": "dnf"}, ["STK-453"]),
        ({}, {"boot__layout": "grub-bls"}, ["STK-456"]),
        ({}, {"boot__layout": "systemd-boot"}, ["STK-456"]),
        ({}, {"boot__layout": "grub-bls", "kernel__running": OLD}, []),
        ({"offered": {FIRMWARE: ["20260916-1"]}}, {}, ["STK-455"]),
        ({"offered": {FIRMWARE: ["x"]}, "packages": {FIRMWARE: "20260110-1"}}, {}, []),
        ({"images": []}, {}, ["STK-454"]),
        ({"images": [], "kernels": [NEW]}, {}, ["STK-453", "STK-454"]),
    ],
)
def test_what_is_gone_is_a_refusal_with_a_way_out(data: Json, host: Json, codes: list[str]) -> None:
    where = facts()
    for path, value in host.items():
        top, _, last = path.rpartition("__")
        (where[top] if top else where)[last] = value
    found = generation.lacks(made(1), known(**data), where, PARTS)
    assert [problem["code"] for problem in found] == codes
    assert all(problem["what"] and problem["hint"] for problem in found)
    told = back(where, data=known(**data))
    assert [problem["code"] for problem in told["refusals"]] == codes
    assert (told["verdict"] == "refused") == bool(codes)


def test_the_command_of_the_hint_is_that_of_the_boot_loader() -> None:
    for layout, program in (("grub-bls", "grubby --set-default"), ("systemd-boot", "bootctl")):
        (problem,) = generation.lacks(
            made(1), known(), facts() | {"boot": {"layout": layout}}, PARTS
        )
        assert program in problem["hint"]


def test_an_image_with_a_digest_can_be_pulled_again() -> None:
    image = {NAME: {"reference": "docker.io/x/vllm@sha256:" + "2" * 64, "id": IMAGE["id"]}}
    assert generation.lacks(made(1, images=image), known(images=[]), facts(), PARTS) == []


def test_parts_that_are_left_out_are_not_asked_for() -> None:
    gone = known(kernels=[NEW], offered={FIRMWARE: ["1"]}, images=[])
    assert len(generation.lacks(made(1), gone, facts(), PARTS)) == 3
    assert generation.lacks(made(1), gone, facts(), ["arguments"]) == []


def test_a_release_that_stroke_cannot_have_written_is_refused() -> None:
    for hostile in ("", "$(reboot)", "../x", "a b", '"', "-x"):
        there = known(kernels=[hostile])
        (problem,) = generation.lacks(made(1, kernel=hostile), there, facts(), PARTS)
        assert problem["code"] == "STK-453"


def test_a_list_says_what_is_current_and_what_is_still_there() -> None:
    told = generation.generation_list(known(kernels=[NEW], images=[]), facts(), PARTS)
    assert (told["current"], told["kernel"]) == (2, NEW)
    first, second = told["rows"]
    assert (first["current"], first["kernel_there"], first["images_there"]) == (False, False, False)
    assert {lack["code"] for lack in first["lacks"]} == {"STK-453", "STK-454"}
    assert (second["current"], second["kernel_there"], second["images_there"]) == (True, True, True)


# What the host then wants.


def changes(host: Json, found: Json) -> list[str]:
    """The plan of kernel, firmware and arguments, as the roles describe them."""
    kernel = found["kernel"]
    names = [
        *packages.package_items(found["kernel"]["packages"], "kernel", found["reasons"]),
        {"role": "kernel", "stage": "reboot", "kind": "kernel",
         "minimum": kernel["install_floor"], "release": kernel.get("release", "")},
        *boot_params.kernel_argument_items(
            found["boot"]["args"], found["reasons"], host, found["boot"].get("absent_keys", [])),
    ]  # fmt: skip
    words = [word.partition("=") for word in host["kernel"]["args"]]
    seen = [
        {"running": host["kernel"]["running"], "version": "7.2.12-1"} if item["kind"] == "kernel"
        else host["packages"].get(item["name"], {}) if item["kind"] == "package"
        else {"values": [value for key, _, value in words if key == item["key"]]}
        for item in names
    ]  # fmt: skip
    return [f"{c['action']} {c['what']}: {c['before']} → {c['after']}"
            for c in manifest.manifest_changes(names, seen)]  # fmt: skip


def test_the_plan_goes_back_to_exactly_what_was_there() -> None:
    host = facts(kernel__args=["quiet", "amd_iommu=off", "amdgpu.gttsize=9", "old=1"])
    told = changes(host, back(host))
    assert told == [
        f"downgrade {FIRMWARE}: 20260916-1 → 20260110-1",
        f"reboot kernel: {NEW} → {OLD}",
        "reboot amd_iommu: amd_iommu=off → absent",
        "reboot amdgpu.gttsize: amdgpu.gttsize=9 → absent",
        "reboot old: old=1 → absent",
        "reboot ttm.pages_limit: absent → ttm.pages_limit=4096",
    ]


def test_a_host_that_is_there_already_has_no_plan() -> None:
    host = facts(kernel__args=["quiet", "ttm.pages_limit=4096"])
    host["kernel"]["running"] = OLD
    host["packages"][FIRMWARE]["version"] = "20260110-1"
    assert changes(host, back(host)) == []


def test_a_kernel_that_is_gone_is_wanted_as_its_package_and_the_following_one_is_left_alone() -> (
    None
):
    data = known(kernels=[NEW], offered={f"linux-image-{OLD}": ["6.17.1-1"]})
    wanted = {p["name"]: p for p in back(data=data)["kernel"]["packages"]}
    assert set(wanted) == {"linux-image-amd64", f"linux-image-{OLD}", FIRMWARE}
    assert not wanted["linux-image-amd64"]["minimum"] and not wanted["linux-image-amd64"]["deny"]
    assert wanted[FIRMWARE] == {"name": FIRMWARE, "version": "20260110-1"}


def test_a_kernel_below_the_floor_is_a_warning_and_no_refusal() -> None:
    told = back(one=made(1, kernel="6.1.0-amd64"), data=known(kernels=["6.1.0-amd64"]))
    assert told["refusals"] == []
    (said,) = [w for w in told["warnings"] if "generation 1" in w["what"]]
    assert said["code"] == "STK-W03" and "6.1.0-amd64" in said["what"]


def test_arguments_of_a_generation_decide_on_the_memory_that_is_verified() -> None:
    told = back()
    assert (told["memory"]["pages"], told["memory"]["gttsize_mib"]) == (4096, None)
    assert told["boot"]["managed_keys"] == ["iommu"]
    assert told["boot"]["absent_keys"] == ["amd_iommu", "amdgpu.gttsize", "old"]


def test_nothing_is_taken_of_parts_that_are_left_out() -> None:
    host = facts()
    plain, told = profile(host), back(host, parts=["image"])
    assert told["kernel"] == plain["kernel"] and told["boot"] == plain["boot"]
    assert told["engine"]["image_id"] == IMAGE["id"]
    told = back(host, parts=["kernel"])
    assert told["engine"] == plain["engine"] and told["boot"]["args"] == plain["boot"]["args"]


def test_what_the_catalogue_refuses_stays_refused() -> None:
    refused = {"refusals": [{"code": "STK-421", "what": "x", "hint": "y"}]}
    assert generation.generation_profile(refused, made(1), known(), facts(), PARTS, NAME) == refused


def test_the_profile_that_was_given_is_left_as_it_is() -> None:
    host = facts()
    before = profile(host)
    kept = copy.deepcopy(before)
    generation.generation_profile(before, made(1), known(), host, PARTS, NAME)
    assert before == kept


def test_the_image_is_named_by_its_id_and_comes_from_no_archive() -> None:
    told = back()["engine"]
    assert (told["image"], told["image_id"]) == (IMAGE["reference"], IMAGE["id"])
    assert told["image_archive"] is None and told["kept"] is True
    changed = [{"role": "inference_server", "kind": "image", "what": "x", "action": "load"}]
    needs = preflight.disk_needs(back() | {"model": {"store": []}}, changed, 3)
    assert needs == []  # nothing is unpacked that the host has


def test_several_services_go_back_by_their_names() -> None:
    servers = [{"name": "chat", "image": "new:2"}, {"name": "code"}]
    images = {"chat": dict(IMAGE)}
    settings = generation.generation_settings(
        {"inference_servers": servers}, made(1, images=images), PARTS, NAME
    )
    assert [server.get("image") for server in settings["inference_servers"]] == [
        IMAGE["reference"], None]  # fmt: skip
    assert servers[0]["image"] == "new:2"
    found = profile(facts()) | {
        "servers": {"chat": {"image": "x", "image_archive": "y"}, "code": {}}
    }
    told = generation.generation_profile(
        found, made(1, images=images), known(), facts(), PARTS, NAME
    )
    assert told["servers"]["chat"] == {"image": IMAGE["reference"], "image_id": IMAGE["id"],
                                       "image_archive": None}  # fmt: skip
    assert told["servers"]["code"] == {}


def test_without_a_generation_settings_are_the_users() -> None:
    assert generation.generation_settings({"a": 1}, {}, PARTS, NAME) == {"a": 1}
    assert generation.generation_settings({"a": 1}, made(1), ["kernel"], NAME) == {"a": 1}
    assert generation.generation_settings({}, made(1), PARTS, NAME) == {
        "inference_server_image": IMAGE["reference"]}  # fmt: skip


# The boot, and the proof.


@pytest.mark.parametrize(
    ("release", "absent", "found"),
    [("", [], 0), (NEW, [], 0), (OLD, [], 1), ("newest", [], 0), ("newest-is-no-release", [], 1),
     ("", ["quiet"], 1), (OLD, ["quiet", "nothing"], 2)],
)  # fmt: skip
def test_a_chosen_kernel_and_unwanted_arguments_need_a_reboot(
    release: str, absent: list[str], found: int
) -> None:
    host = facts()
    host["kernel"]["installed"] = [{"release": OLD}, {"release": NEW}]
    chosen = guard.chosen_kernel(host, release)
    assert len(guard.boot_differences(host, "6.16", [], chosen, absent)) == found


def test_going_forward_the_newest_kernel_is_meant_at_every_look() -> None:
    host = facts()
    host["kernel"]["installed"] = [{"release": OLD}, {"release": NEW}]
    assert guard.chosen_kernel(host, "newest") == NEW
    host["kernel"]["installed"].append({"release": "7.10.1"})
    assert guard.chosen_kernel(host, "newest") == "7.10.1"
    assert guard.boot_files(facts(), OLD)[0] == f"/boot/vmlinuz-{OLD}"


@pytest.mark.parametrize(
    ("running", "state", "status"),
    [(OLD, "good", "passed"), (OLD, "old", "warning"), (NEW, "good", "failed")],
)
def test_the_proof_is_that_the_chosen_kernel_runs(running: str, state: str, status: str) -> None:
    now = {"kernel": {"running": {"release": running, "state": state, "asked_met": None,
                                  "stream": None, "version": "1", "floor": "9",
                                  "kind": "upstream"}}}  # fmt: skip
    wanted = {"kernel": {"release": OLD}}
    found = system._kernel(wanted, now, check.Judge(False))
    assert found["status"] == status
    assert OLD in found["wanted"]


@pytest.mark.parametrize(
    ("installed", "good", "status"),
    [("20260110-1", True, "passed"), ("20260110-1", False, "warning"), ("2", True, "failed")],
)
def test_the_proof_is_that_the_chosen_firmware_is_there(
    installed: str, good: bool, status: str
) -> None:
    now = {"firmware": {"package": FIRMWARE, "installed": installed, "good": good, "minimum": "9",
                        "deny": []}}  # fmt: skip
    evidence = {"facts": facts(), "now": now, "profile": {"firmware": {"exact": "20260110-1"}}}
    (found,) = system.kernel_and_firmware(evidence, check.Judge(False))
    assert (found["id"], found["status"]) == ("V103", status)
