"""What each command does: which playbooks run, what is asked, what is shown, how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import bundle as bundles
from . import capture, fleet, inventory, junit, this_machine
from .errors import Exit
from .handover import handover, keys
from .report import Interrupted, Run, mark_applied, merge, worst
from .text import count

if TYPE_CHECKING:
    from .session import Session

Command = Callable[["Session"], tuple[Run, Exit]]
# What a run that changes hosts is called while it goes on.
TITLES = {"provision": "Provisioning", "rollback": "Going back"}


def provision(session: Session) -> tuple[Run, Exit]:
    """Plan, ask, apply in waves, and say how it ended."""
    plan = session.known = session.play("plan", "Looking at the hosts", read_only=True)
    wanted = [
        host.name
        for host in plan.hosts.values()
        if host.exit is Exit.OK and (host.changes or session.options.full)
    ]
    if not wanted:
        session.console.plan(plan, diff=False, result=True)
        return plan, plan.exit
    session.console.plan(plan, diff=session.options.diff, result=False)
    if not session.options.check:
        more = ", and reboot it if needed" if session.options.after_reboot == "continue" else ""
        what = "Go back on" if session.command == "rollback" else "Apply to"
        session.confirm(f"{what} {count(len(wanted), 'host')}{more}?")
    title = "Checking" if session.options.check else TITLES[session.command]
    with handover() as made:
        extra = (json.dumps({"stroke_handover": os.fspath(made)}),)
        try:
            applied = _play_waves(session, title, plan, wanted, extra)
        except Interrupted as stopped:
            session.console.keys(keys(made))
            raise Interrupted(fleet.complete(plan, stopped.run, wanted)) from None
        run = fleet.complete(plan, applied, wanted)
        waits = session.where.local and this_machine.waits_for_reboot(run)
        if not waits:
            session.console.applied(run)
        session.console.keys(keys(made))
    if waits:
        return _reboot_here(session, run)
    _keep_unfinished(session, run)
    if run.exit is Exit.OK and not session.options.check and session.command == "provision":
        session.console.hint("Prove it again at any time:", session.options.again("verify"))
    return run, run.exit


def _reboot_here(session: Session, run: Run) -> tuple[Run, Exit]:
    """Reboot the machine that this very run is on; what is left is done after it."""
    going_on = session.options.after_reboot == "continue"
    now = "This machine has to reboot. Now?"
    can_ask = session.console.can_ask and not session.options.yes
    if not going_on and not (can_ask and session.console.confirm(now)):
        session.console.applied(run)
        session.console.hint(
            "Reboot it, then go on:", session.options.again(session.command, same=True)
        )
        return run, run.exit
    extra = json.dumps(this_machine.variables(session.options, os.environ, session.command))
    prepared = session.play("resume", "Preparing the reboot", tags=("all",), extra=(extra,))
    if prepared.exit is not Exit.OK:
        return merge(run, prepared), prepared.exit
    session.console.say("This machine reboots in a few seconds.")
    if going_on:
        session.console.say("It goes on by itself, as root; the next login tells the outcome.")
    else:
        session.console.hint("Then go on:", session.options.again(session.command, same=True))
    return this_machine.rebooting(run), Exit.OK


def _play_waves(
    session: Session, title: str, plan: Run, wanted: list[str], extra: tuple[str, ...]
) -> Run:
    """Work on the hosts in waves; what is not done is known even if this process is killed."""
    if _can_be_taken_up(session):
        _unfinished(session).write(fleet.left(plan), fleet.sources(session.options.hosts))
    extra = (*fleet.variables(session.options, len(wanted)), *extra)
    limit = fleet.limit(wanted, session.kept.directory)
    return session.play("site", title, limit=limit, extra=extra, expected=tuple(wanted))


def _keep_unfinished(session: Session, run: Run) -> None:
    """Keep what is not done, and name the command that takes it up."""
    if not _can_be_taken_up(session):
        return
    undone = fleet.left(run)
    _unfinished(session).write(undone, fleet.sources(session.options.hosts))
    if undone and len(run.hosts) > 1:
        only = replace(session.options, limit=(f"@{_unfinished(session).names}",))
        said = "No further wave was started. " if fleet.stopped(run) else ""
        session.console.hint(
            f"{said}For {count(len(undone), 'host')} that are not done:",
            only.again("provision", same=True),
        )


def plan(session: Session) -> tuple[Run, Exit]:
    """Show what would change, and why."""
    run = session.play("plan", "Looking at the hosts", read_only=True)
    session.console.plan(run, diff=session.options.diff, result=True)
    changing = any(host.status == "changes" for host in run.hosts.values())
    if changing:
        session.console.hint(
            "Nothing was changed. To apply:", session.options.again("provision", same=True)
        )
    if session.options.detailed_exitcode and changing:
        return run, worst([run.exit, Exit.CHANGES])
    return run, run.exit


def verify(session: Session) -> tuple[Run, Exit]:
    """Prove every layer, and write JUnit where asked for."""
    file = session.options.junit
    if file:
        junit.check(file)
    run = session.play("verify", "Verifying")
    session.console.verified(run)
    if file:
        junit.write(run, file)
    return run, run.exit


def status(session: Session) -> tuple[Run, Exit]:
    """One line for each host."""
    from .status import exit_of

    run = session.play("status", "Looking at the hosts")
    session.console.status(run)
    drifted = any(host.status == "changes" for host in run.hosts.values())
    if drifted:
        session.console.hint("What differs from the plan:", session.options.again("plan"))
    more = [Exit.CHANGES] if drifted and session.options.detailed_exitcode else []
    return run, worst([run.exit, *exit_of(run), *more])


def inspect(session: Session) -> tuple[Run, Exit]:
    """Show what the hosts are; keep it as a capture where asked for."""
    file = session.options.capture
    run = session.play("inspect", "Inspecting", tags=("all", "capture") if file else ())
    session.console.inspected(run)
    if file:
        session.console.captured(file, capture.write(run, file))
    return run, run.exit


def bundle(session: Session) -> tuple[Run, Exit]:
    """Write one archive for a bug report."""
    target = bundles.target(session.options.output)
    keep = session.options.keep_host_names
    extra = (json.dumps({"gpu_facts_keep_host_names": True}),) if keep else ()
    run = session.play("bundle", "Collecting", extra=extra)
    secrets = (*bundles.secrets_of(os.environ), *session.passwords.values())
    written = bundles.write(run, target, session.before, secrets=secrets, keep=keep)
    session.console.bundled(run, target, written)
    without = [host.exit for host in run.hosts.values() if host.name not in written]
    return run, worst(without)


def bench(session: Session) -> tuple[Run, Exit]:
    """Measure, compare and report."""
    from . import bench, bench_view
    from .bench_settings import Settings

    settings = session.options.bench or Settings()
    if settings.report:
        from .bench_chart import require

        require()
    run, documents = bench.finish(session.play("bench", "Measuring"), settings)
    session.known = run
    session.console.result(bench_view.measured(run))
    for path in bench.reports(documents, settings.report) if settings.report else ():
        session.console.say(f"Written: {path}")
    return run, run.exit


def rollback(session: Session) -> tuple[Run, Exit]:
    """Go back to a generation, or list them."""
    from . import rollback

    return rollback.rollback(session)


def remove(session: Session) -> tuple[Run, Exit]:
    """Take stroke back from hosts."""
    names = session.names(session.options.limit)
    if not names:
        inventory.require_hosts(session.where, session.names(()), session.options.limit)
    if not session.options.check:
        what = "and the packages it installed " if session.options.packages else ""
        session.confirm(f"Remove stroke {what}from {_few(names)}?")
    run = mark_applied(session.play("remove", "Removing"))
    session.console.removed(run)
    kept = any(host.packages for host in run.hosts.values())
    if kept and not session.options.packages and run.exit is Exit.OK:
        session.console.hint(
            "To remove the packages too:", session.options.again("remove --packages")
        )
    return run, run.exit


def _can_be_taken_up(session: Session) -> bool:
    """Whether `provision --resume` may go on with what this run leaves: it goes forward only."""
    return session.command == "provision" and not session.options.check


def _unfinished(session: Session) -> fleet.Unfinished:
    return fleet.Unfinished(session.kept.directory.parent)


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {count(len(names) - 4, 'more host')}"


COMMANDS: dict[str, Command] = {
    "provision": provision, "plan": plan, "verify": verify, "status": status,
    "inspect": inspect, "bundle": bundle, "bench": bench, "rollback": rollback, "remove": remove,
}  # fmt: skip
