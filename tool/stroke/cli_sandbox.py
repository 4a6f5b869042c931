"""The commands of `stroke sandbox`: only names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .cli_options import CONTEXT, PASSED, Passing

sandbox = typer.Typer(
    help="A throw-away virtual machine to try it on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)

Name = Annotated[str, typer.Option("--name", help="Name of the sandbox and of its host.")]


@sandbox.command(context_settings=CONTEXT)
def up(
    name: Name = "stroke-sandbox",
    release: Annotated[
        Literal["bookworm", "trixie", "forky"], typer.Option(help="Debian release of the guest.")
    ] = "trixie",
    memory: Annotated[int, typer.Option(help="Memory in MiB.", min=512)] = 3072,
    cpus: Annotated[
        int | None,
        typer.Option(
            help="Processors: two, or one where QEMU is too old to emulate more.",
            min=1,
            show_default=False,
        ),
    ] = None,
    disk: Annotated[int, typer.Option(help="Disk in GiB.", min=3)] = 12,
    image: Annotated[
        Path | None,
        typer.Option(help="Boot this cloud image instead.", exists=True, dir_okay=False),
    ] = None,
    boot_loader: Annotated[
        Literal["grub", "grub-efi", "systemd-boot"], typer.Option(help="What starts the guest.")
    ] = "grub",
    gpu: Annotated[str, typer.Option(help="GPU that the guest declares (simulated).")] = "gfx1151",
    gpu_memory: Annotated[int, typer.Option(help="RAM in GiB that the guest declares.")] = 128,
    accel: Annotated[
        Literal["auto", "kvm", "tcg"], typer.Option(help="How QEMU runs the guest.")
    ] = "auto",
) -> None:
    """Boot a throw-away virtual machine and write an inventory for it."""
    from .sandbox_command import options
    from .sandbox_command import up as run

    chosen = options(
        name=name,
        release=release,
        memory_mib=memory,
        cpus=cpus,
        disk_gib=disk,
        image=image,
        boot_loader=boot_loader,
        declared_gpu=gpu,
        declared_memory_gib=gpu_memory,
        accel=accel,
    )
    raise typer.Exit(run(chosen))


@sandbox.command(context_settings=CONTEXT)
def down(name: Name = "stroke-sandbox") -> None:
    """Stop the virtual machine and delete what belongs to it."""
    from .sandbox_command import down as run
    from .sandbox_command import options

    raise typer.Exit(run(options(name=name)))


class Remote(Passing):
    """A command that keeps what follows `--` for the guest."""

    passed = "[-- COMMAND]"


@sandbox.command(cls=Remote, context_settings=CONTEXT)
def ssh(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(help="Command to run.")] = None,
    name: Name = "stroke-sandbox",
) -> None:
    """Log in to the virtual machine, or run a command in it."""
    from .sandbox_command import options
    from .sandbox_command import ssh as run

    raise typer.Exit(run(options(name=name), [*(command or ()), *ctx.meta.get(PASSED, ())]))
