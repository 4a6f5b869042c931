"""The engine's archive is a valid OCI archive with exactly one reference."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from stroke import engine_image as module
from stroke.engine_image import REFERENCE, engine_image, write_oci_archive
from stroke.host_apt import Archive


def content(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            member.name: stream.read()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("usr/bin/llama-server"))
    write_oci_archive(tmp_path / "image.tar", layer)
    return tmp_path / "image.tar"


def test_every_blob_is_what_its_descriptor_says(archive: Path) -> None:
    files = content(archive)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(descriptor: dict[str, object]) -> bytes:
        algorithm, _, digest = str(descriptor["digest"]).partition(":")
        data = files[f"blobs/{algorithm}/{digest}"]
        assert hashlib.sha256(data).hexdigest() == digest
        assert len(data) == descriptor["size"]
        return data

    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": REFERENCE}
    manifest = json.loads(blob(entry))
    configuration = json.loads(blob(manifest["config"]))
    (layer,) = manifest["layers"]
    assert blob(layer)[4:8] == bytes(4)  # no time in it: the same bytes tomorrow
    plain = gzip.decompress(blob(layer))
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
    assert configuration["config"]["Entrypoint"] == ["/usr/bin/llama-server"]
    assert len(files) == 5


def test_the_same_layer_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    write_oci_archive(tmp_path / "again.tar", tmp_path / "layer.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_packing_happens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    monkeypatch.setattr(module, "_layer", lambda archive, target: target.write_bytes(b"layer"))
    first = engine_image(Archive("http://archive.example/debian"), said.append)
    assert engine_image(Archive("http://archive.example/debian"), said.append) == first
    assert len(said) == 1
    assert first.archive.is_file()
    assert [path.name for path in first.archive.parent.iterdir()] == ["llamacpp.oci.tar"]
