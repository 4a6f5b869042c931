"""Kernel modules of the GPU and their live parameters, the IOMMU and who needs it."""

from __future__ import annotations

from typing import Any

from .files import Host
from .pci import SLOT

TOPS = ("/lib/modules", "/usr/lib/modules")
INBOX = "kernel/drivers/gpu/drm/amd/amdgpu"
# Where dkms puts what it builds: Debian and Ubuntu, then Fedora and RHEL.
BUILT = ("updates/dkms", "extra", "weak-updates")
# Parameters that explain how much memory a GPU gets and how its queues are saved.
PARAMETERS = (
    ("ttm.pages_limit", "ttm", "pages_limit"),
    ("amdttm.pages_limit", "amdttm", "pages_limit"),
    ("amdgpu.gttsize", "amdgpu", "gttsize"),
    ("amdgpu.cwsr_enable", "amdgpu", "cwsr_enable"),
)


class Tree:
    """Module files of one kernel; its indexes are read at most once."""

    def __init__(self, host: Host, release: str) -> None:
        self.host = host
        # A release is one directory name; anything else is not the name of a kernel.
        there = (f"{top}/{release}" for top in TOPS) if release and "/" not in release else ()
        self.folder = next((path for path in there if host.exists(path)), None)
        self._texts: dict[str, str] = {}

    def _has_file(self, folder: str, name: str) -> bool:
        names = self.host.names(f"{self.folder}/{folder}")
        return any(entry.startswith(f"{name}.ko") for entry in names)

    def _index(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = self.host.text(f"{self.folder}/{name}") or ""
        return self._texts[name]

    def built(self, name: str) -> bool:
        """A build from outside the kernel, which depmod prefers to the kernel's own."""
        return bool(self.folder) and any(self._has_file(folder, name) for folder in BUILT)

    def builtin(self, name: str) -> bool:
        return bool(self.folder) and f"/{name}.ko" in self._index("modules.builtin")

    def inbox(self, name: str) -> bool:
        return bool(self.folder) and (
            self._has_file(INBOX, name)
            or self.builtin(name)
            or f"/{name}.ko" in self._index("modules.dep")
        )


def modules(host: Host, release: str) -> dict[str, Any]:
    """Driver flavour (only the DKMS build carries a version) and users of the IOMMU."""
    names = ("amdgpu", "ttm", "amdttm", "amdxdna")
    loaded = {name: host.exists(f"/sys/module/{name}") for name in names}
    tree = Tree(host, release)
    version = host.line("/sys/module/amdgpu/version")
    built = tree.built("amdgpu")
    available = loaded["amdgpu"] or built or tree.inbox("amdgpu")
    flavour = None
    if available:
        # Before it is loaded, what would be loaded.
        flavour = "dkms" if version or (built and not loaded["amdgpu"]) else "inbox"
    if built and flavour == "inbox":
        host.notes.append(
            "amdgpu: the kernel's own driver runs, but one built by DKMS is on the disk "
            "and is taken at the next boot"
        )
    return {
        "amdgpu": {
            "loaded": loaded["amdgpu"],
            "available": available,
            "dkms_version": version,
            "flavour": flavour,
            "version": version,
            "dkms_built": built,
        },
        "ttm": {"loaded": loaded["ttm"] or loaded["amdttm"], "builtin": tree.builtin("ttm")},
        "amdttm": {"loaded": loaded["amdttm"]},
        "amdxdna": {"loaded": loaded["amdxdna"]},
        "vfio_devices": [
            name for name in host.names("/sys/bus/pci/drivers/vfio-pci") if SLOT.match(name)
        ],
        "rdma_devices": host.names("/sys/class/infiniband"),
    }


def parameters(host: Host) -> dict[str, int | None]:
    """Live values; the DKMS build renames ttm, and its limit counts as ttm's too."""
    found = {
        key: host.number(f"/sys/module/{module}/parameters/{name}")
        for key, module, name in PARAMETERS
    }
    if found["ttm.pages_limit"] is None:
        found["ttm.pages_limit"] = found["amdttm.pages_limit"]
    return found


def iommu(host: Host, slots: list[str]) -> dict[str, Any]:
    """`domain` is that of the first GPU: identity is passthrough, DMA or DMA-FQ is translated."""
    there = host.exists("/sys/kernel/iommu_groups")
    groups = len(host.names("/sys/kernel/iommu_groups")) if there else 0
    domains = (host.line(f"/sys/bus/pci/devices/{slot}/iommu_group/type") for slot in slots)
    return {
        "groups": groups,
        "enabled": groups > 0 if there else None,
        "domain": next((domain for domain in domains if domain), None),
    }
