"""`stroke rollback`: only names, options and help; cli.py registers it."""

from __future__ import annotations

from typing import Annotated

import typer

from .cli_options import (
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
    Wave,
    Yes,
)


def rollback(
    ctx: typer.Context,
    hosts: Hosts = None,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            metavar="N",
            help="Generation to go back to (the last before the newest).",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the generations of the hosts; changes nothing.")
    ] = False,
    limit: Limit = None,
    check: Check = False,
    diff: Diff = False,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    yes: Yes = False,
    canary: Canary = None,
    wave: Wave = None,
    max_failures: MaxFailures = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Go back to an earlier kernel, kernel arguments, firmware and image, and prove it."""
    given = dict(locals())
    from .cli import run_command

    run_command(given.pop("ctx"), given)
