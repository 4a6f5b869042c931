"""The command `stroke estimate`: only names, options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from .cli_options import Become, Extra, Json, Limit


def estimate(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model of the catalogue: stroke catalog models."),
    ],
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="GPU",
            help="On this GPU: a target (gfx1151), a product (R9700, MI300X) or a PCI id.",
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory",
            metavar="GIB",
            min=1,
            help="With --gpu: RAM of an APU's machine (128 if not given), else memory of each GPU.",
        ),
    ] = None,
    gpus: Annotated[
        int, typer.Option("--gpus", metavar="N", min=1, help="With --gpu: so many.")
    ] = 1,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOSTS", help="On these hosts: what `stroke plan` takes."),
    ] = None,
    limit: Limit = None,
    extra_vars: Extra = None,
    ask_become_pass: Become = False,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="vllm or llamacpp.")
    ] = None,
    context: Annotated[
        int, typer.Option("--context", metavar="N", min=0, help="Tokens that a request is long.")
    ] = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Requests at the same time.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Say whether a model fits, with what context, and how fast it is going to be."""
    from .estimate import Question
    from .estimate import estimate as run

    question = Question(
        model=model,
        gpu=gpu,
        memory_gib=memory,
        gpus=gpus,
        hosts=tuple(host or ()),
        limit=tuple(limit or ()),
        extra_vars=tuple(extra_vars or ()),
        ask_become_pass=ask_become_pass,
        engine=engine,
        context=context,
        concurrency=concurrency,
    )
    raise typer.Exit(int(run(question, as_json=as_json, backend=ctx.obj)))
