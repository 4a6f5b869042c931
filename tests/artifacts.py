"""Lay out what the container scenario serves: engine image, model, signed ROCm repository."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from stroke.engine_image import engine_image
from stroke.host_apt import read_archive
from stroke.package_repo import SUITE, VERSION, PackageRepository
from stroke.tiny_model import NAME, tiny_model

# Where the container itself serves the repository.
MIRROR = "http://127.0.0.1:8099"


def main() -> None:
    target = Path(sys.argv[1])
    repository = PackageRepository(target / "rocm")
    repository.build()
    engine = engine_image(read_archive(), lambda sentence: print(sentence, file=sys.stderr))
    model = tiny_model()
    variables = {
        "rocm_mirror_uri": f"{MIRROR}/rocm/apt/{VERSION}",
        "rocm_mirror_suite": SUITE,
        "rocm_key_url": f"{MIRROR}/rocm.gpg.key",
        "rocm_key_fingerprint": repository.fingerprint,
        "image": engine.reference,
        "image_archive": os.fspath(engine.archive),
        "models": [{"name": NAME, "source": os.fspath(model.path), "sha256": model.sha256}],
    }
    (target / "variables.json").write_text(json.dumps(variables), encoding="utf-8")


if __name__ == "__main__":
    main()
