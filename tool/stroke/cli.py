"""The command line: only names, options and help; what commands do is in session.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_bench import register as register_bench
from .cli_bundle import bundle
from .cli_estimate import estimate
from .cli_image import image
from .cli_options import (
    CONTEXT,
    PASSED,
    AfterReboot,
    Become,
    Canary,
    Check,
    Debug,
    Diff,
    Extra,
    Forks,
    Hosts,
    Json,
    Keep,
    Limit,
    MaxFailures,
    Passing,
    Resume,
    Tags,
    Wave,
    Yes,
)
from .cli_rollback import rollback
from .cli_sandbox import sandbox
from .cli_status import status

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
app.add_typer(sandbox, name="sandbox")
app.command(context_settings=CONTEXT)(estimate)
app.add_typer(image, name="image")
app.command(cls=Passing, context_settings=CONTEXT)(status)
app.command(cls=Passing, context_settings=CONTEXT)(rollback)
app.command(cls=Passing, context_settings=CONTEXT)(bundle)


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
    after_reboot: AfterReboot = None,
    canary: Canary = None,
    wave: Wave = None,
    max_failures: MaxFailures = None,
    resume: Resume = False,
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
    junit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Write the checks to FILE as JUnit XML, too."
        ),
    ] = None,
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
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Write what was read of the hosts, made anonymous, to FILE (.tar.gz).",
        ),
    ] = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Show what the hosts are and need; changes nothing."""
    _run(ctx, **_given(locals()))


@app.command(context_settings=CONTEXT)
def doctor(
    root: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Explain the host whose files lie there (inspect --capture) instead.",
        ),
    ] = Path("/"),
    as_json: Json = False,
) -> None:
    """Explain this machine, and name the command that mends what is wrong; changes nothing."""
    from .doctor import doctor as run

    raise typer.Exit(int(run(as_json=as_json, root=root.absolute())))


@app.command(context_settings=CONTEXT)
def catalog(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="An entry (gfx1151), a PCI id (1586), or a section (gfx); none: an overview.",
        ),
    ] = None,
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
    """Explain what stroke knows, and where it knows it from."""
    from .catalog import catalog as run

    raise typer.Exit(int(run(name, as_json=as_json, site=str(site.absolute()) if site else "")))


register_bench(app)


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


def run_command(ctx: typer.Context, given: dict[str, Any]) -> None:
    """Run a command that lives in a module of its own, with the parameters as typer gave them."""
    _run(ctx, **_given(given))


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run it, and return the exit code."""
    try:
        app(sys.argv[1:] if arguments is None else arguments, prog_name="stroke")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0
