"""What gpu_facts says of packages and repositories on hosts with rpm and dnf."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from gpu_host import packages, rpm
from gpu_host.dpkg import Package
from gpu_host.files import Host

from tests.unit.trees import tree, write

SPEC = """\
Name: {name}
Epoch: {epoch}
Version: {version}
Release: {release}
Summary: package of a test
License: Apache-2.0
BuildArch: noarch
%description
Empty but for one file.
%install
mkdir -p %{{buildroot}}/opt/stroke-test
touch %{{buildroot}}/opt/stroke-test/{name}
%files
/opt/stroke-test/{name}
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real rpm database of its own, with two kernels in it (where rpm follows HOME)."""
    if not shutil.which("rpmbuild"):
        pytest.skip("needs rpmbuild")
    monkeypatch.setenv("HOME", str(tmp_path))
    told = subprocess.run(["rpm", "--eval", "%_dbpath"], capture_output=True, text=True, check=True)
    if not told.stdout.startswith(str(tmp_path)):
        pytest.skip("rpm's database does not follow HOME here")
    for name, epoch, version, release in (
        ("kernel-core", 0, "6.17.9", "300.fc43"),
        ("kernel-core", 0, "6.18.9", "200.fc43"),
        ("podman", 5, "5.7.0", "1.fc43"),
    ):
        spec = tmp_path / f"{name}-{version}.spec"
        text = SPEC.format(name=name, epoch=epoch, version=version, release=release)
        spec.write_text(text, encoding="utf-8")
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}", str(spec)],
            check=True, capture_output=True,
        )  # fmt: skip
    built = sorted(str(path) for path in (tmp_path / "RPMS").rglob("*.rpm"))
    subprocess.run(
        ["rpm", "-i", "--justdb", "--nodeps", "--force", *built], check=True, capture_output=True
    )
    return tmp_path


def test_the_real_rpm_is_asked_once_and_understood(database: Path) -> None:
    known, kernels = rpm.packages(Host(Path("/")), ["podman", "no-such-package"])
    assert known["podman"] == Package("5:5.7.0-1.fc43", False, False)
    assert known["no-such-package"].version is None
    assert [(kernel["version"], kernel["release"]) for kernel in kernels] == [
        ("6.17.9-300.fc43", "6.17.9-300.fc43.noarch"),
        ("6.18.9-200.fc43", "6.18.9-200.fc43.noarch"),
    ]


def test_the_real_rpm_tells_who_owns_a_file(database: Path) -> None:
    files = ["/opt/stroke-test/podman", "/opt/stroke-test/nobody"]
    assert rpm.owners(Host(Path("/")), files) == {files[0]: "podman", files[1]: None}


def test_a_fixture_answers_from_its_files_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", None)
    host = Host(tree("strix-halo-mes83", tmp_path))
    known = packages.known(host, {"id": "fedora"}, ["amd-gpu-firmware"])
    assert known.get("amd-gpu-firmware") == Package("20251125-1.fc43", True, False)
    assert known.get("podman").version == "5:5.7.0-1.fc43"
    assert packages.running(known.kernels, "6.18.9-200.fc43.x86_64") == {
        "package": "kernel-core", "version": "6.18.9-200.fc43", "stream": None,
    }  # fmt: skip
    file = "/lib/firmware/amdgpu/gc_11_5_1_mes_2.bin.xz"
    assert known.owners(host, [file, "/x"]) == {file: "amd-gpu-firmware", "/x": None}


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        (rpm.DNF_CONF, "[main]\nexclude=kernel* b\nexcludepkgs=c,d\n", ["kernel*", "b", "c", "d"]),
        (rpm.DNF_CONF, "[main]\nexclude=one\n two\n", ["one", "two"]),
        (rpm.VERSIONLOCK, "# comment\nkernel-core-0:6.18.9-200.fc43.*\n", ["kernel-core"]),
        (rpm.VERSIONLOCK, "!podman-5:5.7.0-1.fc43.x86_64\n", ["podman"]),
        (rpm.VERSIONLOCK, "a-firmware-20260309-1.fc43.noarch\nplain\n", ["a-firmware", "plain"]),
        (rpm.VERSIONLOCK_5, 'version = "1.0"\n[[packages]]\nname = "kernel"\n', ["kernel"]),
    ],
)  # fmt: skip
def test_every_way_to_hold_a_package(
    path: str, text: str, names: list[str], tmp_path: Path
) -> None:
    write(tmp_path, path, text)
    assert rpm.excludes(Host(tmp_path)) == names


@pytest.mark.parametrize(
    ("name", "pattern", "covered"),
    [
        ("kernel-core", "kernel*", True), ("kernel-core", "kernel", False),
        ("kernel-core", "kernel-?ore", True), ("podman", "*", True),
        ("podman", "podman.x86_64", False), ("a.b", "a.b", True), ("axb", "a.b", False),
    ],
)  # fmt: skip
def test_a_glob_covers_whole_names(name: str, pattern: str, covered: bool) -> None:
    assert rpm.matches(name, pattern) is covered


def test_repositories_with_several_addresses_and_those_that_are_off(tmp_path: Path) -> None:
    write(
        tmp_path,
        "/etc/yum.repos.d/site.repo",
        "; comment\n[main]\nx=1\n[site]\nname = Site's own\nbaseurl = http://a.example/\n"
        "    http://b.example/\nenabled = False\ngpgcheck=yes\nexclude=kernel*\n"
        "[plain]\nmirrorlist=http://list.example/\n",
    )
    write(tmp_path, "/etc/yum.repos.d/notes.txt", "[not-a-repository]\n")
    site, plain = rpm.repositories(Host(tmp_path))
    assert site == {
        "id": "site", "name": "Site's own", "enabled": False, "gpgcheck": True, "metalink": None,
        "baseurl": ["http://a.example/", "http://b.example/"], "excludes": ["kernel*"],
        "file": "/etc/yum.repos.d/site.repo",
    }  # fmt: skip
    assert (plain["id"], plain["enabled"], plain["gpgcheck"]) == ("plain", True, False)
    assert plain["metalink"] == "http://list.example/"


def test_lock_of_rpm_is_seen(tmp_path: Path) -> None:
    node = write(tmp_path, rpm.LOCKS[0], "").stat().st_ino
    write(tmp_path, "/proc/locks", f"1: POSIX  ADVISORY  WRITE 77 fe:00:{node} 0 EOF\n")
    write(tmp_path, "/proc/77/comm", "dnf\n")
    assert rpm.dnf(Host(tmp_path))["locked_by"] == "pid 77 (dnf)"


@pytest.mark.parametrize(
    ("distribution", "program", "name"),
    [
        ({"id": "ubuntu", "id_like": ["debian"]}, "/usr/bin/dnf", "apt"),
        ({"id": "rocky", "id_like": ["rhel", "centos", "fedora"]}, None, "dnf"),
        ({"id": "cachyos", "id_like": ["arch"]}, None, "pacman"),
        ({"id": "sles", "id_like": ["suse"]}, None, "zypper"),
        ({"id": "made-at-home", "id_like": []}, "/usr/bin/dnf", "dnf"),
        ({}, None, None),
    ],
)
def test_package_manager_is_that_of_the_family(
    distribution: dict[str, object], program: str | None, name: str | None, tmp_path: Path
) -> None:
    if program:
        write(tmp_path, program, "")
    assert packages.manager(Host(tmp_path), packages.kin(distribution)) == name


@pytest.mark.parametrize(
    ("release", "version", "identity", "stream"),
    [
        ("6.8.0-149-generic", "6.8.0-149.149", "ubuntu", "ga"),
        ("6.17.0-19-generic", "6.17.0-19.19~24.04.2", "ubuntu", "hwe"),
        ("6.14.0-1018-oem", "6.14.0-1018.18", "ubuntu", "oem"),
        ("7.2.12+deb13-amd64", "7.2.12-1~bpo13+1", "debian", "backports"),
        ("6.12.107+deb13-amd64", "6.12.107-1", "debian", None),
    ],
)
def test_stream_of_a_kernel_is_in_its_version(
    release: str, version: str, identity: str, stream: str | None
) -> None:
    image = {"package": "x", "version": version, "release": release}
    (found,) = packages.with_streams([image], {"id": identity, "id_like": []})
    assert found["stream"] == stream
