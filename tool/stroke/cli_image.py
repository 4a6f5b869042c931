"""The commands of `stroke image`: only names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .cli_options import CONTEXT, Json

image = typer.Typer(
    help="Images of one's own.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)


@image.callback()
def _main() -> None:
    pass


@image.command(context_settings=CONTEXT)
def build(
    gfx: Annotated[str, typer.Option(help="GPU target (gfx1151, gfx1201, …), or generic.")],
    render_only: Annotated[
        bool, typer.Option("--render-only", help="Print the Containerfile and build nothing.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Start from this image instead.")
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the image.")] = None,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Also write it as an OCI archive."),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Take every Python package from here and none from an index.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Pull nothing, and give the build no network.")
    ] = False,
    builder: Annotated[
        Literal["auto", "podman", "buildah", "docker", "buildctl"],
        typer.Option(help="What builds it: docker needs BuildKit, buildctl a rootless buildkitd."),
    ] = "auto",
    site: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Entries of your own, as in host_profile_catalog_dir.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build an inference image for a GPU, without privileges."""
    from .image_command import build as run

    raise typer.Exit(
        run(
            gfx,
            base=base,
            tag=tag,
            archive=archive.absolute() if archive else None,
            wheels=wheels,
            offline=offline,
            builder=builder,
            render_only=render_only,
            site=str(site.absolute()) if site else "",
            as_json=as_json,
        )
    )
