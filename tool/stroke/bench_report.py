"""One page that needs nothing else: verdict, picture, tables; and the picture as PNG beside it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import bench_chart as chart
from .bench_view import load, milliseconds, number, rate, title
from .errors import StrokeError
from .text import clean, gib, value

STYLE = """
:root{color-scheme:light dark;%(light)s}
@media(prefers-color-scheme:dark){:root{%(dark)s}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.6rem;margin:0 0 .3rem;line-height:1.25;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0}.quiet{color:var(--quiet)}
.verdict{display:inline-block;margin:1rem 0 .2rem;padding:.5rem .9rem;border-radius:.6rem;
border:1px solid var(--grid);border-left:.4rem solid var(--tone);font-size:1.15rem}
figure{margin:1.4rem 0}svg{width:100%%;height:auto}
svg text{font-family:system-ui,sans-serif!important}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.4rem .7rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{color:var(--quiet);font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:0}
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
.better{color:var(--good)}.worse{color:var(--bad)}code{font-size:.9em}
@media print{main{padding:0}}
"""


def write(
    target: Path, runs: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any] | None
) -> list[Path]:
    """Write the page and the picture; the suffix of the target does not matter."""
    chart.require()
    compared = comparison if len(runs) == 2 else None
    page, picture = target.with_suffix(".html"), target.with_suffix(".png")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        chart.save_png(chart.draw(runs, compared), picture)
        drawn = chart.svg(chart.draw(runs, compared), _alternative(runs))
        page.write_text(_page(runs, comparison, drawn), encoding="utf-8")
    except OSError as error:
        raise StrokeError(
            f"{target} cannot be written: {error.strerror}",
            code="STK-622",
            hint="name another file: --report FILE",
        ) from None
    return [page, picture]


def _alternative(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the picture says, for those who do not see it; the tables below have every figure."""
    said = [
        f"{level['concurrency']} at once: {rate(level['output_per_s'])} tokens per second"
        for level in runs[-1]["levels"]
    ]
    return clean(f"Charts of {title(runs[-1])}. {'; '.join(said)}.")


def _page(
    runs: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any] | None, drawn: str
) -> str:
    run = runs[-1]
    colours = {
        name: ";".join(f"--{role}:{pair[which]}" for role, pair in chart.PALETTE.items())
        for which, name in enumerate(("light", "dark"))
    }
    head = _e(f"{run['service'].get('model')} on {run['host']}")
    parts = [
        f"<h1>{head}</h1><p class=quiet>{_e(title(run))} · "
        f"<time datetime='{_e(run['started'])}'>{_e(run['started'])}</time></p>",
        _verdict(run),
        *(
            f"<p class=worse><strong>Doubtful:</strong> {_e(words)}</p>"
            for words in run["warnings"]
        ),
        f"<figure>{drawn}<figcaption class=quiet>{_e(load(run))}.</figcaption></figure>",
        *(_figures(one, many=len(runs) > 1) for one in runs),
        _comparison(comparison) if comparison else "",
        *(_about(one, many=len(runs) > 1) for one in runs),
        _words(),
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{head}: benchmark</title><style>{STYLE % colours}</style>"
        f"<main>{''.join(parts)}</main></html>\n"
    )


def _verdict(run: Mapping[str, Any]) -> str:
    found = run["verdict"]
    speed = number(found["measured_per_s"]) if found["measured_per_s"] else "-"
    if not found["word"]:
        return f"<p class=verdict style='--tone:var(--quiet)'>Single stream <strong>{speed} tok/s</strong></p><p class=quiet>No verdict: {_e(found['reason'])}.</p>"  # noqa: E501
    tone = "good" if found["word"] in ("excellent", "good") else "bad"
    return (
        f"<p class=verdict style='--tone:var(--{tone})'>Single stream <strong>{speed} tok/s: "
        f"{_e(found['word'])}</strong></p><p class=quiet>{found['share_of_expected']:.0%} of the "
        f"{number(found['expected_per_s'])} tok/s expected, {found['share_of_roofline']:.0%} of "
        f"the roofline {number(found['roofline_per_s'])} tok/s: {_e(found['reason'])}.</p>"
    )


def _figures(run: Mapping[str, Any], *, many: bool) -> str:
    names = ("At once", "Output tok/s", "Total tok/s", "TTFT ms p50 / p95 / p99",
             "TPOT ms p50 / p95 / p99", "ITL ms p50 / p95 / p99", "Errors")  # fmt: skip
    rows = [
        (
            level["concurrency"], rate(level["output_per_s"]),
            rate(level["total_per_s"], ends=False),
            *(" / ".join(milliseconds(level[key][f"p{p}"]) for p in (50, 95, 99))
              for key in ("ttft_s", "tpot_s", "itl_s")),
            f"{level['errors']} of {level['requests']}",
        )
        for level in run["levels"]
    ]  # fmt: skip
    heading = f"Figures: {chart.name(run)}" if many else "Figures"
    return f"<h2>{_e(heading)}</h2>{_table(names, rows)}"


def _comparison(comparison: Mapping[str, Any]) -> str:
    names = ("Figure", "At once", "Before", "After", "Change", "95 % interval", "")
    rows = []
    for row in comparison["rows"]:
        show = number if row["metric"] == "output_per_s" else milliseconds
        unit = "" if row["metric"] == "output_per_s" else " ms"
        between = "-" if row["low"] is None else f"{row['low']:+.1%} to {row['high']:+.1%}"
        rows.append(
            (row["name"], row["concurrency"], show(row["before"]) + unit, show(row["after"]) + unit,
             f"{row['change']:+.1%}", between, row["verdict"])
        )  # fmt: skip
    before = comparison["before"]
    differs = "".join(
        f"<dt>{_e(item['what'])}</dt><dd>{_e(value(item['before']))} → "
        f"{_e(value(item['after']))}</dd>"
        for item in comparison["differs"]
    )
    return f"<h2>Against {_e(before['label'] or before['id'])}</h2>{_table(names, rows)}" + (
        f"<h2>What differs</h2><dl>{differs}</dl>" if differs else ""
    )


def _about(run: Mapping[str, Any], *, many: bool) -> str:
    machine, service = dict(run["machine"]), run["service"]
    if "memory_bytes" in machine:
        machine["memory"] = gib(machine.pop("memory_bytes"))
    known = {"run": run["id"], "label": run["label"], **machine, **service, "stroke": run["stroke"]}
    rows = "".join(
        f"<dt>{_e(str(key).replace('_', ' '))}</dt><dd>{_e(value(item))}</dd>"
        for key, item in known.items()
        if item not in (None, "", False)
    )
    heading = f"What was measured: {chart.name(run)}" if many else "What was measured"
    return f"<h2>{_e(heading)}</h2><dl>{rows}</dl>"


def _words() -> str:
    return (
        "<h2>Words</h2><dl><dt>TTFT</dt><dd>from sending a request to the first piece of its "
        "answer</dd><dt>TPOT</dt><dd>time per token after the first, one value per request</dd>"
        "<dt>ITL</dt><dd>time between two pieces of an answer</dd><dt>at once</dt><dd>requests "
        "under way at any time; a new one is sent when one is answered</dd></dl>"
    )


def _table(names: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f"<th scope=col>{_e(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return (
        f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Any) -> str:
    kind = f" class={cell}" if cell in ("better", "worse") else ""
    return f"<td{kind}>{_e(cell)}</td>"


def _e(words: Any) -> str:
    return html.escape(clean(words))
