"""Half-built things never take their final name, and two runs never build at once."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

import pytest
from stroke.paths import built_whole, cache_home, locked, sandbox_home


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "thing"
    with pytest.raises(RuntimeError), built_whole(target) as scratch:
        (scratch / "half").write_text("x")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []


def test_what_worked_is_there_whole(tmp_path: Path) -> None:
    with built_whole(tmp_path / "thing") as scratch:
        (scratch / "whole").write_text("x")
        assert not (tmp_path / "thing").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["thing", "whole"]


def test_a_lock_excludes_the_second(tmp_path: Path) -> None:
    path = tmp_path / "a" / "lock"
    with locked(path), path.open() as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as second:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_homes_follow_the_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/to/be/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == Path("/c/stroke")
    assert sandbox_home() == tmp_path / ".local/state/stroke/sandbox"


def test_a_lock_that_its_holder_removed_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    entered = threading.Event()
    exclusive: list[bool] = []

    def wait_for_it() -> None:
        entered.set()
        with locked(path):
            exclusive.append(path.exists())

    with locked(path):
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        entered.wait()
        time.sleep(0.2)  # until it hangs on the lock that goes away now
        path.unlink()
    waiting.join(20)
    assert exclusive == [True]
