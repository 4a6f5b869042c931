"""The wheel alone is enough: no checkout, no PATH, started through a link from anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a login shell of a user without any setup has.
PLAIN_PATH = "/usr/bin:/bin"


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel made from that sdist: what an index would carry."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("stroke-*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and its dependencies at the pinned versions."""
    target = tmp_path_factory.mktemp("venv")
    venv.create(target, with_pip=True)
    subprocess.run(
        [target / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check",
         "--constraint", versions(target), wheel],
        check=True,
    )  # fmt: skip
    return target


def versions(target: Path) -> Path:
    """The pins without hashes: pip has none to compare our own wheel with."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.rstrip("\\ ") for line in lines if re.match(r"[a-z0-9-]+==", line)]
    path = target / "constraints.txt"
    path.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def stroke(installed: Path, tmp_path: Path) -> Path:
    """A link as pipx makes it."""
    link = tmp_path / "bin" / "stroke"
    link.parent.mkdir()
    link.symlink_to(installed / "bin" / "stroke")
    return link


def run(stroke: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    elsewhere = stroke.parents[1] / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    environment = {
        "PATH": PLAIN_PATH, "HOME": os.fspath(elsewhere), "LANG": "C.UTF-8", "NO_COLOR": "1",
    }  # fmt: skip
    return subprocess.run(
        [stroke, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_wheel_carries_playbooks_and_roles(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "stroke/content/site.yml" in names
    assert "stroke/content/tasks/profile.yml" in names
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    for role in roles:
        assert f"stroke/content/roles/{role}/tasks/main.yml" in names
    tracked = subprocess.run(
        ["git", "ls-files", "roles"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in tracked if f"stroke/content/{name}" not in names] == []


def test_wheel_carries_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if not name.startswith(("stroke/", "stroke-"))] == []
    junk = ("__pycache__", "/tests/", "/.")
    assert [name for name in names if any(part in name for part in junk)] == []


def test_wheel_names_its_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text
    entry = metadata.replace("METADATA", "entry_points.txt")
    assert "stroke = stroke.__main__:main" in archive.read(entry).decode()


def test_sdist_carries_what_the_wheel_is_made_of(dist: Path) -> None:
    (sdist,) = dist.glob("stroke-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "site.yml", "playbooks/site.yml"} <= names
    assert "tool/stroke/__main__.py" in names
    assert not any(name.startswith((".venv", ".stages", "tests/")) for name in names)


def test_version_through_a_link(stroke: Path) -> None:
    done = run(stroke, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stroke 0.")


def test_help_through_a_link(stroke: Path) -> None:
    done = run(stroke, "plan", "--help")
    assert done.returncode == 0, done.stderr
    assert "--detailed-exitcode" in done.stdout


def test_a_real_run_through_a_link_finds_ansible_and_the_roles(stroke: Path) -> None:
    """This machine has no GPU and may be a container: a refusal by our own role is the proof."""
    done = run(stroke, "plan", "localhost,", "--json", "-e", "ansible_connection=local",
               "-e", "ansible_become=false")  # fmt: skip
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "stroke/report/1"
    (host,) = report["hosts"]
    assert host["facts"]["kernel"] == os.uname().release
    assert done.returncode in (0, 5), done.stdout + done.stderr


def test_the_playbook_of_the_wheel_needs_no_configuration(installed: Path, tmp_path: Path) -> None:
    site = next(installed.glob("lib/python3.*/site-packages/stroke/content/site.yml"))
    done = subprocess.run(
        [installed / "bin" / "ansible-playbook", "--syntax-check", "-i", "localhost,", site],
        cwd=tmp_path, env={"PATH": PLAIN_PATH, "HOME": os.fspath(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
