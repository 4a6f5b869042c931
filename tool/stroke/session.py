"""One invocation of stroke: what all commands need before, around and after their playbooks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import artifacts, content, fleet, inventory, this_machine, version, vetting
from .commands import COMMANDS
from .console import Console
from .diagnosis import playbook_error
from .document import document
from .errors import Exit, Problem, StrokeError
from .handover import refuse_on_command_line
from .inventory import Inventory
from .listener import Listener
from .options import Options
from .report import HostRun, Interrupted, Run, stop
from .runner import Backend, Job, environment, executable


@dataclass(slots=True)
class Session:
    """One invocation of stroke."""

    command: str
    options: Options
    backend: Backend
    console: Console
    kept: artifacts.LastRun = field(default_factory=artifacts.LastRun)
    where: Inventory = field(default=inventory.THIS_MACHINE)
    known: Run = field(default_factory=Run)
    before: dict[str, Any] = field(default_factory=dict, repr=False)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    _changing: bool = False

    def execute(self) -> Exit:
        """Run the command and return its exit code; whatever happens, the report is written."""
        problems: tuple[Problem, ...] = ()
        try:
            self._prepare()
            run, code = self.dispatch()
        except StrokeError as error:
            self.console.problem(error.problem)
            run, code, problems = self.known, error.exit, (error.problem,)
        except (Interrupted, KeyboardInterrupt) as stopped:
            run = stopped.run if isinstance(stopped, Interrupted) else self.known
            code = Exit.INTERRUPTED
            self._say_interrupted(run)
        report = document(
            self.command, version(), run, code, problems=problems, check=self.options.check
        )
        self.kept.finish(report, self.options.keep)
        self.console.document(report)
        return code

    def dispatch(self) -> tuple[Run, Exit]:
        """Do what the command is for."""
        return COMMANDS[self.command](self)

    def _prepare(self) -> None:
        refuse_on_command_line((*self.options.extra_vars, *self.options.passthrough))
        for setting in self.options.extra_vars:
            if setting.startswith("@") and not Path(setting[1:]).expanduser().is_file():
                raise StrokeError(
                    f"no such file: -e {setting}", code="STK-106", hint="check the path after @"
                )
        vetting.settings(self.options.extra_vars)
        vetting.tags(self.options.tags)
        fleet.check(self.options)
        self.options = fleet.Unfinished(self.kept.directory.parent).resume(self.options)
        self.where = inventory.resolve(self.options.hosts)
        this_machine.check(self.options, local=self.where.local)
        vetting.vet(self.where, self.options.extra_vars)
        if self.where.local:
            self.console.say("No HOSTS given: this machine.")
        self.passwords = self._ask_passwords()
        self.before = self.kept.before() if self.command == "bundle" else {}
        self.kept.start()

    def play(
        self,
        playbook: str,
        title: str,
        *,
        limit: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        extra: tuple[str, ...] = (),
        read_only: bool = False,
        expected: tuple[str, ...] = (),
    ) -> Run:
        """Run one playbook to its end, or say why it did not run."""
        options = self.options
        extra = (*options.extra_vars, *extra)
        if playbook == "remove" and options.packages:
            extra = (*extra, "stroke_remove_packages=true")
        if playbook == "site" and options.full:
            extra = (*extra, "stroke_full=true")
        if self.command == "rollback" and playbook in ("plan", "site"):
            extra = (*extra, json.dumps({"stroke_generation": str(options.to or "previous")}))
        if options.bench:
            extra = (*options.bench.variables, *extra)
        self._changing = playbook in ("site", "remove") and not options.check
        job = Job(
            playbook=content.playbook(playbook),
            inventory=self.where.sources,
            local=self.where.local,
            gentle=self.where.local and self._changing,
            limit=limit or options.limit,
            tags=() if read_only else tags or options.tags,
            check=options.check and not read_only,
            diff=options.diff,
            extra_vars=extra,
            forks=options.forks,
            flags=options.flags,
            passthrough=options.passthrough,
            passwords=self.passwords,
            keep=options.keep,
        )
        stages = playbook == "site"
        with self.console.follow(
            title, diff=options.diff, stages=stages, expected=len(expected)
        ) as follower:
            listener = Listener(follower, self.kept, gentle=job.gentle)
            outcome = self.backend.run(job, listener)
        run = follower.run
        if read_only and options.tags:
            run = _only(run, options.tags)
        self.known = run
        if outcome.interrupted:
            raise Interrupted(stop(run))
        if outcome.broken:
            raise StrokeError(outcome.broken)
        if not run.begun:
            self._explain_silence(job, run)
        if outcome.rc != 0 and run.exit is Exit.OK:
            raise playbook_error(run.output, outcome.rc)
        return run

    def _explain_silence(self, job: Job, run: Run) -> None:
        """No task ran on any host: let ansible say what it thinks of the inventory."""
        everything = self.names(())
        inventory.require_hosts(self.where, everything, ())
        if self.options.limit and not self.names(self.options.limit):
            inventory.require_hosts(self.where, everything, self.options.limit)
        raise playbook_error(run.output, 0)

    def names(self, limit: tuple[str, ...]) -> tuple[str, ...]:
        env = environment(Job(Path(), self.where.sources), os.environ)
        return inventory.names(self.where, executable("ansible-inventory"), env, limit)

    def confirm(self, question: str) -> None:
        if self.options.yes:
            return
        again = self.options.again(self.command, same=True)
        if not self.console.can_ask:
            raise StrokeError(
                "this needs a yes, and there is no terminal to ask on",
                code="STK-105",
                hint=_with_flag(again, "--yes"),
            )
        if not self.console.confirm(question):
            raise StrokeError("nothing was changed, because the answer was not yes", code="STK-105")

    def _ask_passwords(self) -> dict[str, str]:
        """Ask now for what ansible would ask later, when nobody can answer."""
        prompts = self.options.prompts
        if prompts and not self.console.can_ask:
            raise StrokeError(
                "a password is wanted, and there is no terminal to ask on",
                code="STK-105",
                hint="give it in a file: -- --become-password-file FILE",
            )
        return {pattern: self.console.password(question) for pattern, question in prompts}

    def _say_interrupted(self, run: Run) -> None:
        stopped = [host for host in run.hosts.values() if host.stopped]
        if not self._changing or not stopped:
            self.console.say("Interrupted; nothing was changed.")
            return
        self.console.say("Interrupted.")
        for host in stopped:
            self.console.say(f"  {_where_was(host)}")
        if any(host.task for host in stopped) and not self.where.local:
            self.console.say("Package work that had begun on a host finishes there by itself.")
        self.console.hint("The next run continues:", self.options.again(self.command, same=True))


def _with_flag(command: str, flag: str) -> str:
    """Add a flag before what is meant for ansible-playbook."""
    words, separator, rest = command.partition(" -- ")
    return f"{words} {flag}{separator}{rest}"


def _where_was(host: HostRun) -> str:
    if not host.task:
        return f"{host.name} was between two steps"
    role = f"{host.role}: " if host.role else ""
    return f"{host.name} was in “{role}{host.task}”"


def _only(run: Run, tags: tuple[str, ...]) -> Run:
    """Keep the changes that a run with these tags would make; the plan itself looks at all."""
    wanted = {tag for group in tags for tag in group.split(",")}
    if "all" in wanted:
        return run
    hosts = {
        name: replace(
            host,
            changes=None
            if host.changes is None
            else tuple(c for c in host.changes if wanted & {c.stage, c.role}),
        )
        for name, host in run.hosts.items()
    }
    return replace(run, hosts=hosts)
