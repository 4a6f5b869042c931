"""A host's facts, small and plausible, for tests of what is decided from them."""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]
GIB = 1024**3

_STRIX_HALO: Json = {
    "schema": "stroke/facts/1",
    "distribution": {
        "id": "debian",
        "version_id": "13",
        "codename": "trixie",
        "name": "Debian GNU/Linux 13 (trixie)",
        "family": "debian",
    },
    "environment": {
        "virtualization": "none",
        "container": False,
        "ostree": False,
        "root": True,
        "hostname": "strix",
        "architecture": "x86_64",
    },
    "kernel": {
        "running": "6.12.107+deb13-amd64",
        "boot_id": "first",
        "cmdline": "quiet",
        "args": ["BOOT_IMAGE=/vmlinuz", "ro", "quiet"],
        "installed": [
            {
                "package": "linux-image-6.12.107+deb13-amd64",
                "version": "6.12.107-1",
                "release": "6.12.107+deb13-amd64",
            }
        ],
    },
    "memory": {
        "total_bytes": int(125.65 * GIB),
        "declared_bytes": None,
        "page_size": 4096,
        "dmi_bytes": None,
    },
    "gpus": [{"gfx": "gfx1151", "name": None, "pci_id": "1586", "simulated": False}],
    "modules": {
        "amdgpu": {"loaded": True, "available": True, "dkms_version": None},
        "ttm": {"loaded": True},
        "amdxdna": {"loaded": False},
        "vfio_devices": [],
        "rdma_devices": [],
    },
    "packages": {"linux-image-amd64": {"version": "6.12.107-1", "held": False}},
    "apt": {
        "python_apt": False,
        "sources": [
            {
                "file": "/etc/apt/sources.list.d/debian.sources",
                "types": ["deb"],
                "uris": ["http://archive.example/debian"],
                "suites": ["trixie", "trixie-updates"],
                "components": ["main"],
                "signed_by": "/usr/share/keyrings/debian-archive-keyring.gpg",
                "enabled": True,
            }
        ],
        "broken": [],
        "interrupted": [],
        "locked_by": None,
    },
    "boot": {"loader": "grub", "firmware": "uefi", "secure_boot": False},
    "filesystems": {
        "/": {"total_bytes": 100 * GIB, "free_bytes": 80 * GIB, "mount": "/"},
        "/boot": {"total_bytes": GIB, "free_bytes": GIB // 2, "mount": "/boot"},
        "/var/lib/containers": {"total_bytes": 100 * GIB, "free_bytes": 80 * GIB, "mount": "/"},
        "/var/lib/stroke": {"total_bytes": 100 * GIB, "free_bytes": 80 * GIB, "mount": "/"},
    },
    "state": {"packages": {}, "boot": None},
}


def strix_halo(**changes: Any) -> Json:
    """A Strix Halo host on stock Debian 13; `a__b=value` changes facts["a"]["b"]."""
    facts = copy.deepcopy(_STRIX_HALO)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = facts
        for parent in parents:
            place = place[parent]
        place[last] = value
    return facts
