"""The command `stroke bench`: only names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import (
    CONTEXT,
    PASSED,
    Become,
    Debug,
    Extra,
    Forks,
    Hosts,
    Json,
    Keep,
    Limit,
    Passing,
)


def bench(
    ctx: typer.Context,
    hosts: Hosts = None,
    limit: Limit = None,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Requests at the same time, one level after the other."),
    ] = None,
    repetitions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Sweeps over all levels (3).")
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Requests per level and sweep, at least (4)."),
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens of each prompt (512).")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Tokens of each answer (128).")
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of several services on a host.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Any endpoint, as seen from the host (…/v1)."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its name of the model, with --url.")
    ] = None,
    label: Annotated[str, typer.Option(metavar="NAME", help="Name of this run.")] = "",
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Later runs are held against this one.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Measure nothing; compare two runs: files, HOST/LABEL, HOST/last, HOST/baseline.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write FILE.html and FILE.png."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Where runs are kept."),
    ] = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    forks: Forks = None,
    as_json: Json = False,
    keep: Keep = None,
    debug: Debug = False,
) -> None:
    """Measure how fast the hosts answer, and judge it; changes nothing."""
    from .bench_settings import Settings, levels

    settings = Settings(
        concurrency=levels(concurrency) if concurrency else (),
        repetitions=repetitions,
        requests=requests,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        service=service,
        url=url,
        model=model,
        label=label,
        baseline=baseline,
        results=results.absolute() if results else None,
        report=report,
    )
    if compare:
        from .bench import compare as run

        raise typer.Exit(int(run(*compare, settings, as_json=as_json)))

    from .console import Console
    from .options import Options
    from .runner import RunnerBackend
    from .session import Session

    options = Options(
        hosts=tuple(hosts or ()),
        limit=tuple(limit or ()),
        extra_vars=tuple(extra_vars or ()),
        ask_become_pass=ask_become_pass,
        forks=forks,
        as_json=as_json,
        keep=keep,
        debug=debug,
        bench=settings,
        passthrough=ctx.meta.get(PASSED, ()),
    )
    console = Console(as_json=as_json, debug=debug)
    code = Session("bench", options, ctx.obj or RunnerBackend(), console).execute()
    raise typer.Exit(int(code))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=Passing, context_settings=CONTEXT)(bench)
