"""What holds for every host, not only for those that somebody thought of."""

from __future__ import annotations

from typing import Any

from hostprofile import catalog, hostfacts, memory
from hostprofile.findings import Findings
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.facts import GIB, strix_halo
from tests.unit.plugins import ROLES, plugin

profile = plugin("host_profile", "host_profile")
CATALOG = catalog.load(str(ROLES / "host_profile" / "files" / "catalog"))
APU = next(rule for rule in CATALOG["memory_rules"] if rule["id"] == "apu")
TARGETS = [gfx["name"] for gfx in CATALOG["gfx"]]

Json = dict[str, Any]

RAM = st.integers(0, 4096 * GIB)
PAGES = st.sampled_from([4096, 8192, 16384, 65536, 2**20, 2**24])


def budget(ram: int, page: int = 4096, carveout: int = 0) -> Json:
    facts = {"memory": {"total_bytes": ram, "page_size": page, "carveout_bytes": carveout}}
    found: Json = memory.budget(hostfacts.complete(facts), APU, [], CATALOG, Findings({}))
    return found


@settings(deadline=None)
@given(RAM, PAGES)
def test_never_more_than_the_ram(ram: int, page: int) -> None:
    result = budget(ram, page)
    assert 0 <= result["gtt_bytes"] <= ram
    if result["gtt_bytes"]:
        assert result["gtt_bytes"] + result["reserve_bytes"] <= ram


@settings(deadline=None)
@given(RAM, PAGES)
def test_both_limits_agree_to_the_page(ram: int, page: int) -> None:
    result = budget(ram, page)
    assert result["pages"] * result["page_size"] == result["gttsize_mib"] * 1024**2
    assert result["pages"] * result["page_size"] == result["gtt_bytes"]


@settings(deadline=None)
@given(RAM, RAM)
def test_more_ram_is_never_less_for_the_gpu(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert budget(less)["gtt_bytes"] <= budget(more)["gtt_bytes"]


@settings(deadline=None)
@given(RAM, st.integers(0, 512 * GIB))
def test_the_carve_out_changes_what_serves_and_not_the_limit(ram: int, carveout: int) -> None:
    result = budget(ram, carveout=carveout)
    assert result["gtt_bytes"] == budget(ram)["gtt_bytes"]
    assert result["serving_bytes"] == max(carveout, result["gtt_bytes"])


@settings(deadline=None)
@given(st.one_of(st.integers(), st.text(), st.none(), st.booleans(), st.floats()))
def test_a_page_size_that_is_none_is_four_kib(page: Any) -> None:
    facts = hostfacts.complete({"memory": {"total_bytes": 64 * GIB, "page_size": page}})
    size = facts["memory"]["page_size"]
    assert size == 4096 or (size == page and size & (size - 1) == 0)


# --- resolve() is total ----------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=12),
    st.floats(allow_nan=True), st.binary(max_size=4),
)  # fmt: skip
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
GPU = st.fixed_dictionaries(
    {"gfx": st.one_of(st.sampled_from(TARGETS), JUNK)},
    optional={
        "pci_id": st.one_of(st.sampled_from([p["pci_id"] for p in CATALOG["products"]]), JUNK),
        "revision": st.one_of(st.sampled_from(["c0", "C8", "0xc1", "00"]), JUNK),
        "driver": st.one_of(st.sampled_from(["amdgpu", "vfio-pci"]), JUNK),
        "vram_bytes": st.one_of(st.integers(0, 288 * GIB), JUNK),
        "cwsr_size": JUNK, "mes_version": JUNK, "slot": JUNK, "simulated": JUNK, "name": JUNK,
    },
)  # fmt: skip
RELEASES = st.sampled_from(
    ["6.12.107+deb13-amd64", "7.0.0-43-generic", "6.14.0-1018-oem", "6.17.9-061709-generic",
     "6.18.9-200.fc43.x86_64", "6.12.0-55.el10.x86_64", "", "x", "6.19.0-rc1"]
)  # fmt: skip


@st.composite
def hosts(draw: st.DrawFn) -> Json:
    facts = strix_halo()
    facts["distribution"] = draw(
        st.one_of(
            st.sampled_from(
                [{"id": "debian", "codename": "trixie"}, {"id": "ubuntu", "version_id": "24.04"},
                 {"id": "ubuntu", "version_id": "26.04"}, {"id": "fedora", "version_id": "44"},
                 {"id": "rhel", "version_id": "9.8"}, {"id": "rocky", "version_id": "10.0"},
                 {"id": "centos", "version_id": "9"}, {"id": "arch"}]
            ),
            JUNK,
        )
    )  # fmt: skip
    facts["gpus"] = draw(st.one_of(st.lists(GPU, max_size=5), JUNK))
    facts["kernel"] |= {"running": draw(RELEASES), "running_package": draw(JUNK)}
    for key in draw(st.sets(st.sampled_from(sorted(facts)), max_size=3)):
        facts[key] = draw(JUNK)
    return facts


def judged(result: Json) -> None:
    assert result["verdict"] in ("supported", "works with warnings", "refused")
    assert (result["verdict"] == "refused") == bool(result["refusals"])
    for problem in [*result["refusals"], *result["warnings"]]:
        assert problem["code"].startswith("STK-")
        assert problem["what"].strip()
        assert problem["hint"].strip()
    assert result["verdict_line"].startswith(result["verdict"])
    if "boot" in result:
        for argument in result["boot"]["args"]:
            assert result["reasons"]["boot.args." + argument.split("=")[0]]
        keys = [argument.split("=")[0] for argument in result["boot"]["args"]]
        assert len(keys) == len(set(keys))
        limit = result["memory"]["gtt_bytes"]
        assert limit is None or limit <= result["memory"]["total_bytes"]


@settings(deadline=None, max_examples=120)
@given(hosts())
def test_every_host_ends_in_a_verdict(facts: Json) -> None:
    judged(profile.resolve(facts, CATALOG, {}))


SETTINGS = st.dictionaries(
    st.sampled_from(
        ["boot_params_iommu", "boot_params_gttsize", "boot_params_extra_args", "host_profile_gfx",
         "host_profile_kernel_stream", "inference_server_engine", "inference_server_image",
         "inference_server_image_archive", "inference_server_model", "kernel_minimum",
         "inference_server_served_model_name", "model_store_models", "rocm_source",
         "rocm_version", "rocm_packages", "rocm_mirror_uri", "rocm_key_fingerprint"]
    ),
    st.one_of(JUNK, st.sampled_from(["off", "pt", "amd", "mirror", "none", "vllm", "7.14", "hwe"])),
    max_size=5,
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(SETTINGS)
def test_settings_of_the_wrong_type_are_refusals(chosen: Json) -> None:
    judged(profile.resolve(strix_halo(), CATALOG, chosen))


@settings(deadline=None, max_examples=40)
@given(JUNK)
def test_facts_that_are_none_are_refused(facts: Any) -> None:
    assume(not isinstance(facts, dict) or "gpus" not in facts)
    assert profile.resolve(facts, CATALOG, {})["verdict"] == "refused"


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(3)))
def test_the_order_of_the_gpus_decides_nothing(order: list[int]) -> None:
    gpus = [
        {"gfx": "gfx1036", "pci_id": "13c0", "slot": "0000:0d:00.0"},
        {"gfx": "gfx1201", "pci_id": "7551", "revision": "c0", "slot": "0000:03:00.0"},
        {"gfx": "gfx1100", "pci_id": "744c", "revision": "c8", "slot": "0000:04:00.0"},
    ]
    result = profile.resolve(strix_halo(gpus=[gpus[i] for i in order]), CATALOG, {})
    assert result["gfx"] == "gfx1201"
    assert result["serving_gpus"] == ["0000:03:00.0"]
    assert {gpu["gfx"] for gpu in result["excluded_gpus"]} == {"gfx1036", "gfx1100"}


def test_three_hundred_gpus_are_no_trouble() -> None:
    gpus = [{"gfx": "gfx942", "pci_id": "74a1", "slot": f"{i:04x}:03:00.0"} for i in range(300)]
    result = profile.resolve(strix_halo(gpus=gpus), CATALOG, {})
    assert len(result["serving_gpus"]) == 300
    judged(result)
