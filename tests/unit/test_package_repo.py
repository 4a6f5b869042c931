"""The test archive is laid out and signed as AMD's is, and its server is stopped with it."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

import pytest
from stroke.package_repo import PACKAGES, PackageRepository
from stroke.process import run, which

FIELDS = ("Package:", "Version:")
TOOLS = ("apt-ftparchive", "dpkg-deb", "gpg", "gpgv")
pytestmark = pytest.mark.skipif(
    not all(which(tool) for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> PackageRepository:
    made = PackageRepository(tmp_path_factory.mktemp("state") / "repository")
    made.build()
    return made


@pytest.fixture
def served(repository: PackageRepository) -> Path:
    return repository._served


def keyring(served: Path, name: str, target: Path) -> Path:
    run(["gpg", "--batch", "--yes", "--dearmor", "--output", target, served / name])
    return target


def verify(key: Path, *signed: Path) -> int:
    command = ["gpgv", "--keyring", os.fspath(key), *map(os.fspath, signed)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_the_release_is_amds_in_name_and_signed(
    repository: PackageRepository, served: Path, tmp_path: Path
) -> None:
    dist = served / "rocm/apt/7.2.4/dists/noble"
    release = (dist / "Release").read_text()
    for line in ("Origin: repo.radeon.com", "Suite: noble", "Codename: noble", "Components: main"):
        assert f"{line}\n" in release
    key = keyring(served, "rocm.gpg.key", tmp_path / "right.gpg")
    assert verify(key, dist / "InRelease") == 0
    assert verify(key, dist / "Release.gpg", dist / "Release") == 0
    shown = run(["gpg", "--batch", "--with-colons", "--show-keys", served / "rocm.gpg.key"]).stdout
    assert f":{repository.fingerprint}:" in shown


def test_the_wrong_key_verifies_nothing(served: Path, tmp_path: Path) -> None:
    dist = served / "rocm/apt/7.2.4/dists/noble"
    key = keyring(served, "wrong.gpg.key", tmp_path / "wrong.gpg")
    assert verify(key, dist / "InRelease") != 0


def test_the_index_has_the_real_names_and_versions(served: Path) -> None:
    apt = served / "rocm/apt/7.2.4"
    index = (apt / "dists/noble/main/binary-amd64/Packages").read_text()
    found = [
        tuple(line.partition(": ")[2] for line in entry.splitlines() if line[:8] in FIELDS)
        for entry in index.strip().split("\n\n")
    ]
    assert sorted(found) == [
        ("rocm-core", "7.2.4.70204-93~24.04"),
        ("rocminfo", "1.0.0.70204-93~24.04"),
    ]
    names = [line[10:] for line in index.splitlines() if line.startswith("Filename: ")]
    assert len(names) == len(PACKAGES)
    assert all((apt / name).is_file() for name in names)


def test_rocminfo_says_that_it_is_a_test(served: Path, tmp_path: Path) -> None:
    (package,) = (served / "rocm/apt/7.2.4/pool/main").glob("rocminfo_*.deb")
    run(["dpkg-deb", "--extract", package, tmp_path])
    assert "test package" in run([tmp_path / "opt/rocm-7.2.4/bin/rocminfo"]).stdout


def test_the_server_is_on_loopback_and_ends(repository: PackageRepository, served: Path) -> None:
    repository.serve()
    try:
        assert repository.uri == f"http://10.0.2.2:{repository.port}/rocm/apt/7.2.4"
        url = repository.key_url.replace("10.0.2.2", "127.0.0.1")
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own server
            assert answer.read() == (served / "rocm.gpg.key").read_bytes()
        listening = f" 0100007F:{repository.port:04X} 00000000:0000 0A "
        assert listening in Path("/proc/net/tcp").read_text()
    finally:
        repository.stop()
    # A connection that was waiting while the server ended is reset.
    with pytest.raises(OSError, match=r"refused|reset"):
        urllib.request.urlopen(url, timeout=5)  # noqa: S310 - our own server
