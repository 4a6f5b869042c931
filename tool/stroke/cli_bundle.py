"""`stroke bundle`: only names, options and help; cli.py registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Become, Debug, Extra, Forks, Hosts, Json, Keep, Limit


def bundle(
    ctx: typer.Context,
    hosts: Hosts = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            show_default=False,
            help="Write to FILE instead of stroke-bundle-TIME.tar.gz.",
        ),
    ] = None,
    keep_host_names: Annotated[
        bool,
        typer.Option("--keep-host-names", help="Leave names of hosts and servers in it."),
    ] = False,
    limit: Limit = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Write one file for a bug report, without secrets and addresses; changes nothing."""
    given = dict(locals())
    from .cli import run_command

    run_command(given.pop("ctx"), given)
