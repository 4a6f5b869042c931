"""Lay out what the container scenario needs: engine image, model, signed ROCm repository."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stroke.package_repo import SUITE, VERSION, PackageRepository


def main() -> None:
    target = Path(sys.argv[1])
    repository = PackageRepository(target / "rocm")
    repository.build()
    facts = {
        "rocm_version": VERSION,
        "rocm_suite": SUITE,
        "rocm_fingerprint": repository.fingerprint,
    }
    (target / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
