"""What each command does: which playbooks run, what is asked, what is shown, how it ends."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import artifacts, capture, content, fleet, inventory, junit, version, vetting
from .console import Console
from .diagnosis import playbook_error
from .document import document
from .errors import Exit, Problem, StrokeError
from .handover import handover, keys, refuse_on_command_line
from .inventory import Inventory
from .listener import Listener
from .options import Options
from .report import HostRun, Run, mark_applied, stop, worst
from .runner import Backend, Job, environment, executable
from .text import count


class Interrupted(Exception):
    """The user stopped the run; carries what was known by then."""

    def __init__(self, run: Run) -> None:
        super().__init__("interrupted")
        self.run = run


@dataclass(slots=True)
class Session:
    """One invocation of stroke."""

    command: str
    options: Options
    backend: Backend
    console: Console
    kept: artifacts.LastRun = field(default_factory=artifacts.LastRun)
    _where: Inventory = field(default=inventory.THIS_MACHINE)
    _passwords: dict[str, str] = field(default_factory=dict, repr=False)
    _known: Run = field(default_factory=Run)
    _changing: bool = False

    def execute(self) -> Exit:
        """Run the command and return its exit code; whatever happens, the report is written."""
        problems: tuple[Problem, ...] = ()
        try:
            self._prepare()
            run, code = self._dispatch()
        except StrokeError as error:
            self.console.problem(error.problem)
            run, code, problems = self._known, error.exit, (error.problem,)
        except (Interrupted, KeyboardInterrupt) as stopped:
            run = stopped.run if isinstance(stopped, Interrupted) else self._known
            code = Exit.INTERRUPTED
            self._say_interrupted(run)
        report = document(
            self.command, version(), run, code, problems=problems, check=self.options.check
        )
        self.kept.finish(report, self.options.keep)
        self.console.document(report)
        return code

    def _dispatch(self) -> tuple[Run, Exit]:
        match self.command:
            case "provision":
                return self._provision()
            case "plan":
                return self._plan()
            case "verify":
                return self._verify()
            case "status":
                return self._status()
            case "inspect":
                return self._inspect()
            case "bench":
                return self._bench()
            case _:
                return self._remove()

    def _prepare(self) -> None:
        refuse_on_command_line((*self.options.extra_vars, *self.options.passthrough))
        for setting in self.options.extra_vars:
            if setting.startswith("@") and not Path(setting[1:]).expanduser().is_file():
                raise StrokeError(
                    f"no such file: -e {setting}", code="STK-106", hint="check the path after @"
                )
        fleet.check(self.options)
        self.options = self._unfinished.resume(self.options)
        self._where = inventory.resolve(self.options.hosts)
        vetting.vet(self._where, self.options.extra_vars)
        if self._where.local:
            self.console.say("No HOSTS given: this machine.")
        self._passwords = self._ask_passwords()
        self.kept.start()

    def _provision(self) -> tuple[Run, Exit]:
        plan = self._known = self._play("plan", "Looking at the hosts", read_only=True)
        wanted = [
            host.name
            for host in plan.hosts.values()
            if host.exit is Exit.OK and (host.changes or self.options.full)
        ]
        if not wanted:
            self.console.plan(plan, diff=False, result=True)
            return plan, plan.exit
        self.console.plan(plan, diff=self.options.diff, result=False)
        if not self.options.check:
            self._confirm(f"Apply to {count(len(wanted), 'host')}?")
        title = "Checking" if self.options.check else "Provisioning"
        with handover() as made:
            extra = (json.dumps({"stroke_handover": os.fspath(made)}),)
            try:
                applied = self._play_waves(title, plan, wanted, extra)
            except Interrupted as stopped:
                self.console.keys(keys(made))
                raise Interrupted(fleet.complete(plan, stopped.run, wanted)) from None
            run = fleet.complete(plan, applied, wanted)
            self.console.applied(run)
            self.console.keys(keys(made))
        self._keep_unfinished(run)
        if run.exit is Exit.OK and not self.options.check:
            self.console.hint("Prove it again at any time:", self.options.again("verify"))
        return run, run.exit

    @property
    def _unfinished(self) -> fleet.Unfinished:
        return fleet.Unfinished(self.kept.directory.parent)

    def _play_waves(self, title: str, plan: Run, wanted: list[str], extra: tuple[str, ...]) -> Run:
        """Work on the hosts in waves; what is not done is known even if this process is killed."""
        if not self.options.check:
            self._unfinished.write(fleet.left(plan), fleet.sources(self.options.hosts))
        extra = (*fleet.variables(self.options, len(wanted)), *extra)
        limit = fleet.limit(wanted, self.kept.directory)
        return self._play("site", title, limit=limit, extra=extra, expected=tuple(wanted))

    def _keep_unfinished(self, run: Run) -> None:
        """Keep what is not done, and name the command that takes it up."""
        if self.options.check:
            return
        undone = fleet.left(run)
        self._unfinished.write(undone, fleet.sources(self.options.hosts))
        if undone and len(run.hosts) > 1:
            only = replace(self.options, limit=(f"@{self._unfinished.names}",))
            said = "No further wave was started. " if fleet.stopped(run) else ""
            self.console.hint(
                f"{said}For {count(len(undone), 'host')} that are not done:",
                only.again("provision", same=True),
            )

    def _plan(self) -> tuple[Run, Exit]:
        run = self._play("plan", "Looking at the hosts", read_only=True)
        self.console.plan(run, diff=self.options.diff, result=True)
        changing = any(host.status == "changes" for host in run.hosts.values())
        if changing:
            self.console.hint(
                "Nothing was changed. To apply:", self.options.again("provision", same=True)
            )
        if self.options.detailed_exitcode and changing:
            return run, worst([run.exit, Exit.CHANGES])
        return run, run.exit

    def _verify(self) -> tuple[Run, Exit]:
        file = self.options.junit
        if file:
            junit.check(file)
        run = self._play("verify", "Verifying")
        self.console.verified(run)
        if file:
            junit.write(run, file)
        return run, run.exit

    def _status(self) -> tuple[Run, Exit]:
        from .status import exit_of

        run = self._play("status", "Looking at the hosts")
        self.console.status(run)
        drifted = any(host.status == "changes" for host in run.hosts.values())
        if drifted:
            self.console.hint("What differs from the plan:", self.options.again("plan"))
        more = [Exit.CHANGES] if drifted and self.options.detailed_exitcode else []
        return run, worst([run.exit, *exit_of(run), *more])

    def _inspect(self) -> tuple[Run, Exit]:
        file = self.options.capture
        run = self._play("inspect", "Inspecting", tags=("all", "capture") if file else ())
        self.console.inspected(run)
        if file:
            self.console.captured(file, capture.write(run, file))
        return run, run.exit

    def _bench(self) -> tuple[Run, Exit]:
        from . import bench, bench_view
        from .bench_settings import Settings

        settings = self.options.bench or Settings()
        if settings.report:
            from .bench_chart import require

            require()
        run, documents = bench.finish(self._play("bench", "Measuring"), settings)
        self._known = run
        self.console.result(bench_view.measured(run))
        for path in bench.reports(documents, settings.report) if settings.report else ():
            self.console.say(f"Written: {path}")
        return run, run.exit

    def _remove(self) -> tuple[Run, Exit]:
        names = self._names(self.options.limit)
        if not names:
            inventory.require_hosts(self._where, self._names(()), self.options.limit)
        if not self.options.check:
            what = "and the packages it installed " if self.options.packages else ""
            self._confirm(f"Remove stroke {what}from {_few(names)}?")
        run = mark_applied(self._play("remove", "Removing"))
        self.console.removed(run)
        kept = any(host.packages for host in run.hosts.values())
        if kept and not self.options.packages and run.exit is Exit.OK:
            self.console.hint(
                "To remove the packages too:", self.options.again("remove --packages")
            )
        return run, run.exit

    def _play(
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
        if options.bench:
            extra = (*options.bench.variables, *extra)
        self._changing = playbook in ("site", "remove") and not options.check
        job = Job(
            playbook=content.playbook(playbook),
            inventory=self._where.sources,
            local=self._where.local,
            gentle=self._where.local and self._changing,
            limit=limit or options.limit,
            tags=() if read_only else tags or options.tags,
            check=options.check and not read_only,
            diff=options.diff,
            extra_vars=extra,
            forks=options.forks,
            flags=options.flags,
            passthrough=options.passthrough,
            passwords=self._passwords,
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
        self._known = run
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
        everything = self._names(())
        inventory.require_hosts(self._where, everything, ())
        if self.options.limit and not self._names(self.options.limit):
            inventory.require_hosts(self._where, everything, self.options.limit)
        raise playbook_error(run.output, 0)

    def _names(self, limit: tuple[str, ...]) -> tuple[str, ...]:
        env = environment(Job(Path(), self._where.sources), os.environ)
        return inventory.names(self._where, executable("ansible-inventory"), env, limit)

    def _confirm(self, question: str) -> None:
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
        if any(host.task for host in stopped) and not self._where.local:
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


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {count(len(names) - 4, 'more host')}"


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
