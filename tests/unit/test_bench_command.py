"""`stroke bench` on published figures: what is kept, shown, judged, drawn and refused."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from stroke.bench_store import Store
from stroke.errors import StrokeError

from tests.unit.bench_runs import ESTIMATE, FACTS, raw, run, steps
from tests.unit.playing import ROOT, RecordedBackend, event, home, published, stroke

pytestmark = pytest.mark.usefixtures("home")
__all__ = ["home"]


@pytest.fixture(autouse=True)
def real_content(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The catalogue has the bands of the verdict."""
    monkeypatch.setenv("STROKE_CONTENT", str(ROOT))


def measuring(*tokens: float, estimate: Any = ESTIMATE, **values: Any) -> RecordedBackend:
    """A host that measured these times per token, one repetition each."""
    profile = {"engine": {"name": "llamacpp", "image": "localhost/engine:1"}, "estimate": estimate}
    data = {"facts": FACTS, "profile": profile, "bench": raw(steps(*tokens), **values)}
    done = event("playbook_on_stats", "", stats={"ok": {"box1": 3}})
    return RecordedBackend({"bench": [published("box1", data), done]})


def test_figures_and_verdict_are_shown_and_kept(home: Path) -> None:
    result = stroke(measuring(0.1, 0.101, 0.102), "bench", "hosts.ini", "--label", "first")
    assert result.exit_code == 0, result.output
    assert "excellent" in result.stdout and "roofline 12.0" in result.stdout
    (path,) = (home / "state/stroke/bench/box1").glob("*Z.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert (kept["schema"], kept["label"]) == ("stroke/bench/1", "first")
    assert kept["machine"]["kernel"] == "7.2.12"
    assert kept["service"]["image"] == "localhost/engine:1"
    assert kept["service"]["command"] == "podman run image"


def test_json_is_the_report_with_its_schema() -> None:
    result = stroke(measuring(0.1, 0.1, 0.1), "bench", "hosts.ini", "--json")
    report = json.loads(result.stdout)
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()))
    assert report["hosts"][0]["bench"]["verdict"]["word"] == "excellent"
    assert "steps" not in report["hosts"][0]["bench"]


def test_without_an_estimate_it_says_so() -> None:
    result = stroke(measuring(0.1, 0.1, 0.1, estimate=None), "bench", "hosts.ini")
    assert "no verdict: the host's profile has no estimate" in result.stdout
    assert result.exit_code == 0


def test_slower_than_the_baseline_is_a_finding() -> None:
    assert stroke(measuring(0.1, 0.101, 0.102), "bench", "hosts.ini").exit_code == 0
    slow = (0.13, 0.131, 0.132)
    result = stroke(measuring(*slow), "bench", "hosts.ini")
    assert result.exit_code == 6 and "STK-626" in result.stdout
    accepted = stroke(measuring(*slow), "bench", "hosts.ini", "--baseline")
    assert accepted.exit_code == 0
    assert stroke(measuring(*slow), "bench", "hosts.ini").exit_code == 0


def test_another_load_has_another_baseline() -> None:
    stroke(measuring(0.1, 0.1, 0.1), "bench", "hosts.ini")
    result = stroke(measuring(0.2, 0.2, 0.2, model="other"), "bench", "hosts.ini")
    assert result.exit_code == 0 and "against" not in result.stdout
    assert stroke(measuring(0.2, 0.2, 0.2), "bench", "hosts.ini").exit_code == 6


def test_settings_reach_the_playbook() -> None:
    found = measuring(0.1)
    stroke(found, "bench", "hosts.ini", "--concurrency", "8,1", "--output-tokens", "64",
           "--url", "http://127.0.0.1:9/v1", "--model", "m", "-e", "a=b")  # fmt: skip
    assert json.loads(found.jobs[0].extra_vars[0]) == {
        "host_bench_concurrency": [1, 8], "host_bench_output_tokens": 64,
        "host_bench_url": "http://127.0.0.1:9/v1", "host_bench_model": "m",
        "stroke_bench_deployed": False,
    }  # fmt: skip
    assert found.jobs[0].extra_vars[1] == "a=b"


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--concurrency", "1,zero"], "STK-625"), (["--concurrency", "0"], "STK-625"),
     (["--url", "http://127.0.0.1/v1"], "STK-625"), (["--label", "a/b"], "STK-625"),
     (["--compare", "box1/last", "box1/baseline"], "STK-623")],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_measured(words: list[str], code: str) -> None:
    found = measuring(0.1)
    result = stroke(found, "bench", "hosts.ini", *words)
    assert isinstance(result.exception, StrokeError) and result.exception.code == code
    assert result.exception.hint and int(result.exception.exit) == 2
    assert found.jobs == []


def test_without_matplotlib_nothing_is_measured_for_a_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = measuring(0.1)
    result = stroke(found, "bench", "hosts.ini", "--report", "out.html")
    assert result.exit_code == 2 and "STK-622" in result.stderr
    assert "stroke[bench]" in result.stderr
    assert found.jobs == []


def test_an_interrupted_measurement_is_not_kept(home: Path) -> None:
    found = measuring(0.1)
    found.interrupted = True
    assert stroke(found, "bench", "hosts.ini").exit_code == 130
    assert not list((home / "state/stroke").glob("bench/*/*.json"))


def test_the_page_needs_nothing_else_and_the_picture_is_one(home: Path) -> None:
    result = stroke(measuring(0.1, 0.11, 0.12), "bench", "hosts.ini", "--report", "out.html")
    assert result.exit_code == 0, result.output
    page = (home / "out.html").read_text(encoding="utf-8")
    assert (home / "out.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert re.findall(r"<(?:script|link|img|iframe)\b|@import|\bsrc=|url\((?!#)", page) == []
    assert "prefers-color-scheme:dark" in page and 'role="img"' in page and "<html lang=en>" in page
    for role, colour in {"ink": "#1b2733", "first": "#0f6fb5"}.items():
        assert f"var(--{role})" in page
        assert page.lower().count(colour) == 1, "only where the page defines it"


def test_what_a_host_says_cannot_become_markup(home: Path) -> None:
    bad = "<script>x</script>$\\frac{"
    stroke(measuring(0.1, 0.1, 0.1, model=bad), "bench", "hosts.ini", "--report", "out")
    page = (home / "out.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_two_labels_are_compared(home: Path) -> None:
    stroke(measuring(0.12, 0.12, 0.12), "bench", "hosts.ini", "--label", "aiter-off")
    stroke(measuring(0.1, 0.1, 0.1), "bench", "hosts.ini", "--label", "aiter-on")
    words = ("bench", "--compare", "box1/aiter-off", "box1/aiter-on")
    result = stroke(RecordedBackend({}), *words, "--report", "two.html")
    assert result.exit_code == 0 and "better" in result.stdout
    assert "aiter-off" in (home / "two.html").read_text(encoding="utf-8")
    document = json.loads(stroke(RecordedBackend({}), *words, "--json").stdout)
    assert document["schema"] == "stroke/bench-comparison/1"
    assert {row["verdict"] for row in document["rows"] if row["metric"] == "tpot_s"} == {"better"}


def test_runs_are_kept_below_their_directory(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    for name in ("../../evil", "..", "a/b", "..."):
        assert store.of(name).resolve().parent == (tmp_path / "kept").resolve()


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": "stroke/report/1"}', encoding="utf-8")
    with pytest.raises(StrokeError, match="no run"):
        Store(tmp_path).find(str(tmp_path / "x.json"))


def test_a_run_is_found_by_its_names(tmp_path: Path) -> None:
    store, kept = Store(tmp_path), run(steps(0.1), label="one")
    path = store.keep(kept)
    store.set_baseline(kept)
    names = ("box1/one", "box1/last", "box1/baseline", f"box1/{kept['id']}", str(path))
    assert {store.find(name)["id"] for name in names} == {kept["id"]}
