"""Build an image without privileges, with whichever program is there, and prove its archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import role_code
from .errors import StrokeError
from .image_recipe import Recipe, refuse
from .process import run, search_path, which

# In this order: the first two need no daemon and leave the image where the service finds it.
BUILDERS = ("podman", "buildah", "docker", "buildctl")
PROGRAMS = {"buildctl": "buildctl-daemonless.sh"}


@dataclass(frozen=True, slots=True)
class Built:
    """What came out of a build."""

    builder: str
    reference: str
    image_id: str | None
    archive: Path | None


def choose_builder(wanted: str, find: Callable[[str], str | None] = which) -> str:
    """The program that builds; `auto` takes the first that is there."""
    for name in BUILDERS if wanted == "auto" else (wanted,):
        if find(PROGRAMS.get(name, name)):
            return name
    asked = "podman, buildah, docker or buildctl" if wanted == "auto" else wanted
    raise StrokeError(
        f"nothing on this machine builds images: {asked} not found",
        code="STK-637",
        hint="sudo apt-get install podman; or --render-only, and build it elsewhere",
    )


def command(
    builder: str, recipe: Recipe, context: Path, archive: Path | None, *, offline: bool
) -> list[str]:
    """The command line of a build; none of them asks for a privilege."""
    file, place = os.fspath(context / "Containerfile"), os.fspath(context)
    output = f"type=oci,dest={archive},name={recipe.tag}"
    if builder in ("podman", "buildah"):
        words = [builder, "build", "--format=oci", f"--file={file}", f"--tag={recipe.tag}"]
        words += ["--pull=never", "--network=none"] if offline else []
        # Their cache knows the text of a step, not what is mounted into it.
        words += ["--no-cache"] if (context / "wheels").is_dir() else []
        return [*words, place]
    if builder == "docker":
        words = ["docker", "buildx", "build", f"--file={file}", f"--tag={recipe.tag}"]
        words += ["--network=none"] if offline else []
        return [*words, f"--output={output}" if archive else "--load", place]
    if archive is None:
        raise StrokeError(
            "buildctl keeps no image by itself", code="STK-636", hint="name a file with --archive"
        )
    return [PROGRAMS[builder], "build", "--frontend=dockerfile.v0", f"--local=context={place}",
            f"--local=dockerfile={place}", "--opt=filename=Containerfile",
            *(["--opt=force-network-mode=none"] if offline else []),
            f"--output={output}"]  # fmt: skip


def build(
    recipe: Recipe,
    *,
    builder: str,
    archive: Path | None = None,
    wheels: Path | None = None,
    offline: bool = False,
) -> Built:
    """Build, look at the result, and write the archive whole or not at all."""
    program = choose_builder(builder)
    partial = archive.with_name(f".{archive.name}.partial") if archive else None
    with tempfile.TemporaryDirectory(prefix="stroke-image-") as name:
        context = Path(name)
        (context / "Containerfile").write_text(recipe.text, encoding="utf-8")
        if wheels:
            shutil.copytree(wheels, context / "wheels")
        try:
            _run(command(program, recipe, context, partial, offline=offline))
            if partial and program in ("podman", "buildah"):
                _save(program, recipe.tag, partial)
            if program == "podman":
                refuse(list(leaks(_inspect(recipe.tag))))
            if archive and partial:
                partial.replace(archive)
        finally:
            if partial:
                partial.unlink(missing_ok=True)
    image_id = archive_id(archive) if archive else None
    if image_id is None and program == "podman":
        image_id = "sha256:" + str(_inspect(recipe.tag)["Id"]).removeprefix("sha256:")
    return Built(program, recipe.tag, image_id, archive)


def _run(words: list[str]) -> None:
    """Run a build with its output on standard error, where progress goes."""
    sys.stderr.flush()
    environment = {**os.environ, "PATH": search_path()}
    done = subprocess.run(words, stdout=sys.stderr, check=False, env=environment)
    if done.returncode != 0:
        raise StrokeError(
            f"{words[0]} did not build the image (exit {done.returncode}); its output is above",
            code="STK-638",
            hint="--render-only shows the recipe; an unreachable index or base is the usual reason",
        )


def _save(program: str, tag: str, target: Path) -> None:
    target.unlink(missing_ok=True)
    words = ["podman", "save", "--quiet", "--format=oci-archive", f"--output={target}", tag]
    if program == "buildah":
        words = ["buildah", "push", "--quiet", tag, f"oci-archive:{target}:{tag}"]
    run(words, code="STK-638")


def _inspect(tag: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(run(["podman", "image", "inspect", tag]).stdout)[0]
    return found


def leaks(image: Mapping[str, Any]) -> list[str]:
    """What must not be in a finished image: a secret in its environment, root as its user."""
    settings = image.get("Config") or {}
    names = [str(entry).partition("=")[0] for entry in settings.get("Env") or []]
    words = ("TOKEN", "SECRET", "PASSWORD", "API_KEY")
    found = [f"{name} is in the image" for name in names if any(w in name.upper() for w in words)]
    if str(settings.get("User") or "0").split(":")[0] in ("0", "root"):
        found.append("the image runs as root")
    return found


def archive_id(archive: Path) -> str:
    """The image's id as the role inference_server reads it; an archive it refuses is an error."""
    info = role_code.archive_info(archive)
    if problem := info.get("problem"):
        raise StrokeError(
            f"{archive} is no image archive: {problem}",
            code="STK-639",
            hint="is there room on the disk? Then build it again",
        )
    return str(info["image_id"])
