"""What a verification makes of what was collected: one good host, and one fault at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.plugins import plugin

verify = plugin("host_verify", "verify")
evidence = plugin("host_verify", "evidence")

Json = dict[str, Any]
DIGEST = "ab" * 32
PAGES = 28311552
NEEDS_A_GPU = {"V102", "V104", "V204", "V301", "V302", "V604"}

GOOD: Json = {
    "name": "stroke-inference",
    "user": "stroke",
    "bind": "127.0.0.1",
    "model": "tiny.gguf",
    "digest": DIGEST,
    "changes": [],
    "profile": {
        "simulated": False,
        "kernel": {"install_floor": "6.18.4"},
        "firmware": {
            "package": "firmware-amd-graphics",
            "minimum": "20260110",
            "deny": ["20251125"],
            "deny_mes": [0x83],
        },
        "boot": {"args": ["amd_iommu=off", "amdgpu.gttsize=110592", f"ttm.pages_limit={PAGES}"]},
        "memory": {"pages": PAGES, "gttsize_mib": 110592, "page_size": 4096},
    },
    "facts": {
        "kernel": {
            "running": "7.2.12+deb13-amd64",
            "args": ["ro", "amd_iommu=off", "amdgpu.gttsize=110592", f"ttm.pages_limit={PAGES}"],
        },
        "gpus": [
            {
                "gfx": "gfx1151",
                "simulated": False,
                "render_node": "/dev/dri/renderD128",
                "gtt_bytes": PAGES * 4096,
                "cwsr_size": 1,
                "mes_version": 0x86,
            }
        ],
        "packages": {"firmware-amd-graphics": {"version": "20260916-1~bpo13+1", "held": False}},
        "parameters": {"ttm.pages_limit": PAGES, "amdgpu.gttsize": 110592},
        "groups": {"render": 992, "video": 44},
        "devices": {
            "kfd": {"mode": "0660", "gid": 992},
            "render": {"/dev/dri/renderD128": {"mode": "0660", "gid": 992}},
        },
        "users": {"stroke": {"uid": 997, "gid": 996, "groups": ["stroke", "render", "video"]}},
    },
    "unit": {"ActiveState": "active", "NRestarts": "0", "WantedBy": "multi-user.target"},
    "container": [
        {
            "State": {"Health": {"Status": "healthy"}},
            "Config": {
                "Labels": {"stroke.config": DIGEST},
                "User": "997:996",
                "Env": ["HOME=/cache"],
            },
            "EffectiveCaps": None,
            "BoundingCaps": [],
            "HostConfig": {
                "Privileged": False,
                "SecurityOpt": ["no-new-privileges"],
                "NetworkMode": "bridge",
                "IpcMode": "shareable",
                "PidMode": "private",
                "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]},
                "Devices": [
                    {"PathInContainer": "/dev/kfd"},
                    {"PathInContainer": "/dev/dri/renderD128"},
                ],
            },
        }
    ],
    "completion": {
        "prompt": "Say hello.",
        "text": "hello",
        "tokens": 3,
        "seconds": 1,
        "model": "tiny.gguf",
        "error": None,
    },
}


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
    assert len(judged()) == 23
    assert verify.verify_failure(list(judged().values())) == ""


def simulate(given: Json) -> None:
    given["profile"]["simulated"] = True
    given["facts"]["gpus"] = [{"gfx": "gfx1151", "simulated": True, "render_node": None}]
    given["facts"]["devices"]["render"] = {}


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
    ports = given["container"][0]["HostConfig"]["PortBindings"]
    ports["8080/tcp"][0]["HostIp"] = "0.0.0.0"  # noqa: S104


CONTAINER = "container/0/"
FAULTS: list[tuple[Callable[[Json], object], str, str]] = [
    (put("changes", [{"action": "change", "what": "/etc/x"}]), "V001", "failed"),
    (put("facts/kernel/running", "6.12.107+deb13-amd64"), "V101", "failed"),
    (put("facts/gpus/0/cwsr_size", None), "V102", "failed"),
    (put("facts/packages/firmware-amd-graphics/version", "20251125-1"), "V103", "failed"),
    (put("facts/packages", {}), "V103", "failed"),
    (put("profile/firmware/deny", ["20260916"]), "V103", "failed"),
    (put("facts/gpus/0/mes_version", 0x1083), "V104", "failed"),
    (put("facts/gpus/0/mes_version", None), "V104", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].append("amd_iommu=on"), "V201", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].append("amd_iommu=off"), "V201", "failed"),
    (lambda e: e["facts"]["kernel"]["args"].remove("amd_iommu=off"), "V201", "failed"),
    (put("facts/parameters/ttm.pages_limit", PAGES - 1), "V202", "failed"),
    (put("facts/parameters/ttm.pages_limit", None), "V202", "failed"),
    (put("facts/parameters/amdgpu.gttsize", -1), "V203", "failed"),
    (put("facts/gpus/0/gtt_bytes", 1), "V204", "failed"),
    (put("facts/devices/render", {}), "V302", "failed"),
    (put("facts/devices/kfd", {"mode": "0600", "gid": 992}), "V302", "failed"),
    (put("facts/devices/kfd", {"mode": "0660", "gid": 0}), "V302", "failed"),
    (put("facts/users/stroke/groups", ["stroke", "render"]), "V303", "failed"),
    (put("facts/users", {}), "V303", "failed"),
    (put("unit/ActiveState", "activating"), "V401", "failed"),
    (put("unit/WantedBy", ""), "V402", "failed"),
    (put("unit/NRestarts", "2"), "V403", "warning"),
    (put(CONTAINER + "State/Health/Status", "unhealthy"), "V404", "failed"),
    (put(CONTAINER + "Config/Labels", None), "V405", "failed"),
    (put("completion/model", "other"), "V502", "failed"),
    (bind_everywhere, "V601", "failed"),
    (put(CONTAINER + "HostConfig/Privileged", True), "V602", "failed"),
    (put(CONTAINER + "EffectiveCaps", ["CAP_SYS_ADMIN"]), "V602", "failed"),
    (put(CONTAINER + "HostConfig/SecurityOpt", []), "V602", "failed"),
    (put(CONTAINER + "HostConfig/NetworkMode", "host"), "V602", "failed"),
    (put(CONTAINER + "Config/User", ""), "V602", "failed"),
    (put(CONTAINER + "Config/Env", ["HF_TOKEN=hf_x"]), "V603", "failed"),
    (put(CONTAINER + "HostConfig/Devices", [{"PathInContainer": "/dev/mem"}]), "V604", "failed"),
]


@pytest.mark.parametrize(("fault", "number", "status"), FAULTS)
def test_each_fault_is_found_by_its_own_check(
    fault: Callable[[Json], object], number: str, status: str
) -> None:
    assert not_passed(fault) == {number: status}


def test_a_missing_driver_is_named_by_the_first_layer_that_notices() -> None:
    found = not_passed(put("facts/devices/kfd", None))
    assert found["V301"] == "failed"


def test_an_address_that_was_asked_for_is_a_warning_when_others_reach_it() -> None:
    def lan(given: Json) -> None:
        given["bind"] = "192.0.2.7"
        ports = given["container"][0]["HostConfig"]["PortBindings"]
        ports["8080/tcp"][0]["HostIp"] = "192.0.2.7"

    assert not_passed(lan) == {"V601": "warning"}


def test_a_secret_is_named_but_never_shown() -> None:
    check = judged(put(CONTAINER + "Config/Env", ["VLLM_API_KEY=hunter2"]))["V603"]
    assert "VLLM_API_KEY" in check["detail"] and "hunter2" not in str(check)


def test_no_container_and_no_unit_fail_without_an_exception() -> None:
    def gone(given: Json) -> None:
        given["container"], given["unit"] = [], {}
        given["completion"] = evidence.read_completion({"msg": "Connection refused"}, "x")

    found = not_passed(gone)
    assert {"V401", "V402", "V404", "V405", "V501"} == set(found)


def test_what_was_never_planned_is_left_out() -> None:
    checks = judged(put("profile", {"simulated": True}))
    assert not {"V101", "V103", "V104", "V201", "V202", "V203", "V204"} & set(checks)


def test_a_dropped_gttsize_is_not_asked_for() -> None:
    def without(given: Json) -> None:
        given["profile"]["boot"]["args"].remove("amdgpu.gttsize=110592")
        given["facts"]["kernel"]["args"].remove("amdgpu.gttsize=110592")
        given["facts"]["parameters"]["amdgpu.gttsize"] = -1

    assert not_passed(without) == {}


def test_the_failure_names_every_failed_check_and_the_code_says_what_matters() -> None:
    drift = list(judged(put("unit/WantedBy", "")).values())
    assert verify.verify_failure(drift).startswith("STK-604: V402 starts at boot")
    silent = list(judged(put("completion/tokens", 0)).values())
    assert verify.verify_failure(silent).startswith("STK-602: V501")
    warned = list(judged(put("unit/NRestarts", "2")).values())
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
    found = evidence.read_completion(answer, "Say hello.")
    assert (found["text"], found["tokens"], found["seconds"], found["error"]) == ("hi", 2, 1, None)


def test_the_text_of_a_model_that_only_reasons_is_its_reasoning() -> None:
    message = {"content": None, "reasoning_content": "hmm"}
    answer = {"json": {"choices": [{"message": message}], "usage": {"completion_tokens": 1}}}
    assert evidence.read_completion(answer, "x")["text"] == "hmm"


@pytest.mark.parametrize(
    "answer",
    [{}, {"json": None}, {"json": []}, {"json": {"choices": []}}, {"json": {"choices": [{}]}},
     {"json": {"choices": [{"message": {}}], "usage": {}}}, {"msg": "timed out"}],
)  # fmt: skip
def test_anything_else_is_an_error_in_words(answer: Json) -> None:
    found = evidence.read_completion(answer, "x")
    assert found["tokens"] == 0 and found["error"]


def test_systemctls_properties_are_read() -> None:
    text = "ActiveState=active\nWantedBy=multi-user.target\nX=a=b\n"
    assert evidence.unit_properties(text)["X"] == "a=b"


def test_the_wanted_digest_is_only_known_when_the_ids_are() -> None:
    path = "/etc/containers/systemd/stroke-inference.container"
    content = f"User=997\nLabel=stroke.config={DIGEST}\n"
    assert evidence.wanted_digest([{"path": path, "content": content}], path) == DIGEST
    unknown = content.replace("997", "(id of stroke)")
    assert evidence.wanted_digest([{"path": path, "content": unknown}], path) is None
    assert evidence.wanted_digest([{"kind": "unit"}], path) is None
