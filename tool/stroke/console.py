"""The only module that prints: results to stdout, progress and questions to stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console as Rich
from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from . import progress, results, text, views
from .errors import Problem
from .events import Event
from .report import Run, fold
from .steady import Steady

WIDTH_OF_A_PIPE = 1000  # never wrap in a file: its reader does, and grep wants whole lines


def is_plain(env: Mapping[str, str], terminal: bool) -> bool:
    """Whether progress is lines of a log instead of a live display."""
    return not terminal or "CI" in env or "NO_COLOR" in env or env.get("TERM") == "dumb"


class Console:
    """stdout and stderr, and what goes where."""

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug
        self.plain = is_plain(os.environ, sys.stderr.isatty())
        self.out = _rich(sys.stdout)
        self.err = _rich(sys.stderr)

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def say(self, sentence: str) -> None:
        """Print a line of progress."""
        _emit(self.err, Text(sentence))

    def hint(self, sentence: str, command: str) -> None:
        """Print the command to type next, on a line of its own that can be copied."""
        if not self.as_json:
            line = Text.assemble(f"\n{sentence}\n", (f"  {command}", "bold"))
            self.err.print(line, soft_wrap=True)

    def result(self, renderable: RenderableType) -> None:
        """Print a result for people; with --json the document is the result."""
        if not self.as_json:
            _emit(self.out, renderable)

    def line(self, sentence: str) -> None:
        """Print one line of a result, never wrapped, so that scripts can use it."""
        if not self.as_json:
            self.out.print(Text(sentence), soft_wrap=True)

    def plan(self, run: Run, *, diff: bool, result: bool) -> None:
        """Print a plan: it is the result of `plan`, and a question of `provision`."""
        if result:
            self.result(views.plan(run, diff=diff))
        elif not self.as_json or self.can_ask:
            _emit(self.err, views.plan(run, diff=diff))

    def applied(self, run: Run) -> None:
        """Print the final table."""
        self.say("")
        self.result(results.applied(run, self.out.width))

    def keys(self, made: Sequence[tuple[str, str, str]]) -> None:
        """Show keys that were made, to a person only: what is not a terminal may be kept."""
        for host, service, key in made:
            place = f"/etc/stroke/secrets/{service}/api_key"
            self.say(f"\n{service} on {host} has a new key, which requests have to carry.")
            if self.err.is_terminal:
                self.hint("It is shown this once:", key)
            self.hint("To read it on the host:", f"sudo cat {place}")

    def verified(self, run: Run) -> None:
        """Print what verify found."""
        self.result(results.verified(run))

    def status(self, run: Run) -> None:
        """Print how the hosts are."""
        from .status import status

        self.result(status(run, self.out.width))

    def removed(self, run: Run) -> None:
        """Print what remove took away."""
        self.result(results.removed(run))

    def inspected(self, run: Run) -> None:
        """Print what the hosts are."""
        self.result(results.inspected(run))

    def captured(self, file: Path, hosts: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Say what is in an archive of hosts, and what was taken out of it."""
        for line in results.captured(file, hosts):
            self.say(line)

    def bundled(self, run: Run, file: Path, written: Mapping[str, str]) -> None:
        """Say what is in a bundle and what not, and that a person should look at it first."""
        for host in run.hosts.values():
            for item in () if host.name in written else views.problems(host):
                _emit(self.err, item)
        if not written:
            self.say(f"No host could be asked; {file} was not written.")
            return
        for name, directory in written.items():
            self.say(text.clean(f"{name} → {directory}/"))
        self.line(str(file))
        self.say("Look through it before you attach it; INDEX.md says what is in it.")

    def document(self, document: Mapping[str, Any]) -> None:
        """Print the report if it was asked for; nothing else is on stdout then."""
        if self.as_json:
            self.out.file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
            self.out.file.flush()

    def problem(self, problem: Problem) -> None:
        """Print what went wrong with the whole run."""
        _emit(self.err, views.problem(problem))

    def traceback(self) -> None:
        """Print the current exception for whoever mends stroke."""
        import traceback

        self.err.file.write(traceback.format_exc())

    def confirm(self, question: str) -> bool:
        """Ask; anything but yes is no, and so is what was typed before the question was there."""
        _forget_typed(sys.stdin)
        try:
            answer = self.err.input(Text(f"{question} [y/N] ", style="bold"))
        except EOFError:
            return False
        return answer.strip().lower() in ("y", "yes")

    def password(self, question: str) -> str:
        """Ask for a password without showing it."""
        import getpass

        return getpass.getpass(f"{question}: ")

    @contextmanager
    def follow(
        self, title: str, *, diff: bool = False, stages: bool = True, expected: int = 0
    ) -> Iterator[Follower]:
        """Show a run while it goes on; one that only looks at hosts has no stages."""
        follower = Follower(self, title, diff=diff, stages=stages, expected=expected)
        if self.plain:
            yield follower
            return
        with Live(
            console=self.err,
            get_renderable=follower.render,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield follower


class Follower:
    """Folds the events of one run and shows them as they come."""

    def __init__(
        self, console: Console, title: str, *, diff: bool, stages: bool, expected: int = 0
    ) -> None:
        self.run = Run()
        self._wide = 0
        self._fleet = progress.Waves(expected)
        self._console = console
        self._title = title
        self._diff = diff
        self._stages = stages
        self._note = ""
        self._tracker = progress.Tracker()
        unicode = (console.err.encoding or "").lower().startswith("utf")
        self._spinner = Spinner("dots" if unicode else "line", style="cyan")

    def event(self, event: Event) -> None:
        """Fold an event, and print a line if it is worth one."""
        self.run = fold(self.run, event)
        self._tracker.see(event)
        self._wide = max(self._wide, len(event.host))
        if (line := self._fleet.see(event)) and self._console.plain:
            self._print(line)
        if line := progress.log_line(event, wide=self._wide):
            self._print(line)
            if self._diff and (shown := _diff_of(event)):
                self._print(views.diff_text(shown))
        if self._console.debug and event.text:
            self._print(Text(event.text, style="dim"))

    def tick(self) -> None:
        """Give a sign of life where there is no live display."""
        if self._console.plain:
            for line in progress.heartbeat(self.run, self._tracker):
                self._print(line)

    def note(self, sentence: str) -> None:
        """Say something that stays visible until the run ends."""
        self._note = sentence
        if self._console.plain:
            self._print(Text(sentence))

    def render(self) -> RenderableType:
        """The live display as it is now."""
        size = (self._console.err.width, shutil.get_terminal_size().lines)
        return progress.board(
            self._title,
            self.run,
            self._tracker,
            self._spinner,
            size,
            self._note,
            stages=self._stages,
            waves=self._fleet,
        )

    def _print(self, line: Text) -> None:
        self._console.err.print(line, soft_wrap=self._console.plain)


def _diff_of(event: Event) -> str:
    """The text difference that a task reports with --diff."""
    import difflib

    diffs = event.result.get("diff")
    found = []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        if not isinstance(diff, dict):
            continue
        if diff.get("prepared"):
            found.append(str(diff["prepared"]))
        elif isinstance(diff.get("before"), str) and isinstance(diff.get("after"), str):
            before, after = diff["before"].splitlines(), diff["after"].splitlines()
            names = (str(diff.get("before_header") or ""), str(diff.get("after_header") or ""))
            found.append("\n".join(difflib.unified_diff(before, after, *names, lineterm="")))
    return "\n".join(part for part in found if part)


def _forget_typed(file: Any) -> None:
    import termios

    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(file.fileno(), termios.TCIFLUSH)


def _emit(console: Rich, renderable: RenderableType) -> None:
    """Print; what goes to a file has no blanks at the ends of its lines."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    lines = captured.get().splitlines()
    console.file.write("".join(f"{line.rstrip()}\n" for line in lines))
    console.file.flush()


def _rich(file: Any) -> Rich:
    width = None
    if not file.isatty() and "COLUMNS" not in os.environ:
        width = WIDTH_OF_A_PIPE
    steady = cast("TextIO", Steady(file))
    return Rich(file=steady, width=width, highlight=False, markup=False, emoji=False)
