"""Make the sandbox's inference engine: an OCI archive with llama.cpp's server for the CPU."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stroke.host_apt import Archive
from stroke.namespace import as_root
from stroke.paths import built_whole, cache_home, locked
from stroke.process import require, run

REFERENCE = "localhost/stroke-sandbox/llamacpp:1"
_RELEASE = "sid"  # llama.cpp is packaged there first, and its server is there as a program
# curl is what a health check inside the container can post a completion with.
_PACKAGES = ("llama.cpp-tools", "curl", "base-files", "dash", "libc-bin")
_LEFT_OUT = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/zoneinfo/*"),
    *("/usr/lib/x86_64-linux-gnu/gconv/*", "/usr/libexec/x86_64-linux-gnu/ggml/*"),
    *("/usr/share/llama.cpp/*", "/usr/share/bash-completion/*", "/usr/share/lintian/*"),
)
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
_GROUPS = "root:x:0:\nvideo:x:44:\nrender:x:104:\nnogroup:x:65534:\n"
_ANNOTATION = "org.opencontainers.image.ref.name"
_EPOCH = "2024-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class EngineImage:
    """The archive and the name that `podman load` gives to what is in it."""

    archive: Path
    reference: str = REFERENCE


def engine_image(archive: Archive, progress: Callable[[str], None]) -> EngineImage:
    """The engine from the cache, made there first where it is missing."""
    recipe = repr((archive, _RELEASE, _PACKAGES, _LEFT_OUT, _USERS, _GROUPS, configuration("")))
    name = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    target = cache_home() / "engines" / f"llamacpp-{name}"
    with locked(target.with_suffix(".lock")):
        path = target / "llamacpp.oci.tar"
        if not path.is_file():
            progress("Packing the engine: llama.cpp's server for the CPU (once, about 30 s)")
            with built_whole(target) as scratch:
                layer = scratch / "layer.tar"
                _layer(archive, layer)
                write_oci_archive(scratch / path.name, layer)
                layer.unlink()
    return EngineImage(path)


def _layer(archive: Archive, target: Path) -> None:
    require(["mmdebstrap", "unshare"])
    source = f"deb {archive.uri} {_RELEASE} main\n"
    with tempfile.TemporaryDirectory(prefix="stroke-engine-") as name:
        sources, users, groups = Path(name, "sources.list"), Path(name, "p"), Path(name, "g")
        sources.write_text(source, encoding="utf-8")
        users.write_text(_USERS, encoding="utf-8")
        groups.write_text(_GROUPS, encoding="utf-8")
        # Unpacked only: no package's scripts are needed to run one program.
        # fmt: off
        run([
            *as_root(), "mmdebstrap", "--mode=root", "--variant=extract", "--quiet",
            *(f"--aptopt={setting.rstrip(';')}" for setting in archive.settings),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            f"--include={','.join(_PACKAGES)}",
            f"--customize-hook=upload {users} /etc/passwd",
            f"--customize-hook=upload {groups} /etc/group",
            '--customize-hook=chroot "$1" ldconfig',
            '--customize-hook=rm -rf "$1"/var/lib/apt "$1"/var/cache "$1"/var/lib/dpkg '
            '"$1"/etc/apt "$1"/etc/dpkg',
            _RELEASE, target, sources,
        ], env={"SOURCE_DATE_EPOCH": "1704067200"})  # _EPOCH: no file is newer than that
        # fmt: on


def configuration(diff_id: str) -> dict[str, Any]:
    """The image's configuration: its arguments are llama-server's."""
    return {
        "created": _EPOCH,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/llama-server"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "ExposedPorts": {"8080/tcp": {}},
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": _EPOCH, "created_by": "stroke sandbox"}],
    }


def write_oci_archive(target: Path, layer: Path, reference: str = REFERENCE) -> None:
    """Wrap one tar archive as an OCI archive with its reference; the format needs no engine."""
    plain = layer.read_bytes()
    packed = gzip.compress(plain, compresslevel=6, mtime=0)
    diff_id = f"sha256:{hashlib.sha256(plain).hexdigest()}"
    blobs: dict[str, bytes] = {}

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", _json(configuration(diff_id))),
        "layers": [blob("layer.v1.tar+gzip", packed)],
    }
    described = blob("manifest.v1+json", _json(manifest))
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**described, "annotations": {_ANNOTATION: reference}}],
    }
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for digest in sorted(blobs):
            _add(tar, f"blobs/sha256/{digest}", blobs[digest])


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))
