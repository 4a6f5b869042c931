"""`stroke image build` for real: a local base, packages from a directory, no network, no privilege.

The packages are stand-ins of the right names and versions; base, recipe, builder, layers and the
archive are real, and the archive is read by the role that serves it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stroke import role_code

from tests.container_image import OPTIONS, image, runtime
from tests.containers import ROOT

pytestmark = pytest.mark.container
Json = dict[str, Any]
TAG = "localhost/stroke-watch-test/vllm:1"
SERVES = "import os, sys\ndef main():\n    print('serves as', os.getuid(), *sys.argv[1:])\n"


def wheel(directory: Path, name: str, version: str, extras: tuple[str, ...] = ()) -> None:
    """A package with one module and, for vllm, its command."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": SERVES,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Provides-Extra: {extra}\n" for extra in extras),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    if name == "vllm":
        files[f"{info}/entry_points.txt"] = "[console_scripts]\nvllm = vllm:main\n"

    def digest(text: str) -> str:
        raw = hashlib.sha256(text.encode()).digest()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    record = "".join(f"{path},sha256={digest(text)},{len(text.encode())}\n"
                     for path, text in files.items())  # fmt: skip
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)


def stroke(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool")}
    return subprocess.run(
        [sys.executable, "-m", "stroke", "image", "build", *words],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    yield image("trixie", "base")
    subprocess.run(["podman", "image", "rm", "--force", "--ignore", TAG], check=False)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    builds = {build["id"]: build for build in role_code.catalog()["image_builds"]}
    build = builds["vllm-gfx1151"]
    for requirement in build["requirements"]:
        name, _, version = requirement.replace("{gfx}", "gfx1151").partition("==")
        name, _, extras = name.rstrip("]").partition("[")
        wheel(directory, name, version, tuple(extras.split(",")))
    wheel(directory, "vllm", str(build["vllm"]))
    return directory


def test_a_build_without_network_ends_in_an_archive_that_the_role_accepts(
    base: str, wheels: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "vllm.tar"
    done = stroke("--gfx", "gfx1151", "--base", base, "--wheels", wheels, "--offline",
                  "--tag", TAG, "--archive", archive, "--builder", "podman", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: Json = json.loads(done.stdout)
    info = role_code.archive_info(archive)
    assert info["format"] == "oci" and info["reference"] == TAG and "problem" not in info
    assert told["image_id"] == info["image_id"] and told["archive"] == str(archive)
    assert sorted(tmp_path.iterdir()) == [archive]
    (found,) = json.loads(
        subprocess.run(["podman", "image", "inspect", TAG], capture_output=True, text=True,
                       check=True).stdout
    )  # fmt: skip
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"] == ["vllm", "serve"]
    assert found["Config"]["Labels"]["stroke.gfx"] == "gfx1151"
    history = json.dumps(found["History"])
    assert "insecure" not in history and "TOKEN" not in history
    said = subprocess.run(
        ["podman", "run", "--rm", "--network=none", "--runtime", runtime(base), "--cap-drop=all",
         *(word for word in OPTIONS if word.startswith("--ulimit")),
         "--read-only", "--security-opt=no-new-privileges", TAG, "/models/m"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout.split() == ["serves", "as", "10001", "serve", "/models/m"], said.stderr


def test_a_build_that_fails_keeps_the_archive_that_was_there(
    base: str, wheels: Path, tmp_path: Path
) -> None:
    archive, lacking = tmp_path / "vllm.tar", tmp_path / "wheels"
    archive.write_text("the last one")
    lacking.mkdir()
    done = stroke("--gfx", "gfx1151", "--base", base, "--wheels", lacking, "--offline",
                  "--tag", f"{TAG}-none", "--archive", archive, "--builder", "podman")  # fmt: skip
    assert done.returncode == 3 and "STK-638" in done.stderr
    assert archive.read_text() == "the last one" and len(list(tmp_path.iterdir())) == 2
