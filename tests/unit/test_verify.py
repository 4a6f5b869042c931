"""What a verification makes of what was collected: one good host, and one fault at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.plugins import plugin
from tests.unit.verify_host import DIGEST, GOOD, PAGES, Json

verify = plugin("host_verify", "verify")
collected = verify._collected
CHECKS = verify._check.CHECKS
NEEDS_A_GPU = {number for number, check in CHECKS.items() if check.get("gpu")}


def judged(change: Callable[[Json], object] | None = None) -> dict[str, Json]:
    given = copy.deepcopy(GOOD)
    if change:
        change(given)
    checks = verify.verify_checks(given)
    assert len({check["id"] for check in checks}) == len(checks)
    assert all(check["detail"] for check in checks)
    assert all(check["hint"] for check in checks if check["status"] in ("failed", "warning"))
    return {check["id"]: check for check in checks}


def not_passed(change: Callable[[Json], object] | None = None) -> dict[str, str]:
    return {
        number: check["status"]
        for number, check in judged(change).items()
        if check["status"] != "passed"
    }


def test_a_good_host_passes_everything() -> None:
    assert not_passed() == {}
    assert set(judged()) == set(CHECKS)
    assert verify.verify_failure(list(judged().values())) == ""


def simulate(given: Json) -> None:
    given["profile"]["simulated"] = True
    given["facts"]["gpus"] = [{"gfx": "gfx1151", "simulated": True, "render_node": None}]
    given["facts"]["devices"]["render"] = {}
    given["services"][0]["seen"]["process"]["devices"] = []


def test_what_needs_the_gpu_is_skipped_on_a_simulated_host_and_the_rest_is_proven() -> None:
    assert not_passed(simulate) == dict.fromkeys(NEEDS_A_GPU, "skipped (simulated)")


def put(path: str, value: Any) -> Callable[[Json], None]:
    """Set one value deep in the evidence: `facts.kernel.running`, list indexes as numbers."""

    def change(given: Json) -> None:
        *parents, last = path.split("/")
        target: Any = given
        for step in parents:
            target = target[int(step) if isinstance(target, list) else step]
        target[last] = value

    return change


def bind_everywhere(given: Json) -> None:
    container = given["services"][0]["seen"]["container"]
    container["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"] = "0.0.0.0"  # noqa: S104


def modprobe(given: Json) -> None:
    entry = {"file": "/etc/modprobe.d/ttm.conf", "module": "ttm", "key": "pages_limit"}
    given["facts"]["arguments"]["modprobe"].append({**entry, "value": "7"})


ONE = "services/0/"
SEEN = ONE + "seen/"
BOX = SEEN + "container/"
RUNS = SEEN + "process/"
NOW = "now/kernel/running/"
FAULTS: list[tuple[Callable[[Json], object], str, str]] = [
    (put("changes", [{"action": "change", "what": "/etc/x"}]), "V001", "failed"),
    (put(NOW + "state", "unstable"), "V101", "failed"),
    (put(NOW + "state", "old"), "V101", "failed"),
    (put(NOW + "state", "unknown"), "V101", "failed"),
    (put(NOW + "asked_met", False), "V101", "failed"),
    (put("facts/gpus/0/cwsr_size", None), "V102", "failed"),
    (put("now/firmware/good", False), "V103", "failed"),
    (put("facts/gpus/0/mes_version", 0x1083), "V104", "failed"),
    (put("facts/gpus/0/mes_version", None), "V104", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].append("amd_iommu=on"), "V201", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].append("amd_iommu=off"), "V201", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].remove("amd_iommu=off"), "V201", "failed"),
    (put("facts/parameters/ttm.pages_limit", PAGES - 1), "V202", "failed"),
    (put("facts/parameters/ttm.pages_limit", None), "V202", "failed"),
    (put("facts/parameters/amdgpu.gttsize", -1), "V203", "failed"),
    (put("facts/gpus/0/gtt_bytes", 1), "V204", "failed"),
    (modprobe, "V205", "failed"),
    (lambda e: e["facts"]["arguments"]["configured"].pop(), "V205", "failed"),
    (put("facts/arguments/configured/1/value", "9"), "V205", "failed"),
    (put(RUNS + "memory/device_bytes", [1 << 29]), "V206", "failed"),
    (put(RUNS + "memory/device_bytes", []), "V206", "failed"),
    (put(RUNS + "memory/limit_bytes", 1 << 34), "V207", "warning"),
    (put("facts/devices/render", {}), "V302", "failed"),
    (put("facts/devices/kfd", {"mode": "0600", "gid": 992}), "V302", "failed"),
    (put("facts/devices/kfd", {"mode": "0660", "gid": 0}), "V302", "failed"),
    (put("facts/users/stroke/groups", ["stroke", "render"]), "V303", "failed"),
    (put("facts/users", {}), "V303", "failed"),
    (put(RUNS + "devices/1/gid", 105), "V304", "failed"),
    (put(RUNS + "devices", []), "V304", "failed"),
    (put(SEEN + "unit/ActiveState", "activating"), "V401", "failed"),
    (put(SEEN + "unit/WantedBy", ""), "V402", "failed"),
    (put(SEEN + "unit/NRestarts", "2"), "V403", "warning"),
    (put(BOX + "State/Health/Status", "unhealthy"), "V404", "failed"),
    (put(BOX + "Config/Labels", None), "V405", "failed"),
    (put(ONE + "completion/tokens", 0), "V501", "failed"),
    (put(ONE + "completion/model", "other"), "V502", "failed"),
    (put(SEEN + "status_without_key", 200), "V503", "failed"),
    (bind_everywhere, "V601", "failed"),
    (put(BOX + "HostConfig/Privileged", True), "V602", "failed"),
    (put(BOX + "EffectiveCaps", ["CAP_SYS_ADMIN"]), "V602", "failed"),
    (lambda e: e["services"][0]["seen"]["container"].pop("EffectiveCaps"), "V602", "failed"),
    (put(BOX + "HostConfig/SecurityOpt", []), "V602", "failed"),
    (put(BOX + "HostConfig/NetworkMode", "host"), "V602", "failed"),
    (put(BOX + "Config/User", ""), "V602", "failed"),
    (put(BOX + "Config/Env", ["HF_TOKEN=hf_x"]), "V603", "failed"),
    (put(BOX + "HostConfig/Devices", [{"PathInContainer": "/dev/mem"}]), "V604", "failed"),
    (put(SEEN + "listening", ["0.0.0.0", "127.0.0.1"]), "V605", "failed"),  # noqa: S104
    (put(RUNS + "capabilities/CapBnd", "0000000000080000"), "V606", "failed"),
    (put(RUNS + "seccomp", 0), "V607", "failed"),
    (put(RUNS + "no_new_privileges", False), "V608", "failed"),
    (put(RUNS + "uids", [0, 997]), "V609", "failed"),
    (lambda e: e["services"][0]["seen"]["process"]["devices"].append(
        {"path": "/dev/mem", "mode": "0640", "uid": 0, "gid": 15}), "V610", "failed"),
    (put(RUNS + "root_read_only", False), "V611", "failed"),
    (put(BOX + "Mounts/0/RW", True), "V611", "failed"),
    (put(BOX + "Mounts/0/Source", "/run/podman/podman.sock"), "V611", "failed"),
    (put(BOX + "Mounts/0/Source", "/etc"), "V611", "failed"),
    (put(BOX + "Mounts/1/Source", "/srv/stroke"), "V611", "failed"),
    (put(RUNS + "shared_namespaces", ["ipc"]), "V612", "failed"),
    (put(SEEN + "exposure", 9.9), "V613", "warning"),
    (put("secrets/1/mode", "0640"), "V614", "failed"),
    (put("secrets/1/uid", 1000), "V614", "failed"),
    (put("secrets/0/mode", "0755"), "V614", "failed"),
    (put("secrets/1/type", "link"), "V614", "failed"),
    (put(SEEN + "secrets_in", ["the journal"]), "V615", "failed"),
]  # fmt: skip
# Layers of memory: the sum of them names the one that is the first to disagree.
MEMORY = {"V201", "V202", "V203", "V204", "V205", "V206"}


@pytest.mark.parametrize(("fault", "number", "status"), FAULTS)
def test_each_fault_is_found_by_its_own_check(
    fault: Callable[[Json], object], number: str, status: str
) -> None:
    expected = {number: status}
    if number in MEMORY:
        expected["V200"] = "failed"
    assert not_passed(fault) == expected


def test_root_of_a_rootless_container_is_judged_by_who_it_is_outside() -> None:
    def rootless(evidence: Json) -> None:
        service = evidence["services"][0]
        service["rootless"] = True
        service["seen"]["unit"]["WantedBy"] = "default.target"
        service["seen"]["container"]["Config"]["User"] = "0"

    assert not_passed(rootless) == {}

    def outside(evidence: Json) -> None:
        rootless(evidence)
        evidence["services"][0]["seen"]["process"]["uids"] = [0]

    assert not_passed(outside) == {"V609": "failed"}


def test_every_check_can_fail() -> None:
    seen = {number for _, number, _ in FAULTS} | {"V200", "V301", "V305"}
    assert seen == set(CHECKS)


def test_groups_of_the_processes_are_numbers_of_the_host() -> None:
    assert not_passed(put(RUNS + "groups", [996])) == {"V304": "failed", "V305": "failed"}


def test_a_backport_with_a_lower_number_is_judged_as_the_profile_does() -> None:
    """6.14.0-1017 of Ubuntu's OEM kernel is not enough, 6.14.0-1018 is: both are below 6.18.4."""

    def oem(given: Json) -> None:
        given["now"]["kernel"]["running"] |= {
            "release": "6.14.0-1017-oem", "version": "6.14.0-1017.17", "stream": "oem",
            "floor": "6.14.0-1018", "state": "unstable",
        }  # fmt: skip

    check = judged(oem)["V101"]
    assert check["status"] == "failed"
    assert "6.14.0-1017-oem (oem kernel, version 6.14.0-1017.17)" in check["found"]
    assert check["wanted"] == "6.14.0-1018 or newer, compared as dpkg version"


@pytest.mark.parametrize(("path", "value"), [("now/kernel/running/asked_met", True),
                                             ("profile/kernel/stable", False)])  # fmt: skip
def test_a_kernel_between_the_floors_that_was_accepted_is_a_warning(path: str, value: Any) -> None:
    def between(given: Json) -> None:
        given["now"]["kernel"]["running"]["state"] = "unstable"
        put(path, value)(given)

    assert not_passed(between) == {"V101": "warning"}


def test_a_gpu_without_the_rule_has_no_check_of_its_fixes() -> None:
    def other_family(given: Json) -> None:
        given["profile"]["kernel"]["proof"] = None
        given["now"]["firmware"]["deny_loaded"] = []
        given["facts"]["gpus"][0] |= {"cwsr_size": None, "mes_version": None}

    assert not {"V102", "V104"} & set(judged(other_family))


def test_the_first_layer_of_memory_that_disagrees_is_named_with_its_way_out() -> None:
    def dropped(given: Json) -> None:
        given["facts"]["gpus"][0]["gtt_bytes"] = 1
        put(RUNS + "memory/device_bytes", [1])(given)

    check = judged(dropped)["V200"]
    assert "the driver is the first to disagree (V204)" in check["found"]
    assert "boot_params_gttsize: false" in check["hint"]


def test_memory_that_another_file_sets_is_told_with_the_file() -> None:
    checks = judged(modprobe)
    assert checks["V205"]["hint"] == "remove ttm.pages_limit=7 from /etc/modprobe.d/ttm.conf"
    assert checks["V200"]["status"] == "failed"


def test_memory_is_never_passed_on_a_simulated_host_but_can_fail() -> None:
    def wrong(given: Json) -> None:
        simulate(given)
        given["facts"]["parameters"]["ttm.pages_limit"] = 1

    assert judged(simulate)["V200"]["status"] == "skipped (simulated)"
    assert judged(wrong)["V200"]["status"] == "failed"


def test_several_services_are_told_apart() -> None:
    def two(given: Json) -> None:
        second = copy.deepcopy(given["services"][0])
        second["name"] = "other"
        second["seen"]["unit"]["ActiveState"] = "failed"
        given["services"].append(second)

    given = copy.deepcopy(GOOD)
    two(given)
    checks = [check for check in verify.verify_checks(given) if check["id"] == "V401"]
    assert [(check["what"], check["status"]) for check in checks] == [
        ("service (stroke-inference)", "passed"), ("service (other)", "failed")]  # fmt: skip


def test_services_are_completed_from_the_one_that_is_described() -> None:
    only = {"name": "a", "user": "stroke", "bind": "0.0.0.0", "port": 8000, "model": "m"}  # noqa: S104
    (one,) = collected.services([], only)
    assert (one["unit"], one["url"], one["user"]) == ("a.service", "http://127.0.0.1:8000", None)
    given = [{"name": "b", "port": 8001, "rootless": True, "runtime": "docker", "bind": None}]
    (other,) = collected.services(given, only)
    assert (other["container"], other["port"], other["user"]) == ("b", 8001, "stroke")


def test_a_missing_driver_is_named_by_the_first_layer_that_notices() -> None:
    found = not_passed(put("facts/devices/kfd", None))
    assert found["V301"] == "failed"


def lan(given: Json) -> None:
    service = given["services"][0]
    service["bind"] = "192.0.2.7"
    service["seen"]["listening"] = ["192.0.2.7"]
    ports = service["seen"]["container"]["HostConfig"]["PortBindings"]
    ports["8080/tcp"][0]["HostIp"] = "192.0.2.7"


def test_a_public_address_needs_a_key() -> None:
    def without_key(given: Json) -> None:
        lan(given)
        given["services"][0]["seen"]["has_key"] = False

    assert not_passed(lan) == {}
    assert not_passed(without_key) == {"V601": "warning"}


def test_a_secret_is_named_but_never_shown() -> None:
    check = judged(put(BOX + "Config/Env", ["VLLM_API_KEY=hunter2"]))["V603"]
    assert "VLLM_API_KEY" in check["detail"] and "hunter2" not in str(check)


def test_no_container_and_no_unit_fail_without_an_exception() -> None:
    def gone(given: Json) -> None:
        service = given["services"][0]
        service["seen"] = {"unit": {}, "container": {}, "process": {}}
        service["completion"] = collected.read_completion({"msg": "Connection refused"}, "x")

    found = not_passed(gone)
    assert {"V401", "V402", "V404", "V405", "V501"} == set(found)


def test_what_was_never_planned_is_left_out() -> None:
    def unplanned(given: Json) -> None:
        given["profile"] = {"simulated": True}
        given["now"] = {}

    left = {"V101", "V103", "V104", "V200", "V201", "V202", "V203", "V204", "V205", "V206"}
    assert not left & set(judged(unplanned))


def test_a_dropped_gttsize_is_not_asked_for() -> None:
    def without(given: Json) -> None:
        given["profile"]["boot"]["args"].remove("amdgpu.gttsize=110592")
        given["facts"]["kernel"]["args"].remove("amdgpu.gttsize=110592")
        given["facts"]["parameters"]["amdgpu.gttsize"] = -1
        given["facts"]["arguments"]["configured"].pop()

    assert not_passed(without) == {}


def test_the_failure_names_every_failed_check_and_the_code_says_what_matters() -> None:
    drift = list(judged(put(SEEN + "unit/WantedBy", "")).values())
    assert verify.verify_failure(drift).startswith("STK-604: V402 starts at boot")
    silent = list(judged(put(ONE + "completion/tokens", 0)).values())
    assert verify.verify_failure(silent).startswith("STK-602: V501")
    warned = list(judged(put(SEEN + "unit/NRestarts", "2")).values())
    assert verify.verify_failure(warned) == ""


def test_a_completion_is_read() -> None:
    answer = {
        "json": {
            "model": "m",
            "choices": [{"message": {"content": "hi"}}],
            "usage": {"completion_tokens": 2},
        },
        "elapsed": 1,
    }
    found = collected.read_completion(answer, "Say hello.")
    assert (found["text"], found["tokens"], found["seconds"], found["error"]) == ("hi", 2, 1, None)


def test_the_text_of_a_model_that_only_reasons_is_its_reasoning() -> None:
    message = {"content": None, "reasoning_content": "hmm"}
    answer = {"json": {"choices": [{"message": message}], "usage": {"completion_tokens": 1}}}
    assert collected.read_completion(answer, "x")["text"] == "hmm"


@pytest.mark.parametrize(
    "answer",
    [{}, {"json": None}, {"json": []}, {"json": {"choices": []}}, {"json": {"choices": [{}]}},
     {"json": {"choices": [{"message": {}}], "usage": {}}}, {"msg": "timed out"}],
)  # fmt: skip
def test_anything_else_is_an_error_in_words(answer: Json) -> None:
    found = collected.read_completion(answer, "x")
    assert found["tokens"] == 0 and found["error"]


def test_the_wanted_digest_is_only_known_when_the_ids_are() -> None:
    asked = [{"name": "a", "unit": "a.service"}]
    item = {"kind": "unit", "name": "a.service", "config": DIGEST}

    def digest(manifest: list[Json]) -> Any:
        return collected.seen(asked, {}, manifest, "x")[0]["digest"]

    assert digest([{"kind": "file"}, item]) == DIGEST
    assert digest([{**item, "config": None}]) is None
    assert digest([]) is None


def test_a_completion_without_chat_is_one_and_says_so() -> None:
    answer = {
        "json": {"model": "m", "choices": [{"text": "on"}], "usage": {"completion_tokens": 2}},
        "elapsed": 1,
    }
    found = collected.read_completion(answer, "x")
    assert (found["text"], found["tokens"], found["chat"], found["error"]) == ("on", 2, False, None)
