"""Where the playbooks are: in the wheel's layout and in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from stroke import content
from stroke.errors import StrokeError

from tests.unit.playing import ROOT


def tree(base: Path, *files: str) -> Path:
    for name in files:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[]\n", encoding="utf-8")
    return base


def test_this_checkout_is_found() -> None:
    assert content.root() == ROOT
    assert content.playbook("plan") == ROOT / "playbooks" / "plan.yml"
    assert content.roles() == ROOT / "roles"


def test_a_checkout_has_its_playbooks_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tree(tmp_path, "site.yml", "playbooks/site.yml", "playbooks/plan.yml")
    monkeypatch.setenv("STROKE_CONTENT", str(checkout))
    assert content.playbook("site") == checkout / "playbooks" / "site.yml"


def test_a_wheel_has_its_playbooks_beside_the_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "stroke"
    wheel = tree(package / "content", "site.yml", "plan.yml", "roles/kernel/tasks/main.yml")
    monkeypatch.setattr(content, "PACKAGE", package)
    assert content.root() == wheel
    assert content.playbook("plan") == wheel / "plan.yml"
    assert content.roles() == wheel / "roles"


def test_the_wheel_wins_over_what_lies_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tool" / "stroke"
    tree(tmp_path, "playbooks/site.yml")
    wheel = tree(package / "content", "site.yml")
    monkeypatch.setattr(content, "PACKAGE", package)
    assert content.root() == wheel


def test_a_wrong_override_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROKE_CONTENT", str(tmp_path))
    with pytest.raises(StrokeError, match=r"has no site\.yml") as caught:
        content.root()
    assert caught.value.code == "STK-902"


def test_an_installation_without_playbooks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "PACKAGE", tmp_path / "a" / "stroke")
    with pytest.raises(StrokeError, match="missing"):
        content.root()


def test_a_missing_playbook_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROKE_CONTENT", str(tree(tmp_path, "playbooks/site.yml")))
    with pytest.raises(StrokeError, match=r"plan\.yml"):
        content.playbook("plan")
