"""Image archives: both formats are understood, and damage is told in words."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins import plugin

oci = plugin("inference_server", "oci_archive")

Files = dict[str, bytes]
LAYER = b"layer" * 100
NAME = "localhost/test:1"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def descriptor(data: bytes) -> dict[str, Any]:
    return {"digest": f"sha256:{sha(data)}", "size": len(data)}


CONFIG = encoded({"rootfs": {"diff_ids": [f"sha256:{sha(LAYER)}"]}})


def oci_files(nested: bool = False) -> Files:
    manifest = encoded({"config": descriptor(CONFIG), "layers": [descriptor(LAYER)]})
    files = {f"blobs/sha256/{sha(data)}": data for data in (LAYER, CONFIG, manifest)}
    top = descriptor(manifest)
    if nested:
        inner = encoded({"manifests": [top]})
        files[f"blobs/sha256/{sha(inner)}"] = inner
        top = descriptor(inner)
    annotations = {"org.opencontainers.image.ref.name": NAME}
    files["index.json"] = encoded({"manifests": [top | {"annotations": annotations}]})
    return files


def docker_files() -> Files:
    manifest = [{"Config": "c.json", "RepoTags": [NAME], "Layers": ["l.tar"]}]
    return {"c.json": CONFIG, "l.tar": LAYER, "manifest.json": encoded(manifest)}


def archive(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def info(path: Path) -> dict[str, Any]:
    return dict(oci.oci_archive_info(str(path)))


@pytest.mark.parametrize("files", [oci_files(), oci_files(nested=True), docker_files()])
def test_name_and_id_are_read(tmp_path: Path, files: Files) -> None:
    found = info(archive(tmp_path / "a.tar", files))
    assert found["reference"] == NAME
    assert found["image_id"] == f"sha256:{sha(CONFIG)}"
    assert found["size"] == (tmp_path / "a.tar").stat().st_size


def test_a_compressed_archive_is_read_too(tmp_path: Path) -> None:
    plain = archive(tmp_path / "a.tar", oci_files())
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert info(tmp_path / "a.tar.gz")["reference"] == NAME


def test_an_archive_without_a_name_has_none(tmp_path: Path) -> None:
    files = oci_files()
    index = json.loads(files["index.json"])
    del index["manifests"][0]["annotations"]
    found = info(archive(tmp_path / "a.tar", files | {"index.json": encoded(index)}))
    assert found["reference"] is None and "problem" not in found


@pytest.mark.parametrize("name", [f"blobs/sha256/{sha(LAYER)}", f"blobs/sha256/{sha(CONFIG)}"])
def test_one_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    files = oci_files()
    files[name] = b"X" + files[name][1:]
    assert "does not have the content" in info(archive(tmp_path / "a.tar", files))["problem"]


def test_a_changed_layer_of_a_docker_archive_is_found(tmp_path: Path) -> None:
    found = info(archive(tmp_path / "a.tar", docker_files() | {"l.tar": b"other"}))
    assert "l.tar" in found["problem"]


@pytest.mark.parametrize("missing", [f"blobs/sha256/{sha(LAYER)}", "index.json"])
def test_a_missing_part_is_found(tmp_path: Path, missing: str) -> None:
    files = oci_files()
    del files[missing]
    assert "problem" in info(archive(tmp_path / "a.tar", files))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_archive_is_found(tmp_path: Path, kept: float) -> None:
    whole = archive(tmp_path / "a.tar", oci_files() | {"padding": bytes(100_000)}).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: int(len(whole) * kept)])
    assert "problem" in info(tmp_path / "b.tar")
    packed = gzip.compress(whole)
    (tmp_path / "c.tar.gz").write_bytes(packed[: int(len(packed) * kept)])
    assert "problem" in info(tmp_path / "c.tar.gz")


@pytest.mark.parametrize("content", [b"", b"not an archive" * 1000])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    assert info(tmp_path / "a.tar")["problem"]


def test_documents_that_make_no_sense_are_told(tmp_path: Path) -> None:
    for index in (b"{}", b"[]", b"null", b'{"manifests":[{}]}', b"\xff"):
        found = info(archive(tmp_path / "a.tar", {"index.json": index}))
        assert found["problem"], index


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    assert info(tmp_path / "none.tar")["problem"] == "No such file or directory"
    assert info(tmp_path)["problem"] == "Is a directory"


def test_no_archive_is_no_problem() -> None:
    assert oci.oci_archive_info(None) == {} and oci.oci_archive_info("") == {}


def test_an_archive_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", oci_files())
    first = info(path)
    (memory,) = (tmp_path / "cache/stroke/archives").iterdir()
    assert json.loads(memory.read_text(encoding="utf-8")) == first
    memory.write_text(json.dumps(first | {"reference": "remembered"}), encoding="utf-8")
    assert info(path)["reference"] == "remembered"
    archive(path, docker_files())
    assert info(path)["format"] == "docker"


def test_a_damaged_archive_is_not_remembered(tmp_path: Path) -> None:
    info(archive(tmp_path / "a.tar", {"index.json": b"{}"}))
    assert not (tmp_path / "cache").exists()
