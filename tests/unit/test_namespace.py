"""Building needs root over files only: root has it, a user takes it from a namespace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stroke.errors import StrokeError
from stroke.namespace import as_root


def stub(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(text)
    (directory / name).chmod(0o755)


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    stub(tmp_path, "newuidmap", "#!/bin/sh\n")
    return tmp_path


def test_root_keeps_its_mounts_to_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert as_root() == ["unshare", "--mount", "--"]


def test_a_user_becomes_root_of_a_namespace(user: Path) -> None:
    stub(user, "unshare", '#!/bin/sh\necho "$@" > "$(dirname "$0")/arguments"\n')
    prefix = as_root()
    assert prefix[0] == "unshare"
    assert {"--map-root-user", "--map-auto", "--mount"} <= set(prefix)
    assert (user / "arguments").read_text().split() == [*prefix[1:], "true"]


def test_a_refused_namespace_says_what_to_do(user: Path) -> None:
    stub(user, "unshare", "#!/bin/sh\necho 'unshare: not permitted' >&2\nexit 1\n")
    with pytest.raises(StrokeError, match="not permitted") as caught:
        as_root()
    assert caught.value.code == "STK-701"
    assert "--add-subuids" in (caught.value.hint or "")


def test_a_missing_mapper_names_its_package(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stroke.namespace.which", lambda command: None)
    monkeypatch.setattr("distro.id", lambda: "debian")
    with pytest.raises(StrokeError) as caught:
        as_root()
    assert caught.value.hint == "sudo apt-get install uidmap"
