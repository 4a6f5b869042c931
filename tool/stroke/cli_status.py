"""`stroke status`: only names, options and help; cli.py registers it."""

from __future__ import annotations

from typing import Annotated

import typer

from .cli_options import Become, Debug, Extra, Forks, Hosts, Json, Keep, Limit


def status(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 10 if a host has drifted.")
    ] = False,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Show how the hosts are, one line each, and why a service is down; changes nothing."""
    given = dict(locals())
    from .cli import run_command

    run_command(given.pop("ctx"), given)
