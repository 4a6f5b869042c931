"""A full disk or a cut at each write: every file stays whole, and all of it can be undone."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.boot_trees import (
    EDITED,
    RECORD,
    changed,
    contents,
    host,
    run,
)

from ansible.module_utils.boot_config import files  # isort: skip  # needs the helpers of tests.unit.boot_trees

ALL = pytest.mark.parametrize("name", sorted(EDITED))


@ALL
def test_a_full_disk_leaves_every_file_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at each write in turn; then there is room, and all of it can be undone."""
    writes = len(EDITED[name]) + 1
    for full_at in range(writes):
        root = host(name, tmp_path / f"host{full_at}")
        before = contents(root)
        count = 0

        def fsync(number: int, at: int = full_at) -> None:
            nonlocal count
            if os.path.isdir(f"/proc/self/fd/{number}"):  # noqa: PTH112
                return
            count += 1
            if count == at + 1:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            run(root)
        monkeypatch.undo()
        after = contents(root)
        assert not [path for path in after if ".stroke-" in path]
        assert len(changed(before, after) - {RECORD}) == max(full_at - 1, 0)
        assert all(after[path] for path in EDITED[name] & after.keys())
        again = host(name, tmp_path / f"again{full_at}")
        run(again)
        run(root)
        assert contents(root) == contents(again)
        run(root, state="absent")
        assert contents(root) == before


@ALL
def test_a_change_of_arguments_that_was_cut_off_can_be_undone_and_finished(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.Host.write
    other = ["amd_iommu=pt", "nosmt"]
    for cut_at in range(1, len(EDITED[name]) + 1):
        root = host(name, tmp_path / f"host{cut_at}")
        before = contents(root)
        run(root)
        count = 0

        def cut(self: Any, path: str, text: str, mode: int = 0o644, at: int = cut_at) -> None:
            nonlocal count
            count += 1
            if count > at:
                raise OSError(errno.EIO, "Input/output error")
            write(self, path, text, mode)

        monkeypatch.setattr(files.Host, "write", cut)
        with pytest.raises(OSError, match="Input/output"):
            run(root, arguments=other)
        monkeypatch.undo()
        copy = tmp_path / f"copy{cut_at}"
        shutil.copytree(root, copy, symlinks=True)
        run(copy, state="absent")
        assert contents(copy) == before
        run(root, arguments=other)
        run(root, state="absent")
        assert contents(root) == before
