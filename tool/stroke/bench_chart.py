"""The picture of one run or of two: drawn once, as PNG and as SVG in the colours of the page."""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import StrokeError
from .text import clean

Run = Mapping[str, Any]
# Role of a colour → light, dark. The two series differ in lightness too, for those who see no hue.
PALETTE = {
    "ink": ("#1b2733", "#e6edf3"),
    "quiet": ("#5b6b7b", "#9aa9b8"),
    "grid": ("#e3e8ee", "#2b3742"),
    "paper": ("#fdfdfe", "#12181f"),
    "first": ("#0f6fb5", "#58b2f4"),
    "second": ("#c2570c", "#ffa657"),
    "band": ("#cfe3f3", "#1d3a52"),
    "good": ("#1b7f4d", "#4cc38a"),
    "bad": ("#b3261e", "#ff8b82"),
}
LIGHT = {role: pair[0] for role, pair in PALETTE.items()}
SERIES = ("first", "second")


def require() -> None:
    """Refuse before anything is measured when the picture could not be drawn afterwards."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise StrokeError(
            "the picture is drawn with the Python package matplotlib, which is not installed",
            code="STK-622",
            hint="pipx inject stroke matplotlib (or: pip install 'stroke[bench]')",
        ) from None


def draw(runs: Sequence[Run], comparison: Mapping[str, Any] | None) -> Any:
    """One figure with four panels; the first run is the older one where there are two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), facecolor=LIGHT["paper"], layout="constrained")
    axes = figure.subplots(2, 2)
    _rates(axes[0][0], runs)
    if comparison and len(runs) == 2:
        _changes(axes[0][1], comparison)
    else:
        _verdict(axes[0][1], runs[-1])
    _times(axes[1][0], runs, "ttft_s", "Time to first token", 1000, "ms")
    _times(axes[1][1], runs, "tpot_s", "Time per output token", 1000, "ms")
    figure.suptitle(
        _title(runs), x=0.012, ha="left", fontsize=14, color=LIGHT["ink"], weight="bold"
    )
    figure.supxlabel(_foot(runs), x=0.012, ha="left", fontsize=8, color=LIGHT["quiet"])
    return figure


def _title(runs: Sequence[Run]) -> str:
    run = runs[-1]
    machine = run["machine"]
    gpu = f"{machine.get('gpu') or ''}{' (simulated GPU)' if machine.get('simulated') else ''}"
    words = [run["service"].get("model"), gpu, run["host"]]
    return _plain(" · ".join(str(word) for word in words if word))


def _foot(runs: Sequence[Run]) -> str:
    run = runs[-1]
    level = run["levels"][0]
    kernel = f"kernel {run['machine']['kernel']}" if run["machine"].get("kernel") else ""
    words = [run["started"][:16].replace("T", " ") + " UTC", kernel, run["service"].get("image")]
    about = ", ".join(str(word) for word in words if word)
    return _plain(
        f"{about}\nprompts of about {level['input_per_request'] or 0:.0f} tokens, answers of "
        f"{level['output_per_request'] or 0:.0f}; {run['load'].get('repetitions')} repetitions"
    )


def name(run: Run) -> str:
    """What a run is called in a legend."""
    return _plain(run["label"] or run["id"])


def _plain(words: str) -> str:
    """Text as it is: a dollar sign is not mathematics."""
    return clean(words).replace("$", r"\$")


def _prepare(axis: Any, title: str, unit: str) -> None:
    axis.set_facecolor(LIGHT["paper"])
    axis.set_title(title, loc="left", fontsize=11, color=LIGHT["ink"], weight="bold", pad=10)
    axis.set_ylabel(unit, color=LIGHT["quiet"], fontsize=9)
    axis.tick_params(colors=LIGHT["quiet"], labelsize=9, length=0)
    axis.grid(axis="y", color=LIGHT["grid"], linewidth=1)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(LIGHT["quiet"])


def _places(axis: Any, runs: Sequence[Run]) -> dict[int, int]:
    """Levels at equal distances, named by their number."""
    levels = sorted({level["concurrency"] for run in runs for level in run["levels"]})
    axis.set_xticks(range(len(levels)), [str(level) for level in levels])
    axis.set_xlim(-0.5, len(levels) - 0.5)
    axis.set_xlabel("requests at the same time", color=LIGHT["quiet"], fontsize=9)
    return {level: place for place, level in enumerate(levels)}


def _rates(axis: Any, runs: Sequence[Run]) -> None:
    _prepare(axis, "Output tokens per second, all requests together", "tok/s")
    places = _places(axis, runs)
    for number, (run, role) in enumerate(zip(runs, SERIES, strict=False)):
        shown = [level for level in run["levels"] if level["output_per_s"]]
        shift = (number - (len(runs) - 1) / 2) * 0.16
        spreads = [level["output_per_s"] for level in shown]
        at = [places[level["concurrency"]] + shift for level in shown]
        middle = [spread["median"] for spread in spreads]
        axis.plot(at, middle, color=LIGHT[role], linewidth=2, zorder=3)
        for x, spread in zip(at, spreads, strict=True):
            axis.plot([x, x], [spread["least"], spread["most"]], color=LIGHT[role], lw=5, alpha=0.3)
            axis.plot(
                [x] * len(spread["values"]), spread["values"], "o", ms=4, zorder=4,
                mfc=LIGHT["paper"], mec=LIGHT[role], mew=1.2,
            )  # fmt: skip
            if len(runs) == 1:
                axis.annotate(
                    _three(spread["median"]), (x, spread["most"]), xytext=(0, 7), fontsize=9,
                    textcoords="offset points", ha="center", color=LIGHT["ink"],
                )  # fmt: skip
        axis.plot([], [], color=LIGHT[role], lw=2, label=name(run))
    axis.set_ylim(0, axis.get_ylim()[1] * 1.2)
    _legend(axis, runs, "bar: least to most, dot: one repetition")


def _times(axis: Any, runs: Sequence[Run], key: str, title: str, factor: float, unit: str) -> None:
    _prepare(axis, title, unit)
    places = _places(axis, runs)
    for number, (run, role) in enumerate(zip(runs, SERIES, strict=False)):
        shift = (number - (len(runs) - 1) / 2) * 0.24
        for level in run["levels"]:
            values = [level[key][f"p{p}"] for p in (50, 95, 99)]
            if values[0] is None:
                continue
            x = places[level["concurrency"]] + shift
            low, middle, high = (value * factor for value in values)
            axis.plot([x, x], [low, high], color=LIGHT[role], lw=1.6, solid_capstyle="butt")
            axis.plot([x], [high], "_", ms=9, mew=1.6, color=LIGHT[role])
            axis.plot([x], [middle], "D", ms=4.5, color=LIGHT[role])
            axis.plot([x], [low], "o", ms=8, color=LIGHT[role])
            if run is runs[-1]:
                axis.annotate(
                    _three(low), (x, low), xytext=(9, -3), textcoords="offset points",
                    fontsize=9, color=LIGHT["ink"],
                )  # fmt: skip
        axis.plot([], [], "o", color=LIGHT[role], label=name(run))
    axis.set_ylim(0, axis.get_ylim()[1] * 1.2)
    _legend(axis, runs, "circle: p50, diamond: p95, dash: p99 of all requests")


def _legend(axis: Any, runs: Sequence[Run], how: str) -> None:
    axis.legend(
        title=how, title_fontsize=8, fontsize=9, frameon=False, labelcolor=LIGHT["ink"],
        loc="upper left", alignment="left", handles=None if len(runs) > 1 else [],
    ).get_title().set_color(LIGHT["quiet"])  # fmt: skip


def _verdict(axis: Any, run: Run) -> None:
    """The measured single stream between zero and the roofline."""
    found, estimate = run["verdict"], run["estimate"] or {}
    _prepare(axis, "Single stream against the estimate", "")
    axis.grid(visible=False)
    axis.set_yticks([])
    measured = found["measured_per_s"]
    single = estimate.get("single") or {}
    if not measured or not found["word"]:
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
        words = f"{_three(measured)} tok/s\n" if measured else ""
        reason = "\n".join(textwrap.wrap(f"No verdict: {found['reason']}.", 46))
        axis.text(
            0.5, 0.5, words + reason, transform=axis.transAxes, ha="center", va="center",
            color=LIGHT["quiet"], fontsize=11, linespacing=1.6,
        )  # fmt: skip
        return
    axis.set_xlim(0, max(single["high"], measured) * 1.15)
    axis.set_ylim(-1.2, 1.6)
    axis.barh([0], [measured], height=0.42, color=LIGHT["first"], zorder=3)
    axis.axvspan(single["low"], single["high"], ymin=0.18, ymax=0.62, color=LIGHT["band"], zorder=1)
    axis.plot([single["expected"]] * 2, [-0.55, 0.55], color=LIGHT["ink"], lw=2, zorder=4)
    axis.plot([single["high"]] * 2, [-0.7, 0.7], color=LIGHT["bad"], lw=2, ls=(0, (3, 2)), zorder=4)
    for x, y, words, role in (
        (single["expected"], 0.72, f"expected {_three(single['expected'])}", "ink"),
        (single["high"], -0.9, f"roofline {_three(single['high'])}", "bad"),
    ):
        axis.text(x, y, words, ha="center", fontsize=9, color=LIGHT[role])
    good = found["word"] in ("excellent", "good")
    axis.text(
        0, 1.2, f"{_three(measured)} tok/s: {found['word']}", fontsize=13, weight="bold",
        color=LIGHT["good" if good else "bad"],
    )  # fmt: skip
    axis.set_xlabel(
        "tok/s of one request; shaded: range of the estimate", color=LIGHT["quiet"], fontsize=9
    )


def _changes(axis: Any, comparison: Mapping[str, Any]) -> None:
    """Each change with its interval: what crosses zero may be noise."""
    _prepare(axis, "Change, with its 95 % interval", "")
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x", color=LIGHT["grid"])
    rows = list(reversed(comparison["rows"]))
    colours = {"better": "good", "worse": "bad"}
    for y, row in enumerate(rows):
        colour = LIGHT[colours.get(row["verdict"], "quiet")]
        if row["low"] is not None:
            axis.plot([row["low"] * 100, row["high"] * 100], [y, y], color=colour, lw=2)
        axis.plot([row["change"] * 100], [y], "o", ms=6, color=colour)
    axis.axvline(0, color=LIGHT["ink"], lw=1)
    axis.set_yticks(
        range(len(rows)), [f"{row['name']}, {row['concurrency']} at once" for row in rows]
    )
    axis.set_xlabel(
        "percent; green: better, red: worse, grey: within noise or 5 %",
        color=LIGHT["quiet"], fontsize=9,
    )  # fmt: skip


def _three(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def save_png(figure: Any, path: Path) -> None:
    """Write the picture for those who want to attach it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=160, format="png", metadata={"Software": "stroke"})


def svg(figure: Any, title: str) -> str:
    """The picture as an element of a page, in the page's colours and with its text as text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "stroke"}):
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for role, colour in LIGHT.items():
        drawn = re.sub(colour, f"var(--{role})", drawn, flags=re.IGNORECASE)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    sized = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", drawn, count=2)
    return sized.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
