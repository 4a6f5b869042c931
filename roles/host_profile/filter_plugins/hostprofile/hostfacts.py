"""A host's facts with every key that is read here: absent or of a wrong type becomes empty.

Facts of an older gpu_facts, of a captured tree or of a hostile host must not end in a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

PAGE = 4096
LARGEST_PAGE = 2**24

# Every key with the value that stands for "not known"; its type is the type that is accepted.
_SHAPE: Json = {
    "distribution": {"id": "", "version_id": "", "codename": "", "name": "", "id_like": [],
                     "variant_id": ""},
    "environment": {"ostree": False, "virtualization": "", "container": False},
    "kernel": {"running": "", "args": [], "installed": [], "running_package": {}},
    "memory": {"total_bytes": 0, "page_size": PAGE, "declared_bytes": 0, "dmi_bytes": 0,
               "carveout_bytes": 0},
    "gpus": [],
    "modules": {"amdgpu": {"loaded": False, "dkms_version": "", "flavour": ""},
                "amdxdna": {"loaded": False}, "vfio_devices": [], "rdma_devices": []},
    "npu": {"driver": ""},
    "firmware": {"loaded": {}, "overrides": [], "dkms_package": ""},
    "packages": {},
    "container_runtime": {"docker": ""},
    "boot": {"loader": "", "layout": ""},
}  # fmt: skip
_GPU: Json = {
    "gfx": "", "name": "", "slot": "", "pci_id": "", "revision": "", "driver": "",
    "simulated": False, "vram_bytes": 0, "cwsr_size": 0, "mes_version": 0, "cu_count": 0,
}  # fmt: skip


def _like(value: Any, shape: Any) -> Any:
    if isinstance(shape, dict):
        given = value if isinstance(value, Mapping) else {}
        if not shape:
            return {str(key): given[key] for key in given}
        return {key: _like(given.get(key), empty) for key, empty in shape.items()}
    if isinstance(shape, bool):
        return value is True
    if isinstance(shape, int):
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return value if number else shape
    if isinstance(shape, list):
        return list(value) if isinstance(value, (list, tuple)) else []
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else shape


def complete(facts: Any) -> Json:
    """The facts that decisions are made from."""
    whole: Json = _like(facts, _SHAPE)
    whole["gpus"] = [_like(gpu, _GPU) for gpu in whole["gpus"] if isinstance(gpu, Mapping)]
    for place, key in (("kernel", "args"), ("modules", "vfio_devices"), ("modules", "rdma_devices"),
                       ("firmware", "overrides"), ("distribution", "id_like")):  # fmt: skip
        whole[place][key] = [str(word) for word in whole[place][key]]
    size = whole["memory"]["page_size"]
    if not PAGE <= size <= LARGEST_PAGE or size & (size - 1):
        whole["memory"]["page_size"] = PAGE
    return whole


def package_version(facts: Json, name: str) -> str:
    """The installed version of a package that gpu_facts was asked about; empty: none."""
    found = facts["packages"].get(name)
    return str(found.get("version") or "") if isinstance(found, Mapping) else ""


def proven(facts: Json, slots: list[Json]) -> bool:
    """Does the running kernel show that it has the fixes for what these GPUs need?"""
    real = [gpu for gpu in slots if not gpu["simulated"]]
    return bool(real) and all(gpu["cwsr_size"] > 0 for gpu in real)


def driver_flavour(facts: Json) -> str:
    """`dkms` where AMD's own driver package is loaded, else `inbox`."""
    amdgpu = facts["modules"]["amdgpu"]
    return "dkms" if amdgpu["flavour"] == "dkms" or amdgpu["dkms_version"] else "inbox"
