"""How an estimate looks: does it fit, the memory step by step, requests, speed, and how sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import text
from .catalog_view import CONFIDENCE
from .estimate import Answer, Question
from .plan_parts import HEAD, memory_steps

Json = dict[str, Any]


def report(recipe: Json, question: Question, answers: Sequence[Answer]) -> RenderableType:
    """Everything about a model on each target."""
    parts: list[RenderableType] = []
    for one in answers:
        parts += [
            *_verdict(recipe, one),
            Text(),
            Text("Memory", style=HEAD),
            memory_steps(one.budget),
        ]
        parts += [Text(), *(_fitting(question, one) if one.budget["fits"] else _others(one))]
        parts.append(Text())
    return Group(*parts[:-1]) if parts else Text("No host was looked at.")


def _verdict(recipe: Json, one: Answer) -> list[RenderableType]:
    word = Text("fits", style="bold green") if one.fits else Text("does not fit", style="bold red")
    line = Text.assemble((recipe["id"], "bold"), f" with {one.engine} on {one.target.name}: ", word)
    about = f"{_billions(recipe['parameters'])} parameters"
    if recipe["active_parameters"] < recipe["parameters"]:
        about += f", of which a token uses {_billions(recipe['active_parameters'])}"
    about += f"; weights in {recipe['quantisation'].upper()}, {text.gib(recipe['weight_bytes'])}"
    if recipe.get("gated"):
        about += "; its publisher wants a licence accepted and a token"
    parts: list[RenderableType] = [line, Text(f"  {about}", style="dim")]
    for entry in one.drawbacks:
        parts.append(Text.assemble(("  warning: ", "bold yellow"), f"this GPU {entry['what']}"))
    if one.target.note:
        parts.append(Text(f"  {one.target.note}", style="dim"))
    return parts


def _fitting(question: Question, one: Answer) -> list[RenderableType]:
    budget = one.budget
    parts: list[RenderableType] = [Text("Requests", style=HEAD)]
    context, tokens = budget["context"], budget["kv_tokens"]
    full = min(budget["sequences"], tokens // max(1, context))
    parts.append(Text(f"  one may be {context} tokens long, question and answer together"))
    parts.append(Text(f"  {budget['sequences']} at once, {full} of them if all are that long"))
    if question.context or question.concurrency > 1:
        parts.append(_asked(question, one))
    if one.estimate is None:
        why = "its memory bandwidth is not in the catalogue"
        return [*parts, Text(), Text("Speed", style=HEAD), Text(f"  not known: {why}")]
    return [*parts, Text(), *_speed(question, one.estimate), Text(), *_certainty(one.estimate)]


def _asked(question: Question, one: Answer) -> Text:
    wanted = text.count(question.concurrency, "request")
    wanted += f" of {question.context} tokens" if question.context else ""
    if one.fits:
        return Text(f"  {wanted}, as asked for: yes", style="green")
    room = one.budget["kv_tokens"] // max(1, question.context)
    why = (
        f"one may be {one.budget['context']} tokens long"
        if question.context > one.budget["context"]
        else f"the KV cache has room for {room} of that length"
    )
    return Text(f"  {wanted}, as asked for: no, {why}", style="red")


def _speed(question: Question, speed: Json) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(no_wrap=True)

    def row(what: str, band: Json) -> None:
        grid.add_row(
            f"  {what}", Text(f"{band_of(band)} tok/s", style="bold"),
            Text(f"most likely {rounded(band['expected'])}", style="dim"),
        )  # fmt: skip

    row("one request, just begun", speed["single"])
    row(f"one request of {speed['full_context']['tokens']} tokens", speed["full_context"])
    asked = speed["asked"]
    if asked["context"] or asked["streams"] > 1:
        what = text.count(asked["streams"], "request")
        what += f" of {asked['context']} tokens" if asked["context"] else ""
        row(f"{what}, all together" if asked["streams"] > 1 else what, asked)
    parts: list[RenderableType] = [Text("Speed of generation", style=HEAD), grid]
    if asked["streams"] > 1 and not speed["streams_calibrated"]:
        parts.append(Text("  nobody has measured many requests there: the total is an upper bound",
                          style="yellow"))  # fmt: skip
    return parts


def _certainty(speed: Json) -> list[RenderableType]:
    """What the band rests on, and what a figure outside of it means."""
    part, extra = speed["efficiency"], speed["overhead_ms"]
    many = f"{speed['gpus']} x " if speed["gpus"] > 1 else ""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("  a token reads", f"{speed['active_bytes'] / 1e9:.1f} GB of weights, from memory "
                 f"with {many}{speed['bandwidth_gbs']:g} GB/s")  # fmt: skip
    reached = f"{part['least']:.0%} are reached at the least, {part['typical']:.0%} usually"
    more = f"{extra['typical']:g} ms more for a token, {extra['most']:g} at the most"
    grid.add_row("  of which", f"{reached}; {more}")
    for number, line in enumerate(speed["measurements"]):
        grid.add_row("  measured" if number == 0 else "", line)
    if not speed["measurements"]:
        grid.add_row("  measured", "nothing on this kind of GPU: the band is a guess")
    grid.add_row("  source", f"{speed['source']} ({speed['case']})")
    confidence = speed["confidence"]
    grid.add_row("  confidence", Text(confidence, style=CONFIDENCE.get(confidence, "")))
    single = speed["single"]
    grid.add_row(
        "  faster than",
        f"{rounded(single['high'])} tok/s: it is a smaller model, or speculative decoding",
    )
    grid.add_row("  slower than", f"{rounded(speed['suspicious_below'])} tok/s: something is wrong "
                 "(image, arguments, power mode)")  # fmt: skip
    return [Text("How sure", style=HEAD), grid]


def _others(one: Answer) -> list[RenderableType]:
    if not one.alternatives:
        return [Text(f"No model of the catalogue fits there with {one.engine}.")]
    table = _table("MODEL", "WEIGHTS", "CONTEXT", "AT ONCE", "TOK/S")
    for other in one.alternatives:
        band = other["tokens_per_s"]
        table.add_row(other["model"], text.gib(other["weight_bytes"]), str(other["context"]),
                      str(other["sequences"]), band_of(band) if band else "not known")  # fmt: skip
    return [Text("What would fit", style=HEAD), table]


def overview(recipe: Json, answers: Sequence[Answer]) -> RenderableType:
    """A line for each kind of GPU."""
    table = _table("GPU", "FITS", "CONTEXT", "AT ONCE", "TOK/S")
    for one in answers:
        fits = Text("yes", style="green") if one.fits else Text("no", style="red")
        speed = one.estimate
        band = band_of(speed["single"]) if speed else ""
        limits = [str(one.budget[key]) if one.fits else "" for key in ("context", "sequences")]
        table.add_row(one.target.name, fits, *limits, band)
    head = Text.assemble((recipe["id"], "bold"), f", {text.gib(recipe['weight_bytes'])} of weights")
    return Group(head, Text(), table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        number = column not in ("MODEL", "GPU", "FITS")
        table.add_column(column, no_wrap=number, overflow="fold",
                         justify="right" if number else "left")  # fmt: skip
    return table


def band_of(band: Json) -> str:
    """`6.0 to 8.7`."""
    return f"{rounded(band['low'])} to {rounded(band['high'])}"


def rounded(number: float) -> str:
    """Two figures that mean something: 0.51, 6.0, 43."""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 20 else f"{number:.0f}"


def _billions(number: int) -> str:
    return f"{number / 1e9:.1f} billion"
