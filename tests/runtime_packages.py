"""What stroke needs at run time, for the Python of another machine."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def install(target: Path, python: str) -> None:
    """Lay the packages that pyproject.toml names into a directory; `python` as in 3.13."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", target,
         "--python-version", python, "--only-binary=:all:", *project["dependencies"]],
        check=True,
    )  # fmt: skip
