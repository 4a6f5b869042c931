"""A bundle of a real host: what was planted on it is nowhere in the archive, and its story is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import ROOT, Container

pytestmark = pytest.mark.container
ADDRESSES = ("10.77.3.9", "fd12:3456:789a::7", "aa:bb:cc:0d:0e:0f")
TOKENS = ("hf_PlantedTokenOfSomebody", "planted-password", "ghp_0123456789abcdefghij01234567890123")
PEOPLE = ("jane.planted", "planted-nas.acme.internal")
KEY = "planted-key-of-the-service"
LINE = (
    f"from {ADDRESSES[0]} [{ADDRESSES[1]}]:443 link {ADDRESSES[2]} token={TOKENS[0]} "
    f"--password {TOKENS[1]} {TOKENS[2]} of {PEOPLE[0]} at {PEOPLE[1]} with {KEY}; told to the end"
)
PLANT = f"""set -eu
useradd --create-home jane.planted
printf '10.77.3.9 planted-nas.acme.internal\\n' >>/etc/hosts
mkdir -p /etc/stroke/secrets/planted /var/lib/stroke/planted
printf '{KEY}\\n' >/etc/stroke/secrets/planted/api_key
printf '%s\\n' '{LINE}' >/var/lib/stroke/planted/notes.log
printf '# %s\\n' '{LINE}' >/etc/modprobe.d/stroke-planted.conf
systemd-run --quiet --wait --unit=stroke-planted --setenv='SECRET={TOKENS[1]}' echo '{LINE}'
journalctl --sync
journalctl --unit=stroke-planted | grep -q 'told to the end'
"""
CLEAN = """rm -r /etc/stroke/secrets/planted /var/lib/stroke/planted
rm /etc/modprobe.d/stroke-planted.conf
userdel --remove jane.planted
"""


@pytest.fixture
def planted(host: Container) -> Iterator[Container]:
    host.sh(PLANT)
    yield host
    host.sh(CLEAN)


def bundle(host: Container, file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"),
                   "XDG_STATE_HOME": os.fspath(host.state / "xdg")}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "stroke", "bundle", host.inventory, "-o", file, *more],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def contents(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {entry.name: text_of(archive, entry) for entry in archive}


def text_of(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    data = archive.extractfile(entry) if entry.isreg() else None
    return data.read().decode("utf-8", "replace") if data else entry.linkname


def test_the_bundle_of_a_host_has_its_story_and_none_of_its_secrets(
    planted: Container, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.tar.gz"
    done = bundle(planted, file)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = contents(file)
    words = (*ADDRESSES, *TOKENS, *PEOPLE, KEY, planted.name, planted.address)
    assert [f"{word} in {name}" for name, text in found.items() for word in words
            if word in text or word in name] == []  # fmt: skip
    told = [name for name, text in found.items() if "told to the end" in text]
    for part in ("logs/journal.txt", "logs/files/var/lib/stroke/planted/notes.log",
                 "tree/etc/modprobe.d/stroke-planted.conf"):  # fmt: skip
        assert any(name.endswith(part) for name in told), part
    (report,) = (json.loads(text) for name, text in found.items()
                 if name.endswith("/report.json"))  # fmt: skip
    assert report["changes"] == [] and len(report["verify"]) > 10
    assert report["state"]["services"][0]["health"] == "serving"


def test_a_host_that_is_refused_is_in_the_bundle_with_the_reason(
    host: Container, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.tar.gz"
    done = bundle(host, file, "-e", "preflight_refuse_containers=true")
    assert done.returncode == 0, done.stderr
    found = contents(file)
    (index,) = (text for name, text in found.items() if name.endswith("INDEX.md"))
    assert "STK-402" in index
    assert any(name.endswith("logs/versions.txt") for name in found)
