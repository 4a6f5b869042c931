"""The second disk: what a guest of ours, and what cloud-init, finds on it."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path

import pytest
import yaml
from stroke.nocloud import iso9660, write_nocloud
from stroke.seed import write_seed


@pytest.fixture
def host_key(tmp_path: Path) -> Path:
    key = tmp_path / "host"
    key.write_text("PRIVATE\n")
    key.with_suffix(".pub").write_text("ssh-ed25519 AAAA box\n")
    return key


def read_iso(image: bytes) -> dict[str, bytes]:
    """Read the root directory as the standard has it, from the fields that readers use."""
    volume = image[16 * 2048 :]
    assert volume[:7] == b"\1CD001\1"
    assert struct.unpack_from("<I", volume, 80)[0] * 2048 == len(image)
    files: dict[str, bytes] = {}
    extent, length = struct.unpack_from("<I4xI", volume, 156 + 2)
    table = image[extent * 2048 :][:length]
    position = 0
    while table[position]:
        record = table[position:][: table[position]]
        start, size = struct.unpack_from("<I4xI", record, 2)
        assert struct.unpack_from(">I", record, 6)[0] == start
        name = record[33:][: record[32]]
        if not record[25] & 2:
            files[name.decode()] = image[start * 2048 :][:size]
        position += table[position]
    return files


def test_the_seed_is_a_tar_archive_with_the_private_key_last(
    tmp_path: Path, host_key: Path
) -> None:
    target = tmp_path / "seed"
    write_seed(target, hostname="box", host_key=host_key, authorized_key="ssh-ed25519 BBBB me")
    assert target.stat().st_size % 512 == 0
    with tarfile.open(target) as archive:
        members = {member.name: member for member in archive.getmembers()}
        texts = {
            name: stream.read().decode()
            for name in members
            if (stream := archive.extractfile(name)) is not None
        }
    assert texts["etc/hostname"] == "box\n"
    assert "127.0.1.1 box" in texts["etc/hosts"]
    assert texts["etc/ssh/ssh_host_ed25519_key"] == "PRIVATE\n"
    assert texts["home/admin/.ssh/authorized_keys"] == "ssh-ed25519 BBBB me\n"
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["home/admin/.ssh"].mode == 0o700
    assert members["home/admin/.ssh/authorized_keys"].uid == 1000
    assert list(members)[-1] == "etc/ssh/ssh_host_ed25519_key"


def test_cloud_init_finds_user_key_and_name(tmp_path: Path, host_key: Path) -> None:
    target = tmp_path / "cidata.iso"
    write_nocloud(target, hostname="box", host_key=host_key, authorized_key="ssh-ed25519 BBBB me")
    image = target.read_bytes()
    assert image[16 * 2048 + 40 :][:32].strip() == b"cidata"
    files = read_iso(image)
    assert set(files) == {"USER-DATA.;1", "META-DATA.;1"}
    assert json.loads(files["META-DATA.;1"])["local-hostname"] == "box"
    text = files["USER-DATA.;1"].decode()
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert data["users"][0]["name"] == "admin"
    assert data["users"][0]["ssh_authorized_keys"] == ["ssh-ed25519 BBBB me"]
    assert data["users"][0]["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert data["users"][0]["lock_passwd"] is True
    assert data["ssh_keys"] == {
        "ed25519_private": "PRIVATE\n",
        "ed25519_public": "ssh-ed25519 AAAA box",
    }


def test_files_of_several_blocks_keep_their_bytes() -> None:
    content = {"a": bytes(range(256)) * 20, "b": b"", "c": b"x" * 2048}
    assert read_iso(iso9660("cidata", content)) == {
        f"{name.upper()}.;1": data for name, data in content.items()
    }


def test_more_than_one_directory_block_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        iso9660("cidata", {f"file-{number:04}": b"" for number in range(60)})
