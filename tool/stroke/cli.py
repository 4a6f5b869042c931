"""The command line: only names, options and help; what commands do is in session.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

CONTEXT = {"help_option_names": ["-h", "--help"]}
PASSED = "stroke.passthrough"


class Passing(TyperCommand):
    """A command that keeps what follows `--` for ansible-playbook."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Cut the arguments at `--` before HOSTS can swallow the rest."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[PASSED] = args[:at], tuple(args[at + 1 :])
        return list(super().parse_args(ctx, args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Show in the usage line that something may follow `--`."""
        return [*super().collect_usage_pieces(ctx), "[-- ANSIBLE OPTIONS]"]


app = typer.Typer(
    name="stroke",
    help="Turn Linux hosts with AMD GPUs into hosts that serve models, and prove it.",
    epilog="To try it without a GPU: stroke sandbox up. Codes like STK-201: docs/errors.md.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)
sandbox = typer.Typer(
    help="A throw-away virtual machine to try it on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)
app.add_typer(sandbox, name="sandbox")

Hosts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="HOSTS",
        show_default=False,
        help="Inventory files, directories, or host names that end with a comma; "
        "none: this machine.",
    ),
]
Limit = Annotated[
    list[str] | None, typer.Option("--limit", "-l", metavar="PATTERN", help="Only these hosts.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tags",
        "-t",
        metavar="TAGS",
        help="Only these stages (prepare, reboot, serve, verify) or roles.",
    ),
]
Check = Annotated[bool, typer.Option("--check", "-C", help="Change nothing, predict instead.")]
Diff = Annotated[bool, typer.Option("--diff", "-D", help="Show how files differ.")]
Extra = Annotated[
    list[str] | None,
    typer.Option("--extra-vars", "-e", metavar="VAR", help="name=value, JSON, or @file."),
]
Become = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the sudo password.")]
Forks = Annotated[
    int | None, typer.Option("--forks", "-f", min=1, metavar="N", help="Hosts at the same time.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep-artifacts", metavar="DIR", file_okay=False, help="Keep report and logs there."
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", envvar="STROKE_DEBUG", help="Show all that ansible says.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from . import version
        from .console import Console

        Console().line(f"stroke {version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command(cls=Passing, context_settings=CONTEXT)
def provision(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    tags: Tags = None,
    check: Check = False,
    diff: Diff = False,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    yes: Yes = False,
    full: Annotated[
        bool, typer.Option("--full", help="Run every role, also on converged hosts.")
    ] = False,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Plan, ask, apply, reboot once if needed, verify."""
    _run(ctx, **_given(locals()))


@app.command(cls=Passing, context_settings=CONTEXT)
def plan(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    tags: Tags = None,
    diff: Diff = False,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 10 if something would change.")
    ] = False,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Show what provision would change, and why; changes nothing."""
    _run(ctx, **_given(locals()))


@app.command(cls=Passing, context_settings=CONTEXT)
def verify(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Prove layer by layer that the hosts serve; changes nothing."""
    _run(ctx, **_given(locals()))


@app.command(cls=Passing, context_settings=CONTEXT)
def remove(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    tags: Tags = None,
    packages: Annotated[
        bool, typer.Option("--packages", help="Also remove the packages that stroke installed.")
    ] = False,
    check: Check = False,
    diff: Diff = False,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    yes: Yes = False,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Undo everything that stroke did."""
    _run(ctx, **_given(locals()))


@app.command(cls=Passing, context_settings=CONTEXT)
def inspect(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Show what the hosts are and need; changes nothing."""
    _run(ctx, **_given(locals()))


Name = Annotated[str, typer.Option("--name", help="Name of the sandbox and of its host.")]


@sandbox.command(context_settings=CONTEXT)
def up(
    name: Name = "stroke-sandbox",
    release: Annotated[str, typer.Option(help="Debian release of the guest.")] = "trixie",
    memory: Annotated[int, typer.Option(help="Memory in MiB.", min=512)] = 3072,
    cpus: Annotated[int, typer.Option(help="Processors.", min=1)] = 2,
    disk: Annotated[int, typer.Option(help="Disk in GiB.", min=3)] = 12,
    image: Annotated[
        Path | None,
        typer.Option(help="Boot this cloud image instead.", exists=True, dir_okay=False),
    ] = None,
    gpu: Annotated[str, typer.Option(help="GPU that the guest declares (simulated).")] = "gfx1151",
    gpu_memory: Annotated[int, typer.Option(help="RAM in GiB that the guest declares.")] = 128,
    accel: Annotated[str, typer.Option(help="auto, kvm or tcg.")] = "auto",
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


@sandbox.command(cls=Passing, context_settings=CONTEXT)
def ssh(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(help="Command to run.")] = None,
    name: Name = "stroke-sandbox",
) -> None:
    """Log in to the virtual machine, or run a command in it."""
    from .sandbox_command import options
    from .sandbox_command import ssh as run

    raise typer.Exit(run(options(name=name), [*(command or ()), *ctx.meta.get(PASSED, ())]))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Take over the parameters of a command, its lists as tuples."""
    lists = ("hosts", "limit", "tags", "extra_vars")
    return {
        key: tuple(value or ()) if key in lists else value
        for key, value in values.items()
        if key != "ctx"
    }


def _run(ctx: typer.Context, **given: Any) -> None:
    from .console import Console
    from .options import Options
    from .runner import RunnerBackend
    from .session import Session

    options = Options(**given, passthrough=ctx.meta.get(PASSED, ()))
    backend = ctx.obj or RunnerBackend()
    console = Console(as_json=options.as_json, debug=options.debug)
    code = Session(str(ctx.info_name), options, backend, console).execute()
    raise typer.Exit(int(code))


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run it, and return the exit code."""
    try:
        app(sys.argv[1:] if arguments is None else arguments, prog_name="stroke")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0
