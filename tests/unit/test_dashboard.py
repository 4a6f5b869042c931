"""The Grafana dashboard asks for metrics that exist, and is whole."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.content.repo import ROOT

FOLDER = ROOT / "docs" / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "stroke.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
# Words of the query language that stand where a metric could.
WORDS = {"by", "on", "or", "and", "group_left", "sum", "max", "rate", "histogram_quantile", "le",
         "label_values"}  # fmt: skip


def known() -> dict[str, set[str]]:
    """Every series of metrics.yml, with its labels."""
    groups = yaml.safe_load((FOLDER / "metrics.yml").read_text(encoding="utf-8"))["groups"]
    found = {}
    for group in groups:
        assert group["source"] and group["confidence"] in ("high", "medium", "low")
        for name, kind in group["metrics"].items():
            for suffix in SUFFIXES[kind]:
                series = name if suffix == "_total" and name.endswith("_total") else name + suffix
                found[series] = set(group["labels"])
    return found


def named(expression: str) -> set[str]:
    """Metrics that a query names: words outside of selectors, labels and ranges."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", expression)
    bare = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", " ", bare)
    return {word for word in re.findall(r"[a-zA-Z_][\w:]*", bare) if word not in WORDS}


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_every_query_names_metrics_that_exist(title: str, expression: str) -> None:
    names = named(expression)
    assert names and names <= set(known()), title


def test_the_choices_above_the_panels_ask_for_metrics_and_labels_that_exist() -> None:
    choices = [v["definition"] for v in BOARD["templating"]["list"] if v["type"] == "query"]
    series = known()
    for choice in choices:
        metric, label = re.findall(r"\((\S+?)(?:\{.*\})?, (\w+)\)", choice)[0]
        assert label in series[metric] | {"instance"}, choice


def test_labels_of_legends_and_sums_are_those_of_the_metrics() -> None:
    allowed = {label for labels in known().values() for label in labels}
    allowed |= {"instance", "le", "finished_reason"}
    for panel in PANELS:
        for target in panel["targets"]:
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            for words in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", target["expr"]):
                used |= {word.strip() for word in words.split(",")}
            assert used <= allowed, panel["title"]


def test_panels_have_their_place_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    assert all(panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_query_goes_to_the_chosen_data_source() -> None:
    sources = {json.dumps(t["datasource"]) for panel in PANELS for t in panel["targets"]}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
