"""How measured figures look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import text, views
from .report import HostRun, Run

STYLE = {
    "excellent": "green",
    "good": "green",
    "acceptable": "yellow",
    "poor": "red",
    "above the roofline": "yellow",
    "better": "green",
    "worse": "red",
    "unclear": "yellow",
    "not known": "yellow",
}


def measured(run: Run) -> RenderableType:
    """What every host measured, with its verdict."""
    parts: list[RenderableType] = []
    for host in run.hosts.values():
        parts += [*_host(host), Text()]
    return Group(*parts[:-1]) if parts else Text("No host was measured.")


def _host(host: HostRun) -> list[RenderableType]:
    bench = host.bench
    if "levels" not in bench:
        return [views.verdict(host), *views.problems(host)]
    parts: list[RenderableType] = [
        Text.assemble((host.name, "bold"), f"  {title(bench)}"),
        figures(bench["levels"]),
        Text(f"  {load(bench)}", style="dim"),
        verdict(bench["verdict"]),
    ]
    parts += [
        Text.assemble(("warning: ", "bold yellow"), text.clean(words))
        for words in bench["warnings"]
    ]
    if bench["baseline"]:
        parts.append(Text(f"against the baseline {_name(bench['baseline']['before'])}:"))
        parts.append(rows(bench["baseline"]))
    parts += views.problems(host)
    return [*parts, Text(f"kept in {bench['file']}", style="dim")]


def title(bench: Mapping[str, Any]) -> str:
    """Model, image, GPU and kernel in a row."""
    machine, service = bench["machine"], bench["service"]
    gpu = f"{machine.get('gpu') or ''}{' (simulated)' if machine.get('simulated') else ''}"
    kernel = f"kernel {machine['kernel']}" if machine.get("kernel") else ""
    words = (service.get("model"), service.get("image"), gpu, kernel)
    return text.clean(", ".join(str(word) for word in words if word))


def load(bench: Mapping[str, Any]) -> str:
    """What was asked of the server."""
    asked, levels = bench["load"], bench["levels"]
    given = levels[0]["input_per_request"] or 0
    requests = sum(level["requests"] for level in levels)
    repeated = int(asked.get("repetitions") or 1)
    return (
        f"{requests} requests of about {given:.0f} prompt and {asked.get('output_length')} answer "
        f"tokens; {text.count(repeated, 'repetition')}: median [least to most]; times in ms"
    )


def figures(levels: list[Mapping[str, Any]]) -> RenderableType:
    """One line per level of concurrency."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("AT ONCE", "TOK/S", "TOTAL TOK/S", "TTFT p50/p95/p99", "TPOT p50/p95/p99",
                 "ITL p50/p95/p99", "ERRORS"):  # fmt: skip
        table.add_column(name, no_wrap=True, justify="right")
    for level in levels:
        errors = str(level["errors"])
        table.add_row(
            str(level["concurrency"]),
            rate(level["output_per_s"]),
            rate(level["total_per_s"], ends=False),
            *(" / ".join(milliseconds(level[key][f"p{p}"]) for p in (50, 95, 99))
              for key in ("ttft_s", "tpot_s", "itl_s")),
            Text(errors, style="red" if level["errors"] else ""),
        )  # fmt: skip
    return table


def rate(spread: Mapping[str, Any] | None, *, ends: bool = True) -> str:
    """Tokens per second, with what the repetitions found."""
    if not spread:
        return "-"
    shown = number(spread["median"])
    if not ends or len(spread["values"]) < 2:
        return shown
    return f"{shown} [{number(spread['least'])} to {number(spread['most'])}]"


def number(value: float) -> str:
    """Three places that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def milliseconds(seconds: float | None) -> str:
    """Milliseconds without the unit."""
    return "-" if seconds is None else number(seconds * 1000)


def verdict(found: Mapping[str, Any]) -> Text:
    """What a single stream is worth."""
    word = found["word"]
    speed = f"{number(found['measured_per_s'])} tok/s" if found["measured_per_s"] else "-"
    if not word:
        return Text(f"single stream {speed}; no verdict: {found['reason']}")
    line = Text.assemble(f"single stream {speed}: ", (word, STYLE.get(word, "")))
    return line.append(
        f" ({found['share_of_expected']:.0%} of the {number(found['expected_per_s'])} expected, "
        f"{found['share_of_roofline']:.0%} of the roofline {number(found['roofline_per_s'])}): "
        f"{found['reason']}"
    )


def compared(comparison: Mapping[str, Any]) -> RenderableType:
    """Two runs side by side."""
    before, after = comparison["before"], comparison["after"]
    parts: list[RenderableType] = [
        Text.assemble((_name(before), "bold"), "  →  ", (_name(after), "bold")),
        rows(comparison),
    ]
    for item in comparison["differs"]:
        parts.append(
            Text(f"  {item['what']}: {text.value(item['before'])} → {text.value(item['after'])}")
        )
    if not comparison["differs"]:
        parts.append(Text("  machine, image and command line are the same", style="dim"))
    return Group(*parts)


def rows(comparison: Mapping[str, Any]) -> RenderableType:
    """A line per figure, with the interval of its change."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("AT ONCE", "FIGURE", "BEFORE", "AFTER", "CHANGE", "95 % INTERVAL", ""):
        table.add_column(name, no_wrap=True, justify="left" if name == "FIGURE" else "right")
    for row in comparison["rows"]:
        show = number if row["metric"] == "output_per_s" else milliseconds
        unit = "" if row["metric"] == "output_per_s" else " ms"
        low, high = row["low"], row["high"]
        table.add_row(
            str(row["concurrency"]),
            row["name"],
            f"{show(row['before'])}{unit}",
            f"{show(row['after'])}{unit}",
            f"{row['change']:+.1%}",
            "-" if low is None else f"{low:+.1%} to {high:+.1%}",
            Text(row["verdict"], style=STYLE.get(row["verdict"], "dim")),
        )
    return table


def _name(run: Mapping[str, Any]) -> str:
    return text.clean(f"{run['host']}/{run['label'] or run['id']}")
