"""Several modules as one program: what it runs is what the modules say, wherever it is put."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.plugins import plugin

ROOT = Path(__file__).parents[2]
single_program = plugin("gpu_facts", "programs").single_program


def run(text: str, tmp_path: Path, *words: str, data: str = "") -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-B", "-E", "-s", program, *words],
        input=data, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip


def test_modules_find_each_other_in_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "zebra.py").write_text('import ant\nWORD = ant.WORD + "\\\\n"\n')
    (folder / "ant.py").write_text('"""Text."""\nWORD = "{{ not a template }}"\n')
    (folder / "main.py").write_text(
        'import sys, zebra\nif __name__ == "__main__":\n    print(zebra.WORD, sys.argv[1:])\n'
    )
    done = run(single_program(str(folder), "main"), tmp_path, "one", "two")
    assert done.stdout == "{{ not a template }}\\n ['one', 'two']\n", done.stderr


def test_a_package_imports_its_own_modules(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A package."""\n')
    (folder / "part.py").write_text("from __future__ import annotations\nWORD = __name__\n")
    (folder / "__main__.py").write_text("from . import part\nfrom .part import WORD\nprint(WORD)\n")
    done = run(single_program(str(folder), "__main__", "own"), tmp_path)
    assert done.stdout == "own.part\n", done.stderr


def test_what_cannot_stand_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("WORD = '''text'''\n")
    with pytest.raises(ValueError, match="cannot stand"):
        single_program(str(tmp_path), "main")


def test_the_guard_and_the_watchdog_run_from_one_file(tmp_path: Path) -> None:
    guard = single_program(str(ROOT / "roles/boot_guard/files/guard"), "guard")
    done = run(guard, tmp_path, "nonsense")
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
    done = run(single_program(str(ROOT / "roles/boot_guard/files/guard"), "probe"), tmp_path)
    assert '"obstacles"' in done.stdout, done.stderr
    folder = str(ROOT / "roles/service_watchdog/files/stroke_watchdog")
    done = run(single_program(folder, "__main__", "stroke_watchdog"), tmp_path, "/nowhere.json")
    assert done.returncode == 1 and "/nowhere.json" in done.stderr
