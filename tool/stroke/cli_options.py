"""Options that several commands share, and how `--` is kept for ansible-playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

CONTEXT = {"help_option_names": ["-h", "--help"]}
PASSED = "stroke.passthrough"


class Passing(TyperCommand):
    """A command that keeps what follows `--` for ansible-playbook."""

    passed = "[-- ANSIBLE OPTIONS]"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Cut the arguments at `--` before HOSTS can swallow the rest."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[PASSED] = args[:at], tuple(args[at + 1 :])
        return list(super().parse_args(ctx, args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Show in the usage line that something may follow `--`."""
        return [*super().collect_usage_pieces(ctx), self.passed]


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
AfterReboot = Annotated[
    Literal["ask", "continue"] | None,
    typer.Option(
        "--after-reboot",
        show_default=False,
        help="This machine only: go on by itself after its reboot, as root, or be run again (ask).",
    ),
]
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
Canary = Annotated[
    str | None,
    typer.Option("--canary", metavar="N", help="Hosts of the first wave (of several hosts: 1)."),
]
Wave = Annotated[
    str | None,
    typer.Option("--wave", metavar="N|P%", help="Hosts of every wave after it (50%)."),
]
MaxFailures = Annotated[
    str | None,
    typer.Option(
        "--max-failures", metavar="N|P%", help="Hosts that may fail before no wave follows (0)."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Only hosts that the last run did not finish.")
]
