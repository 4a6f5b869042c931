"""What a verification collects on a good host with one service."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
DIGEST = "ab" * 32
PAGES = 28311552
PLANNED = PAGES * 4096
MASKS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

KERNEL: Json = {
    "install_floor": "6.18.4",
    "stable": True,
    "proof": "cwsr_size",
    "running": {
        "release": "7.2.12+deb13-amd64",
        "version": "7.2.12-1~bpo13+1",
        "stream": "backports",
        "kind": "dpkg",
        "floor": "6.18.4",
        "state": "good",
        "proven": True,
        "asked_met": None,
    },
}
FIRMWARE: Json = {
    "package": "firmware-amd-graphics",
    "minimum": "20260110",
    "deny": ["20251125"],
    "deny_mes": [0x83],
    "deny_loaded": [0x83],
    "installed": "20260916-1~bpo13+1",
    "good": True,
}
CONTAINER: Json = {
    "State": {"Health": {"Status": "healthy"}},
    "Config": {
        "Labels": {"stroke.config": DIGEST},
        "User": "997:996",
        "Env": ["HOME=/cache"],
    },
    "EffectiveCaps": None,
    "BoundingCaps": [],
    "Mounts": [
        {"Type": "bind", "Source": "/var/lib/stroke/models", "RW": False},
        {"Type": "bind", "Source": "/var/lib/stroke/cache", "RW": True},
        {"Type": "volume", "Source": "/var/lib/containers/storage/volumes/x/_data", "RW": True},
    ],
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
PROCESS: Json = {
    "uids": [997],
    "groups": [992, 996],
    "capabilities": dict.fromkeys(MASKS, "0000000000000000"),
    "no_new_privileges": True,
    "seccomp": 2,
    "processes": 2,
    "shared_namespaces": ["cgroup", "user"],
    "devices": [
        {"path": "/dev/dri/renderD128", "mode": "0660", "uid": 0, "gid": 992},
        {"path": "/dev/kfd", "mode": "0660", "uid": 0, "gid": 992},
    ],
    "root_read_only": True,
    "memory": {"device_bytes": [PLANNED], "limit_bytes": None},
}
SERVICE: Json = {
    "name": "stroke-inference",
    "unit": "stroke-inference.service",
    "container": "stroke-inference",
    "runtime": "podman",
    "rootless": False,
    "user": None,
    "bind": "127.0.0.1",
    "port": 8000,
    "url": "http://127.0.0.1:8000",
    "model": "tiny.gguf",
    "gpus": [],
    "digest": DIGEST,
    "seen": {
        "unit": {"ActiveState": "active", "NRestarts": "0", "WantedBy": "multi-user.target"},
        "exposure": 5.2,
        "container": CONTAINER,
        "process": PROCESS,
        "listening": ["127.0.0.1"],
        "has_key": True,
        "status_without_key": 401,
        "secrets_in": [],
    },
    "completion": {
        "prompt": "Say hello.",
        "text": "hello",
        "tokens": 3,
        "chat": True,
        "seconds": 1,
        "model": "tiny.gguf",
        "error": None,
    },
}
GOOD: Json = {
    "user": "stroke",
    "changes": [],
    "writable": ["/var/lib/stroke/cache"],
    "exposure": 9.8,
    "service_uids": [997],
    "secrets": [
        {"path": "/etc/stroke/secrets", "type": "directory", "uid": 0, "gid": 0, "mode": "0711"},
        {"path": "/etc/stroke/secrets/k", "type": "file", "uid": 997, "gid": 0, "mode": "0400"},
    ],
    "profile": {
        "simulated": False,
        "serving_gpus": ["0000:c5:00.0"],
        "kernel": KERNEL,
        "firmware": FIRMWARE,
        "boot": {"args": ["amd_iommu=off", "amdgpu.gttsize=110592", f"ttm.pages_limit={PAGES}"]},
        "memory": {"pages": PAGES, "gttsize_mib": 110592, "page_size": 4096},
    },
    "now": {"kernel": KERNEL, "firmware": FIRMWARE},
    "services": [SERVICE],
    "facts": {
        "kernel": {
            "running": "7.2.12+deb13-amd64",
            "args": ["ro", "amd_iommu=off", "amdgpu.gttsize=110592", f"ttm.pages_limit={PAGES}"],
        },
        "gpus": [
            {
                "gfx": "gfx1151",
                "slot": "0000:c5:00.0",
                "simulated": False,
                "render_node": "/dev/dri/renderD128",
                "gtt_bytes": PLANNED,
                "cwsr_size": 1,
                "mes_version": 0x86,
            }
        ],
        "arguments": {
            "configured": [
                {"source": "/etc/default/grub", "key": "ttm.pages_limit", "value": "1"},
                {
                    "source": "/etc/default/grub.d/90-stroke.cfg",
                    "key": "ttm.pages_limit",
                    "value": str(PAGES),
                },
                {
                    "source": "/etc/default/grub.d/90-stroke.cfg",
                    "key": "}amdgpu.gttsize",
                    "value": "110592",
                },
            ],
            "modprobe": [],
        },
        "parameters": {"ttm.pages_limit": PAGES, "amdgpu.gttsize": 110592},
        "groups": {"render": 992, "video": 44},
        "devices": {
            "kfd": {"mode": "0660", "gid": 992},
            "render": {"/dev/dri/renderD128": {"mode": "0660", "gid": 992}},
        },
        "users": {"stroke": {"uid": 997, "gid": 996, "groups": ["stroke", "render", "video"]}},
    },
}
