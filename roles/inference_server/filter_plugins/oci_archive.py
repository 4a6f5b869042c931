"""What an image archive holds, read and proven on the controller before it travels to a host.

Understands both forms that `podman save` and `docker save` write: OCI layout and docker-archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import os
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

Json = dict[str, Any]

CHUNK = 4 * 1024 * 1024
SMALL = 4 * 1024 * 1024  # manifests and configurations; layers are only hashed
REFERENCE_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _Broken(Exception):
    """The archive is not what it says it is."""


def _digest(stream: IO[bytes]) -> tuple[str, bytes]:
    """sha256 of a member, and its bytes when it is small enough to be a document."""
    digest, head = hashlib.sha256(), b""
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        head = head + chunk if len(head) + len(chunk) <= SMALL else head
    return digest.hexdigest(), head


def _members(path: Path) -> tuple[dict[str, str], dict[str, int], dict[str, bytes]]:
    """One pass over the archive: sha256, size and (small ones) bytes of every file by name."""
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    documents: dict[str, bytes] = {}
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            name = member.name.removeprefix("./")
            digests[name], head = _digest(stream)
            sizes[name] = member.size
            if member.size <= SMALL:
                documents[name] = head
    return digests, sizes, documents


def _document(documents: dict[str, bytes], name: str) -> Any:
    if name not in documents:
        raise _Broken(f"{name} is missing")
    return json.loads(documents[name])


def _oci(digests: dict[str, str], sizes: dict[str, int], documents: dict[str, bytes]) -> Json:
    def blob(descriptor: Json) -> str:
        algorithm, _, value = str(descriptor["digest"]).partition(":")
        name = f"blobs/{algorithm}/{value}"
        if name not in digests:
            raise _Broken(f"{name} is missing")
        if digests[name] != value or sizes[name] != descriptor.get("size", sizes[name]):
            raise _Broken(f"{name} does not have the content that its name promises")
        return name

    entry = _document(documents, "index.json")["manifests"][0]
    annotations = entry.get("annotations") or {}
    manifest = _document(documents, blob(entry))
    while "manifests" in manifest:
        manifest = _document(documents, blob(manifest["manifests"][0]))
    files = {
        "Config": blob(manifest["config"]),
        "Layers": [blob(layer) for layer in manifest["layers"]],
    }
    reference = next((annotations[key] for key in REFERENCE_KEYS if annotations.get(key)), None)
    return {
        "format": "oci",
        "reference": reference,
        "image_id": manifest["config"]["digest"],
        # What Docker looks for in an archive before it takes one: it does not read OCI layouts.
        "docker_manifest": json.dumps([files | {"RepoTags": [reference] if reference else None}]),
    }


def _docker(digests: dict[str, str], documents: dict[str, bytes]) -> Json:
    entry = _document(documents, "manifest.json")[0]
    configuration = _document(documents, entry["Config"])
    for layer, wanted in zip(entry["Layers"], configuration["rootfs"]["diff_ids"], strict=True):
        if f"sha256:{digests.get(layer)}" != wanted:
            raise _Broken(
                f"{layer} is missing or does not have the content that its configuration promises"
            )
    return {
        "format": "docker",
        "reference": (entry.get("RepoTags") or [None])[0],
        "image_id": f"sha256:{digests[entry['Config']]}",
    }


def _read(path: Path) -> Json:
    digests, sizes, documents = _members(path)
    if "index.json" in digests:
        return _oci(digests, sizes, documents)
    if "manifest.json" in digests:
        return _docker(digests, documents)
    raise _Broken("it is neither an OCI archive nor a docker archive")


def _memory(path: Path, status: os.stat_result) -> Path:
    """Where the answer for exactly this file is kept: archives can be tens of gigabytes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = f"2 {path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return cache / "stroke" / "archives" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def oci_archive_info(archive: str | None) -> Json:
    """{path, reference, image_id, size, format}, or {path, problem}; {} without an archive.

    An OCI archive has `docker_manifest`, too: the document that makes it one for Docker.
    """
    if not archive:
        return {}
    path = Path(archive)
    try:
        status = path.stat()
        memory = _memory(path, status)
        if memory.is_file():
            return dict(json.loads(memory.read_text(encoding="utf-8")))
        found = {"path": archive, "size": status.st_size} | _read(path)
    except _Broken as problem:
        return {"path": archive, "problem": str(problem)}
    except OSError as problem:
        return {"path": archive, "problem": problem.strerror or str(problem)}
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as problem:
        return {"path": archive, "problem": f"it cannot be read to its end ({problem})"}
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        return {"path": archive, "problem": f"its documents make no sense ({problem!r})"}
    with contextlib.suppress(OSError):  # an unwritable cache only costs the time of reading again
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(found), encoding="utf-8")
    return found


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> Json:
        return {"oci_archive_info": oci_archive_info}
