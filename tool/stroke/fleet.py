"""Many hosts: in which waves, what a stopped run left undone, and how it is taken up again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import Exit, StrokeError
from .options import Options
from .report import HostRun, Run, merge

# One host first; if that one is well, half of the others at a time; the first failure stops.
CANARY, WAVE, MAX_FAILURES = "1", "50%", "0"
# With more hosts than this, --limit is a file: the kernel limits the length of one argument.
INLINE = 64
_SHARE = re.compile(r"[0-9]{1,6}|([0-9]{1,2}|100)%")
_NOBODY = re.compile(r"0+%?")
DONE = ("done", "converged", "ok")


def check(options: Options) -> None:
    """Refuse waves that are neither a number nor a percentage."""
    named = (("--canary", options.canary), ("--wave", options.wave),
             ("--max-failures", options.max_failures))  # fmt: skip
    for name, value in named:
        if value is not None and not _SHARE.fullmatch(value):
            raise StrokeError(
                f"{name} {value} is neither a number of hosts nor a percentage up to 100%",
                code="STK-643",
                hint=f"for example {name} 2, or {name} 25%",
            )
    if options.wave is not None and _NOBODY.fullmatch(options.wave):
        raise StrokeError(
            f"--wave {options.wave} is a wave without a host",
            code="STK-643",
            hint="one host at a time: --wave 1",
        )


def variables(options: Options, number: int) -> tuple[str, ...]:
    """The play's variables for that many hosts; what the user set with -e has the last word."""
    if number < 2 and not (options.canary or options.wave):
        return ()
    chosen = {
        "stroke_canary": options.canary or CANARY,
        "stroke_wave": options.wave or WAVE,
        "stroke_max_failures": options.max_failures or MAX_FAILURES,
    }
    return (json.dumps(chosen),)


def complete(plan: Run, applied: Run, wanted: Sequence[str]) -> Run:
    """The whole run; hosts on which no role began are `not started`, whatever a wave asked them."""
    begun = {name: host for name, host in applied.hosts.items() if _begun(host)}
    run = merge(plan, replace(applied, hosts=begun))
    waiting = {
        name: replace(plan.hosts[name], not_started=True)
        for name in wanted
        if name in plan.hosts and name not in begun
    }
    return replace(run, hosts={**run.hosts, **waiting})


def _begun(host: HostRun) -> bool:
    return bool(host.stage or host.failure)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Two files beside the last run: the names that `--limit @file` takes, and their inventory."""

    directory: Path

    @property
    def names(self) -> Path:
        """One host a line, as ansible wants it."""
        return self.directory / "unfinished.hosts"

    @property
    def _sources(self) -> Path:
        return self.directory / "unfinished.json"

    def write(self, hosts: Sequence[str], sources: Sequence[str]) -> None:
        """Keep what is not done; a directory that cannot be written stops nothing."""
        try:
            if not hosts:
                self.names.unlink(missing_ok=True)
                self._sources.unlink(missing_ok=True)
                return
            self.directory.mkdir(parents=True, exist_ok=True)
            for path, text in ((self._sources, json.dumps(list(sources))),
                               (self.names, "".join(f"{host}\n" for host in hosts))):  # fmt: skip
                new = path.with_suffix(f"{path.suffix}.new")
                new.write_text(text, encoding="utf-8")
                new.replace(path)
        except OSError:
            return

    def resume(self, options: Options) -> Options:
        """The options of a run that takes up what is not done, on the same inventory."""
        if not options.resume:
            return options
        if not self.names.is_file() or not self._sources.is_file():
            raise StrokeError(
                "no run is unfinished, so there is nothing to resume",
                code="STK-640",
                hint="leave --resume out: hosts that are done cost one look",
            )
        sources = tuple(json.loads(self._sources.read_text(encoding="utf-8")))
        if options.hosts and tuple(_same(options.hosts)) != tuple(_same(sources)):
            raise StrokeError(
                f"the unfinished run was on {' '.join(sources) or 'this machine'}",
                code="STK-640",
                hint=replace(options, hosts=sources).again("provision --resume"),
            )
        if options.limit:
            raise StrokeError(
                "--resume is a limit of its own", code="STK-640", hint="leave --limit out"
            )
        return replace(options, hosts=sources, limit=(f"@{self.names}",))


def _same(sources: Sequence[str]) -> list[str]:
    return [source if "," in source else str(Path(source).absolute()) for source in sources]


def sources(hosts: Sequence[str]) -> list[str]:
    """The inventory as it can be typed in any directory."""
    return _same(hosts)


def left(run: Run) -> list[str]:
    """Hosts of a run that are not done."""
    return [name for name, host in run.hosts.items() if host.status not in DONE]


def limit(names: Sequence[str], directory: Path) -> tuple[str, ...]:
    """What `--limit` gets: the names, or a file of them where they are many."""
    if len(names) <= INLINE:
        return tuple(names)
    path = directory / "limit.hosts"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    except OSError:
        return tuple(names)
    return (f"@{path}",)


def sentence(run: Run) -> str:
    """What became of many hosts, for the line below the table."""
    words = [host.status for host in run.hosts.values()]
    counted = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return f"{len(words)} hosts: {', '.join(counted)}."


def stopped(run: Run) -> bool:
    """Whether hosts were left out because others failed."""
    return any(host.not_started for host in run.hosts.values()) and run.exit is not Exit.OK
