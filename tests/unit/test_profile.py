"""What host_profile decides for a host, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.facts import GIB, strix_halo
from tests.unit.plugins import ROLES, plugin

profile = plugin("host_profile", "host_profile")
CATALOG = profile.load_catalog(str(ROLES / "host_profile" / "files" / "catalog"))


def resolve(settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = profile.resolve(strix_halo(**changes), CATALOG, settings or {})
    return result


def codes(result: dict[str, Any]) -> list[str]:
    return [refusal["code"] for refusal in result["refusals"]]


@pytest.mark.parametrize(
    ("ram_gib", "gtt_gib"),
    [(31.1, 18), (62.6, 50), (94.0, 80), (125.65, 108), (128, 110)],
)
def test_the_memory_budget_leaves_room_for_the_system(ram_gib: float, gtt_gib: int) -> None:
    memory = resolve(memory__total_bytes=int(ram_gib * GIB))["memory"]
    assert memory["gtt_bytes"] == gtt_gib * GIB
    assert memory["pages"] * memory["page_size"] == memory["gttsize_mib"] * 1024**2
    assert memory["gtt_bytes"] + memory["reserve_bytes"] < ram_gib * GIB


def test_both_limits_agree_with_pages_of_another_size() -> None:
    result = resolve(memory__page_size=65536)
    assert "ttm.pages_limit=1769472" in result["boot"]["args"]
    assert "amdgpu.gttsize=110592" in result["boot"]["args"]


def test_declared_memory_is_what_a_simulated_host_is_sized_from() -> None:
    result = resolve(memory__total_bytes=3 * GIB, memory__declared_bytes=128 * GIB)
    assert result["memory"]["gtt_bytes"] == 110 * GIB
    assert "declared RAM" in result["reasons"]["memory"]


def test_a_host_with_too_little_memory_is_refused() -> None:
    result = resolve(memory__total_bytes=16 * GIB)
    assert codes(result) == ["STK-412"]
    assert result["verdict"] == "refused"


def test_one_apu_gets_no_iommu() -> None:
    assert resolve()["boot"]["args"] == [
        "amd_iommu=off",
        "amdgpu.gttsize=110592",
        "ttm.pages_limit=28311552",
    ]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"modules__amdxdna": {"loaded": True}}, "NPU"),
        ({"modules__vfio_devices": ["0000:01:00.0"]}, "VFIO"),
        ({"modules__rdma_devices": ["mlx5_0"]}, "RDMA"),
        ({"gpus": [{"gfx": "gfx1151"}, {"gfx": "gfx1201"}]}, "more than one GPU"),
    ],
)
def test_the_iommu_stays_on_where_something_needs_it(changes: dict[str, Any], word: str) -> None:
    result = resolve(**changes)
    assert "iommu=pt" in result["boot"]["args"]
    assert "amd_iommu=off" not in result["boot"]["args"]
    assert word in result["reasons"]["boot.args.iommu"]
    assert codes(resolve({"boot_params_iommu": "off"}, **changes)) == ["STK-303"]


def test_every_argument_has_a_reason() -> None:
    result = resolve({"boot_params_extra_args": ["pcie_aspm=off"]})
    for argument in result["boot"]["args"]:
        assert result["reasons"]["boot.args." + argument.split("=")[0]]
    assert "pcie_aspm" in result["boot"]["managed_keys"] + [
        a.split("=")[0] for a in result["boot"]["args"]
    ]


def test_an_extra_argument_may_not_contradict_a_computed_one() -> None:
    assert codes(resolve({"boot_params_extra_args": ["ttm.pages_limit=1"]})) == ["STK-303"]


def test_gttsize_can_be_left_out() -> None:
    args = resolve({"boot_params_gttsize": False})["boot"]["args"]
    assert not [a for a in args if a.startswith("amdgpu.gttsize")]


def test_debian_13_takes_its_kernel_from_backports() -> None:
    kernel = resolve()["kernel"]
    assert kernel["suite"] == "trixie-backports"
    assert [p["name"] for p in kernel["packages"]] == ["linux-image-amd64", "firmware-amd-graphics"]


def test_debian_testing_needs_no_backports() -> None:
    result = resolve(distribution={"id": "debian", "codename": "forky", "name": "Debian forky"})
    assert result["kernel"]["suite"] is None
    assert result["rocm"]["source"] == "distro"


def test_debian_12_is_refused_with_the_way_out() -> None:
    result = resolve(distribution={"id": "debian", "codename": "bookworm", "name": "Debian 12"})
    assert codes(result) == ["STK-401"]
    assert "Debian 13" in result["refusals"][0]["hint"]


def test_an_unknown_distribution_is_refused() -> None:
    result = resolve(distribution={"id": "plan9", "codename": "", "name": "Plan 9"})
    assert codes(result) == ["STK-401"]
    assert "Plan 9" in result["refusals"][0]["what"]


@pytest.mark.parametrize(
    "gpus", [[], [{"gfx": "gfx906", "pci_id": "66a1"}], [{"gfx": None, "pci_id": "ffff"}]]
)
def test_a_host_without_a_known_gpu_is_refused(gpus: list[dict[str, Any]]) -> None:
    assert codes(resolve(gpus=gpus)) == ["STK-409"]


def test_rocm_comes_with_a_pinned_key() -> None:
    rocm = resolve()["rocm"]
    assert rocm["source"] == "amd"
    assert rocm["repository"]["key_fingerprint"] == "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"


def test_a_channel_whose_key_is_not_known_needs_the_users_fingerprint() -> None:
    assert codes(resolve({"rocm_version": "7.14"})) == ["STK-303"]
    rocm = resolve({"rocm_version": "7.14", "rocm_key_fingerprint": "A" * 40})["rocm"]
    assert rocm["repository"]["key_fingerprint"] == "A" * 40


def test_a_mirror_keeps_the_packages_and_changes_the_place() -> None:
    settings = {
        "rocm_source": "mirror",
        "rocm_mirror_uri": "http://mirror.example/rocm",
        "rocm_key_url": "http://mirror.example/key",
        "rocm_key_fingerprint": "B" * 40,
    }
    rocm = resolve(settings)["rocm"]
    assert rocm["repository"]["uri"] == "http://mirror.example/rocm"
    assert rocm["repository"]["suite"] == "noble"
    assert [p["name"] for p in rocm["packages"]] == ["rocm-core", "rocminfo"]
    assert codes(resolve({"rocm_source": "mirror"})) == ["STK-303"]


def test_overrides_are_shown() -> None:
    assert resolve({"rocm_source": "none"})["overridden"] == ["rocm_source"]


def test_an_entry_takes_what_it_leaves_out_from_the_host_not_from_the_first() -> None:
    servers = [
        {"name": "a", "runtime": "docker", "model": "org/first", "engine": "llamacpp"},
        {"name": "b", "rootless": True, "port": 8001},
    ]
    result = resolve({"inference_servers": servers, "inference_server_model": "org/common"})
    assert result["model"]["name"] == "org/first"
    assert result["servers"]["b"]["model"] == "org/common"
    assert result["servers"]["b"]["engine"] == "vllm"
    assert {entry["name"] for entry in result["model"]["store"]} == {"org--first", "org--common"}
    assert {"podman", "uidmap", "docker.io"} <= set(result["runtime"]["packages"])


def test_a_runtime_that_the_distribution_lacks_is_refused_and_one_that_is_there_is_used() -> None:
    docker = {"inference_server_runtime": "docker"}
    assert "podman" not in resolve(docker)["runtime"]["packages"]
    there = resolve(docker, container_runtime={"docker": "29.1.0"})
    assert there["runtime"]["packages"] == [] and "29.1.0" in there["reasons"]["runtime.docker"]


QWEN = "Qwen/Qwen2.5-14B-Instruct"
PAIR: list[dict[str, Any]] = [
    {"name": "a", "model": QWEN},
    {"name": "b", "port": 8001, "model": "Qwen/Qwen3-8B"},
]


def flag(definition: dict[str, Any], name: str) -> str:
    words: list[str] = definition["arguments"]
    return words[words.index(name) + 1]


def test_services_that_share_the_gpu_get_a_part_of_its_memory_each() -> None:
    alone = resolve({"inference_server_model": QWEN})
    both = resolve({"inference_servers": PAIR})
    name = "--gpu-memory-utilization"
    whole = float(flag(alone["engine"]["definition"], name))
    for server in both["servers"].values():
        assert float(flag(server["definition"], name)) == pytest.approx(whole / 2, abs=0.01)
    assert both["servers"]["a"]["budget"]["kv_tokens"] < alone["budget"]["kv_tokens"]
    assert both["servers"]["b"]["budget"]["recipe"] == "Qwen/Qwen3-8B"
    # The host's own part of the profile is that of the first.
    assert flag(both["engine"]["definition"], name) == flag(
        both["servers"]["a"]["definition"], name
    )
    most = resolve({"inference_servers": [PAIR[0] | {"memory_share": 0.75}, PAIR[1]]})["servers"]
    assert float(flag(most["a"]["definition"], name)) == pytest.approx(0.75 * whole, abs=0.01)
    assert float(flag(most["b"]["definition"], name)) == pytest.approx(0.25 * whole, abs=0.01)


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [((0.75, 0.5), ["STK-449"]), ((1.0, None), ["STK-449"]), ((0.5, 0.5), []), ((0.9, None), [])],
)
def test_no_memory_is_given_twice(shares: tuple[float, float | None], wanted: list[str]) -> None:
    servers = [
        entry | {"memory_share": part, "model": "Qwen/Qwen3-8B"}
        for entry, part in zip(PAIR, shares, strict=True)
    ]
    found = codes(resolve({"inference_servers": servers}))
    assert [code for code in found if code == "STK-449"] == wanted


def test_a_service_that_does_not_fit_into_its_part_is_refused_by_name() -> None:
    servers = [PAIR[1], PAIR[0] | {"port": 8002, "memory_share": 0.2}]
    (refusal,) = resolve({"inference_servers": servers})["refusals"]
    assert refusal["code"] == "STK-435"
    assert refusal["what"].startswith(f"a: {QWEN} does not fit into 20% of ")


def test_arguments_are_checked_for_the_version_of_each_service() -> None:
    servers = [
        PAIR[1] | {"engine_version": "0.29.0"},
        PAIR[1] | {"name": "c", "port": 8003, "engine_version": "0.29.0",
                   "extra_args": ["--swap-space", "4"]},
    ]  # fmt: skip
    (refusal,) = resolve({"inference_servers": servers})["refusals"]
    assert refusal["code"] == "STK-431" and refusal["what"].startswith("c: --swap-space")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"inference_server_engine_version": "0.29.0"}, False),
        ({"inference_server_engine_version": "0.30.1"}, False),
        ({"inference_server_engine_version": "0.28.0"}, True),
        ({"inference_server_engine_version": "0.27.0"}, True),
        # An image that says nothing may be an old one.
        ({"inference_server_image": "registry.example/own:latest"}, True),
    ],
)
def test_a_version_that_prints_its_arguments_is_told_to_be_quiet(
    settings: dict[str, Any], wanted: bool
) -> None:
    entry = resolve(settings)["engine"]["definition"]["secrets"]["api_key"]
    assert ("VLLM_LOGGING_CONFIG_PATH" in entry["environment"]) is wanted
    assert ("logging.json" in entry["files"]) is wanted
    assert "vllm.yaml" in entry["files"] and "older" not in entry
