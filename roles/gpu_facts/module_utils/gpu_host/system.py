"""Distribution, environment, kernel, memory, devices and space of a host."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import PurePosixPath
from typing import Any

from . import dpkg
from .files import Host, kernel_arguments, records

DMI = "/sys/class/dmi/id"
MEMORY_DEVICES = "/sys/firmware/dmi/entries"
STATE = "/var/lib/stroke/packages"
CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"

# sys_vendor or product_name -> the word systemd-detect-virt uses for it.
VENDORS = (
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("xen", "xen"),
    ("virtual machine", "microsoft"),
    ("bochs", "bochs"),
    ("parallels", "parallels"),
)


def distribution(host: Host) -> dict[str, Any]:
    """The fields of os-release that choices depend on; testing has no VERSION_ID."""
    text = host.text("/etc/os-release") or host.text("/usr/lib/os-release") or ""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, raw = line.strip().partition("=")
        if not separator or key.startswith("#"):
            continue
        try:
            values[key] = " ".join(shlex.split(raw))
        except ValueError:
            values[key] = raw.strip("\"'")
    kin = {values.get("ID", ""), *values.get("ID_LIKE", "").split()}
    codename = values.get("VERSION_CODENAME") or (host.line("/etc/debian_version") or "")
    if "VERSION_CODENAME" not in values:
        codename = codename.split("/")[0] if re.match(r"[a-z]+(/sid)?$", codename) else ""
    return {
        "id": values.get("ID", ""),
        "version_id": values.get("VERSION_ID", ""),
        "codename": codename,
        "name": values.get("PRETTY_NAME", values.get("NAME", "")),
        "family": "debian"
        if kin & {"debian", "ubuntu"}
        else "rhel"
        if kin & {"rhel", "fedora", "centos"}
        else "other",
    }


def _container(host: Host) -> str | None:
    told = host.line("/run/systemd/container")
    if told:
        return told
    if host.exists("/run/.containerenv"):
        return "podman"
    return "docker" if host.exists("/.dockerenv") else None


def _machine(host: Host) -> str:
    words = " ".join(
        host.line(f"{DMI}/{name}") or "" for name in ("sys_vendor", "product_name")
    ).lower()
    clocks = (host.line(CLOCKS) or "").split()
    if "qemu" in words or "kvm" in words:
        return "kvm" if "kvm-clock" in clocks else "qemu"
    for word, name in VENDORS:
        if word in words:
            return name
    if "kvm-clock" in clocks:
        return "kvm"
    flags = re.search(r"^flags\s*:(.*)$", host.text("/proc/cpuinfo", 8192) or "", re.MULTILINE)
    return "vm-other" if flags and "hypervisor" in flags.group(1).split() else "none"


def environment(host: Host) -> dict[str, Any]:
    container = _container(host)
    return {
        "virtualization": container or _machine(host),
        "container": container is not None,
        "ostree": host.exists("/run/ostree-booted"),
        "root": os.geteuid() == 0,
        "hostname": host.line("/proc/sys/kernel/hostname") or host.line("/etc/hostname") or "",
        "architecture": host.line("/proc/sys/kernel/arch") or os.uname().machine,
    }


def kernel(host: Host, known: dict[str, dpkg.Package]) -> dict[str, Any]:
    cmdline = host.line("/proc/cmdline") or ""
    return {
        "running": host.line("/proc/sys/kernel/osrelease") or "",
        "boot_id": host.line("/proc/sys/kernel/random/boot_id") or "",
        "cmdline": cmdline,
        "args": kernel_arguments(cmdline),
        "installed": dpkg.kernels(known),
    }


def dmi_memory(host: Host) -> int | None:
    """Sum of the memory modules in SMBIOS type 17; root only, and absent in many guests."""
    total = 0
    for name in host.names(MEMORY_DEVICES):
        if not name.startswith("17-"):
            continue
        raw = host.read(f"{MEMORY_DEVICES}/{name}/raw", 512)
        if raw is None:
            return None
        size = int.from_bytes(raw[0x0C:0x0E], "little") if len(raw) >= 0x0E else 0
        if size == 0x7FFF and len(raw) >= 0x20:
            total += (int.from_bytes(raw[0x1C:0x20], "little") & 0x7FFFFFFF) << 20
        elif size & 0x8000 and size != 0xFFFF:
            total += (size & 0x7FFF) << 10
        elif size != 0xFFFF:
            total += size << 20
    return total or None


def memory(host: Host, declared_gib: int | None) -> dict[str, Any]:
    match = re.search(r"^MemTotal:\s+(\d+) kB", host.text("/proc/meminfo", 8192) or "", re.M)
    if not match:
        host.cannot("/proc/meminfo", "no MemTotal")
    return {
        "total_bytes": int(match.group(1)) * 1024 if match else 0,
        "declared_bytes": declared_gib << 30 if declared_gib else None,
        "page_size": os.sysconf("SC_PAGESIZE"),
        "dmi_bytes": dmi_memory(host),
    }


def _module_available(host: Host, release: str) -> bool:
    for top in ("/lib/modules", "/usr/lib/modules"):
        folder = f"{top}/{release}"
        if not release or not host.exists(folder):
            continue
        inbox = host.names(f"{folder}/kernel/drivers/gpu/drm/amd/amdgpu")
        if any(name.startswith("amdgpu.ko") for name in inbox):
            return True
        for index in ("modules.dep", "modules.builtin"):
            if "/amdgpu.ko" in (host.text(f"{folder}/{index}") or ""):
                return True
    return False


def modules(host: Host, release: str) -> dict[str, Any]:
    """Driver flavour (only the DKMS build carries a version) and users of the IOMMU."""
    loaded = {
        name: host.exists(f"/sys/module/{name}") for name in ("amdgpu", "ttm", "amdttm", "amdxdna")
    }
    bound = host.names("/sys/bus/pci/drivers/vfio-pci")
    return {
        "amdgpu": {
            "loaded": loaded["amdgpu"],
            "available": loaded["amdgpu"] or _module_available(host, release),
            "dkms_version": host.line("/sys/module/amdgpu/version"),
        },
        "ttm": {"loaded": loaded["ttm"] or loaded["amdttm"]},
        "amdxdna": {"loaded": loaded["amdxdna"]},
        "vfio_devices": [name for name in bound if re.match(r"[0-9a-f]+:[0-9a-f]{2}:", name)],
        "rdma_devices": host.names("/sys/class/infiniband"),
    }


def parameters(host: Host) -> dict[str, int | None]:
    limit = host.number("/sys/module/ttm/parameters/pages_limit")
    if limit is None:  # the DKMS build renames the module
        limit = host.number("/sys/module/amdttm/parameters/pages_limit")
    return {
        "ttm.pages_limit": limit,
        "amdgpu.gttsize": host.number("/sys/module/amdgpu/parameters/gttsize"),
    }


def _node(host: Host, path: str) -> dict[str, Any] | None:
    found = host.stat(path)
    if found is None:
        return None
    return {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "gid": found.st_gid}


def devices(host: Host) -> dict[str, Any]:
    nodes = [name for name in host.names("/dev/dri") if name.startswith("renderD")]
    render = {f"/dev/dri/{name}": _node(host, f"/dev/dri/{name}") for name in nodes}
    return {"kfd": _node(host, "/dev/kfd"), "render": render}


def groups(host: Host) -> dict[str, int | None]:
    known = {
        fields[0]: int(fields[2])
        for fields in records(host.text("/etc/group") or "")
        if len(fields) >= 3 and fields[2].isdecimal()
    }
    return {"render": known.get("render"), "video": known.get("video")}


def _mounts(host: Host) -> list[str]:
    text = host.text("/proc/self/mounts") or ""
    fields = (line.split() for line in text.splitlines())
    points = [words[1].replace("\\040", " ") for words in fields if len(words) > 1]
    return sorted(points, key=len, reverse=True)


def filesystems(host: Host, paths: list[str]) -> dict[str, Any]:
    """Space where each path is or would be made: that of its nearest existing parent."""
    result: dict[str, Any] = {}
    points = _mounts(host) if paths else []
    for path in paths:
        place = PurePosixPath(os.path.normpath("/" + path.lstrip("/")))
        while place.name and host.stat(os.fspath(place)) is None:
            place = place.parent
        try:
            space = os.statvfs(host.at(os.fspath(place)))
        except OSError as error:
            host.cannot(path, error)
            continue
        real = os.path.realpath(place) if host.live else os.fspath(place)
        over = (point for point in points if real == point or real.startswith(f"{point}/"))
        result[path] = {
            "total_bytes": space.f_blocks * space.f_frsize,
            "free_bytes": space.f_bavail * space.f_frsize,
            "mount": next(over, "/"),
        }
    return result


def _runtime(host: Host, known: dict[str, dpkg.Package], binary: str, *names: str) -> str | None:
    """Version from the package that ships the program; asking the program is the slow way."""
    if host.exists(f"/usr/bin/{binary}"):
        for name in names:
            version = known.get(name, dpkg.ABSENT).version
            if version:
                return dpkg.upstream(version)
    program = shutil.which(binary) if host.live else None
    if not program:
        return None
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        host.cannot(program, error)
        return None
    match = re.search(r"(\d+\.\d+(?:\.\d+)*)", answer.stdout)
    return match.group(1) if match else None


def container_runtime(host: Host, known: dict[str, dpkg.Package]) -> dict[str, str | None]:
    return {
        "podman": _runtime(host, known, "podman", "podman"),
        "docker": _runtime(host, known, "docker", "docker-ce", "docker-ce-cli", "docker.io"),
    }


def state(host: Host) -> dict[str, Any]:
    """Package versions from before the roles changed them, as the roles wrote them down."""
    before: dict[str, Any] = {}
    for name in host.names(STATE):
        if not name.endswith(".json"):
            continue
        try:
            value = json.loads(host.text(f"{STATE}/{name}") or "")
        except ValueError as error:
            host.cannot(f"{STATE}/{name}", f"not JSON: {error}")
            continue
        if isinstance(value, dict):
            before[name[: -len(".json")]] = value
        else:
            host.cannot(f"{STATE}/{name}", "not a JSON object")
    return {"packages": before}
