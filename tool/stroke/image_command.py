"""The command `stroke image build`: what it says around the build itself."""

from __future__ import annotations

from pathlib import Path

from . import image_build, role_code, version
from .console import Console
from .errors import Exit, StrokeError
from .image_recipe import recipe

SCHEMA = "stroke/image/1"


def build(
    gfx: str,
    *,
    base: str | None = None,
    tag: str | None = None,
    archive: Path | None = None,
    wheels: Path | None = None,
    offline: bool = False,
    builder: str = "auto",
    render_only: bool = False,
    site: str = "",
    as_json: bool = False,
) -> int:
    """Render, and unless only that was asked for, build, prove and say how to serve it."""
    console = Console(as_json=as_json)
    known = role_code.catalog(site)
    if problems := (known.get("site") or {}).get("problems"):
        raise StrokeError(f"{site}: {problems[0]}", code="STK-304")
    made = recipe(known["image_builds"], gfx, base=base, tag=tag, wheels=wheels is not None)
    for warning in made.warnings:
        console.say(f"note: {warning}")
    found = {
        "schema": SCHEMA,
        "stroke": version(),
        "build": made.build["id"],
        "gfx": list(made.gfx),
        "base": made.base,
        "reference": made.tag,
        "containerfile": made.text,
        "warnings": made.warnings,
        "builder": None,
        "image_id": None,
        "archive": None,
    }
    if render_only:
        console.line(made.text.rstrip("\n"))
        console.document(found)
        return int(Exit.OK)
    chosen = image_build.choose_builder(builder)
    console.say(f"Building {made.tag} from {made.base} with {chosen}, without privileges.")
    done = image_build.build(made, builder=chosen, archive=archive, wheels=wheels, offline=offline)
    found |= {"builder": done.builder, "image_id": done.image_id,
              "archive": str(done.archive) if done.archive else None}  # fmt: skip
    console.line(f"{done.reference} {done.image_id or ''}".rstrip())
    settings = f"-e inference_server_image={done.reference}"
    if done.archive:
        settings += f" -e inference_server_image_archive={done.archive}"
        console.hint("Serve it:", f"stroke provision HOSTS {settings}")
    else:
        console.say("To serve it elsewhere, build it with --archive FILE or push it to a registry.")
    console.document(found)
    return int(Exit.OK)
