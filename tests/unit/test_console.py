"""What is on the screen, and what is in a log."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import time
from collections.abc import Mapping

import pytest
from rich.console import Console as Rich
from rich.console import RenderableType
from rich.spinner import Spinner
from stroke import progress, results, text, views
from stroke.console import is_plain
from stroke.errors import Problem
from stroke.events import Event
from stroke.report import Change, HostRun, Run, merge

from tests.unit.playing import ROOT, event, folded, recorded

REFUSED = {"msg": "STK-401: too old. Hint: upgrade"}


def drawn(renderable: RenderableType, width: int = 80) -> list[str]:
    out = Rich(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    out.print(renderable)
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def planned() -> Run:
    return folded(*recorded("plan"))


def applied() -> Run:
    return merge(planned(), folded(*recorded("site")))


@pytest.mark.parametrize(
    ("env", "terminal", "plain"),
    [
        ({}, True, False),
        ({}, False, True),
        ({"CI": "true"}, True, True),
        ({"NO_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, True, True),
        ({"TERM": "xterm"}, True, False),
    ],
)
def test_a_log_is_plain(env: Mapping[str, str], terminal: bool, plain: bool) -> None:
    assert is_plain(env, terminal) is plain


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_fits_the_screen_and_says_why(width: int) -> None:
    lines = drawn(views.plan(planned()), width)
    whole = "\n".join(lines)
    assert max(len(line) for line in lines) <= width
    assert "  upgrade linux-image-amd64  6.12.107-1 → ≥ 7.2.12-1~bpo13+1" in lines
    assert "  reboot  ttm.pages_limit  absent → ttm.pages_limit=28835840" in lines
    assert "110 GiB = 128 GiB RAM minus 18 GiB kept for the system" in whole
    assert "STK-401: Debian 12" in whole and "Hint: upgrade the host" in whole
    assert "7 changes on 3 hosts, 1 reboot; 1 host converged; 1 host refused" in whole


def test_a_reason_shared_by_neighbours_is_said_once() -> None:
    whole = "\n".join(drawn(views.plan(planned())))
    assert whole.count("6.16.9 is the floor for gfx1151") == 1


def test_hosts_with_the_same_plan_share_it() -> None:
    lines = drawn(views.plan(planned()))
    assert "fails, unproven:" in lines and "fresh:" in lines


def test_a_converged_host_takes_one_line() -> None:
    host = HostRun("box1", changes=(), facts={"kernel": "7.2.12"}, profile={"verdict": "supported"})
    lines = drawn(views.plan(Run(hosts={"box1": host})))
    assert lines[0] == "box1  supported  kernel 7.2.12  converged, nothing to do"
    assert lines[-1] == "1 host converged."


def test_the_difference_of_a_file_is_shown_on_request() -> None:
    assert "Types: deb" not in "\n".join(drawn(views.plan(planned())))
    assert "+Types: deb" in "\n".join(drawn(views.plan(planned(), diff=True)))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (None, "file", "x"),
        (None, "≥ 1", "x  ≥ 1"),
        ("0.9", "≥ 1", "x  0.9 → ≥ 1"),
        ("login", None, "x  login"),
        (["a", "b"], "c", "x  a, b → c"),
        ("one\ntwo", "three\nfour\nfive", "x  2 lines → 3 lines"),
    ],
)
def test_both_sides_of_a_change(before: object, after: object, line: str) -> None:
    change = Change("r", "prepare", "file", "x", "change", before, after)
    assert views.sides(change).plain == line


def test_the_final_table_has_a_row_for_each_host() -> None:
    lines = drawn(results.applied(applied(), 160), 160)
    assert lines[0].split() == [
        "HOST", "RESULT", "KERNEL", "GPU", "SERVES", "ENDPOINT", "CHANGED", "REBOOTED", "TIME",
    ]  # fmt: skip
    fresh = next(line for line in lines if line.startswith("fresh"))
    for word in ("done", "7.2.12+deb13-amd64", "gfx1151 (simulated)", "http://127.0.0.1:8000/v1"):
        assert word in fresh
    assert [line.split()[0] for line in lines[1:7]] == [
        "fresh", "same", "old", "fails", "unproven", "gone",
    ]  # fmt: skip


def test_one_host_on_a_narrow_screen_gets_a_list() -> None:
    run = applied()
    lines = drawn(results.applied(Run(hosts={"fresh": run.hosts["fresh"]}), 80))
    assert "  kernel    7.2.12+deb13-amd64 (was 6.12.107+deb13-amd64)" in lines
    assert "  endpoint  http://127.0.0.1:8000/v1" in lines
    assert max(len(line) for line in lines) <= 80


def test_the_answer_of_the_endpoint_is_shown_as_it_is() -> None:
    lines = drawn(results.applied(applied(), 160), 160)
    assert "fresh answers (12 tokens, 1.4 s):" in lines
    assert "  < hello there [bold]general[/bold]" in lines


def test_what_a_host_says_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2Jclear \x1b]0;title\x07and\x9b31m\rreturn"
    assert text.clean(evil) == "clear and31m\nreturn"
    host = HostRun("box1", endpoint={"completion": {"text": evil}})
    assert not any("\x1b" in line for line in drawn(results.applied(Run(hosts={"b": host}), 80)))


def test_failed_checks_are_listed_with_what_helps() -> None:
    whole = "\n".join(drawn(results.applied(applied(), 160), 160))
    assert "unproven: checks that did not pass" in whole
    assert "V201 failed TTM may use the planned pages: 8060928 of 28835840 pages" in whole
    assert "Hint: reboot the host" in whole


def test_skipped_checks_are_not_called_passed() -> None:
    lines = drawn(results.verified(applied()), 120)
    assert "fresh: 2 passed, 1 skipped." in lines
    assert "unproven: 1 passed, 1 failed, 1 skipped." in lines


def test_a_problem_without_a_hint_has_one_line() -> None:
    assert drawn(views.problem(Problem("STK-801", "it broke.", ""))) == ["STK-801: it broke"]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            event(
                "runner_on_ok", role="kernel", task="Install", duration=12, result={"changed": True}
            ),
            "box1  kernel             Install  changed (12 s)",
        ),
        (
            event("runner_on_ok", task="Look", duration=40),
            "box1  -                  Look  ok (40 s)",
        ),
        (event("runner_on_failed", task="Look"), "box1  -                  Look  failed"),
        (
            event("runner_on_failed", task="L", result=REFUSED),
            "box1  -                  L  refused",
        ),
        (event("runner_on_failed", ignored=True), "box1  -                    failed, ignored"),
        (event("runner_on_unreachable"), "box1  -                    unreachable"),
        (event("runner_on_ok", task="Look", duration=1), None),
        (event("runner_on_skipped", duration=99), None),
        (event("runner_on_start"), None),
    ],
)
def test_a_log_has_only_lines_that_matter(found: Event, line: str | None) -> None:
    shown = progress.log_line(found)
    assert (shown.plain if shown else None) == line


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_long_task_gives_a_sign_of_life_once_a_minute() -> None:
    clock = Clock()
    tracker = progress.Tracker(clock)
    started = event("runner_on_start", task="Install the kernel")
    run = folded(started)
    tracker.see(started)
    clock.now = 59
    assert progress.heartbeat(run, tracker) == []
    clock.now = 61
    (line,) = progress.heartbeat(run, tracker)
    assert line.plain == "box1  still: Install the kernel … (1 min 1 s)"
    clock.now = 100
    assert progress.heartbeat(run, tracker) == []
    clock.now = 180
    assert progress.heartbeat(run, tracker)[0].plain.endswith("(3 min)")
    tracker.see(event("runner_on_ok"))
    clock.now = 999
    assert progress.heartbeat(run, tracker) == []


def board(run: Run, tracker: progress.Tracker, size: tuple[int, int], note: str = "") -> list[str]:
    return drawn(progress.board("Working", run, tracker, Spinner("line"), size, note), size[0])


def test_the_live_display_shows_stage_task_and_time() -> None:
    clock = Clock()
    tracker = progress.Tracker(clock)
    started = event("runner_on_start", task="Install the kernel", role="kernel")
    tracker.see(started)
    clock.now = 125
    lines = board(folded(started), tracker, (80, 24), "stopping")
    assert lines[0].split() == ["-", "box1", "prepare", "2/5", "Install", "the", "kernel", "2:05"]
    assert lines[1:] == ["  Working: 2:05", "  stopping"]


def test_the_live_display_leaves_room_for_the_echo_of_ctrl_c() -> None:
    tracker = progress.Tracker(Clock())
    long = event("runner_on_start", task="Do " + "very " * 40 + "much")
    assert max(len(line) for line in board(folded(long), tracker, (80, 24))) <= 76


def test_the_live_display_of_many_hosts_fits_and_shows_the_busy_ones() -> None:
    tracker = progress.Tracker(Clock())
    found = [event("runner_on_ok", f"box{n:02}", task="Look") for n in range(40)]
    lines = board(
        folded(*found, event("runner_on_start", "box39", task="Reboot")), tracker, (80, 24)
    )
    assert len(lines) < 24
    assert "box39" in lines[0] and "Reboot" in lines[0]
    assert "  and 20 more hosts" in lines


@pytest.mark.parametrize(
    ("seconds", "words", "clock"),
    [(0.4, "0 s", "0:00"), (75, "1 min 15 s", "1:15"), (120, "2 min", "2:00"),
     (3780, "1 h 3 min", "1:03:00")],
)  # fmt: skip
def test_time_for_people(seconds: float, words: str, clock: str) -> None:
    assert (text.duration(seconds), text.clock(seconds)) == (words, clock)


def test_memory_for_people() -> None:
    assert (text.gib(128 * 2**30), text.gib(3 * 2**29), text.gib(None)) == (
        "128 GiB",
        "1.5 GiB",
        "",
    )


def answered(typed_before: bytes, typed_after: bytes) -> str:
    """What a question on a terminal got, with keys pressed before and after it was shown."""
    code = (
        "import time; from stroke.console import Console; time.sleep(1.5);"
        "print('yes' if Console().confirm('Apply?') else 'no')"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "tool"), "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, "-c", code], env)  # noqa: S606
    os.write(terminal, typed_before)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(terminal, 1024)
    time.sleep(0.3)
    os.write(terminal, typed_after)
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 1024):
            seen += part
    os.waitpid(pid, 0)
    return seen.decode().split()[-1]


def test_only_an_answer_to_the_question_counts() -> None:
    assert answered(b"", b"y\n") == "yes"
    assert answered(b"", b"\n") == "no"
    assert answered(b"y\n", b"n\n") == "no", "typed before the question was there"
