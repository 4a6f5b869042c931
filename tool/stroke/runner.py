"""Run a playbook and hand out its events; the only module that knows ansible-runner."""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import content
from .errors import StrokeError
from .events import Event
from .interrupts import Interrupts
from .paths import runtime_dir

# Without it ssh would ask for a host key or a passphrase where nobody can answer.
NO_QUESTIONS = "-o BatchMode=yes"
# A host that lost its power says nothing: without these, ssh waits for it for ever. Three minutes
# are enough for one that is only busy.
ALIVE = "-o ServerAliveInterval=20 -o ServerAliveCountMax=9"
KILLED = 254
# Where jobs that outlive a connection keep their record: in memory, because a job that ended with
# the power of its host must be gone with it. On a disk it would look like one that goes on.
JOBS = "/run/stroke/async"
CONFIG_FILES = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of ansible-playbook, as the user asked for it."""

    playbook: Path
    inventory: tuple[str, ...]
    local: bool = False
    gentle: bool = False
    limit: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    check: bool = False
    diff: bool = False
    extra_vars: tuple[str, ...] = ()
    forks: int | None = None
    passthrough: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How ansible-playbook ended; what happened on the hosts is in the events."""

    rc: int
    interrupted: bool = False
    broken: str = ""


class Listener(Protocol):
    """Who wants to know; events and ticks come from one thread, signals from the main one."""

    def event(self, event: Event) -> None:
        """Take the next event."""

    def tick(self) -> None:
        """Called about once a second, also while nothing happens."""

    def signal(self, count: int) -> None:
        """Called for the first, second, … signal that asks to stop."""


class Backend(Protocol):
    """What runs playbooks; tests replay recorded events instead."""

    def run(self, job: Job, listener: Listener) -> Outcome:
        """Run the job to its end and hand every event to the listener, in order."""
        ...


class RunnerBackend:
    """The real thing: ansible-playbook through ansible-runner."""

    def run(self, job: Job, listener: Listener) -> Outcome:
        """Run the job in a private directory that is gone afterwards."""
        import ansible_runner

        command = [*bound(job), *command_line(job)]
        with (
            tempfile.TemporaryDirectory(prefix="stroke-", dir=runtime_dir()) as private,
            Interrupts(listener.signal, gentle=job.gentle) as interrupts,
            _Pump(listener, interrupts) as pump,
        ):
            result = ansible_runner.run(
                private_data_dir=private,
                project_dir=os.fspath(
                    Path.cwd()
                ),  # relative key paths and ./ansible.cfg keep working
                binary=command[0],
                cmdline=shlex.join(command[1:]),
                envvars=environment(job, os.environ),
                passwords=dict(job.passwords),
                quiet=True,
                suppress_env_files=True,
                settings={"pexpect_timeout": 1, "suppress_output_file": job.keep is None},
                event_handler=pump.put,
                cancel_callback=interrupts.hard,
            )
            stopped = interrupts.interrupted
            if job.keep is not None:
                _keep(Path(private), job.keep)
        rc = result.rc if isinstance(result.rc, int) else KILLED  # None after a signal
        return Outcome(rc=rc, interrupted=stopped, broken=pump.broken)


class _Pump:
    """Carry events from ansible-runner's thread to the one that draws, and never raise there.

    An exception in ansible-runner's handler would kill the play half way, a slow one would make
    its last read time out, so the handler only puts.
    """

    def __init__(self, listener: Listener, interrupts: Interrupts) -> None:
        self.broken = ""
        self._listener = listener
        self._interrupts = interrupts
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="events", daemon=True)

    def __enter__(self) -> _Pump:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def put(self, raw: dict[str, Any]) -> bool:
        """Take an event; False tells ansible-runner not to keep a file of it."""
        try:
            if raw.get("event") == "playbook_on_task_start":
                self._interrupts.between_steps()
            self._queue.put(Event.from_runner(raw))
        except Exception as error:  # see the class
            self.broken = self.broken or f"event {raw.get('counter')} not understood: {error!r}"
        return False

    def _drain(self) -> None:
        while True:
            event: Event | None = None
            try:
                event = self._queue.get(timeout=1.0)
                if event is None:
                    return
                self._listener.event(event)
            except queue.Empty:
                self._guard(self._listener.tick)
            except Exception as error:  # see the class
                self.broken = self.broken or f"event {event and event.counter}: {error!r}"

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # see the class
            self.broken = self.broken or f"progress not shown: {error!r}"


def executable(name: str) -> str:
    """Return ansible's program of this installation; pipx links only `stroke` onto PATH."""
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return os.fspath(beside)
    found = shutil.which(name)
    if found is None:
        raise StrokeError(
            f"{name} is not installed beside {sys.executable}",
            code="STK-902",
            hint="install stroke again: pipx install --force stroke",
        )
    return found


def bound(job: Job) -> list[str]:
    """Return what has the kernel ask ansible-playbook to stop when this process is killed.

    Left to itself it has lost its terminal, waits for ever for results that it cannot show there,
    and keeps the locks of its hosts. Work on this machine is not torn apart even then (`gentle`).
    """
    program = shutil.which("setpriv")  # of util-linux; busybox has one without the option
    if job.gentle or program is None or "busybox" in os.path.realpath(program):
        return []
    return [program, "--pdeathsig", "INT"]


def command_line(job: Job) -> list[str]:
    """Return the one command line; nothing secret is ever on it."""
    command = [executable("ansible-playbook"), os.fspath(job.playbook)]
    for source in job.inventory:
        command += ["-i", source]
    if job.local:
        command += ["-c", "local"]
    if job.limit:
        command += ["--limit", ",".join(job.limit)]
    if job.tags:
        command += ["--tags", ",".join(job.tags)]
    if job.check:
        command += ["--check"]
    if job.diff:
        command += ["--diff"]
    for setting in job.extra_vars:
        command += ["-e", setting]
    if job.forks:
        command += ["--forks", str(job.forks)]
    return [*command, *job.flags, *job.passthrough]


def environment(job: Job, env: Mapping[str, str]) -> dict[str, str]:
    """Return what we add to the environment; what the user set wins, except for colour."""
    roles = os.fspath(content.roles())
    theirs = env.get("ANSIBLE_ROLES_PATH")
    wanted = {
        "ANSIBLE_ASYNC_DIR": JOBS,
        "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",  # a second `hosts:` drops those of the first
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off unless it is set
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_INJECT_FACT_VARS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_PYTHON_INTERPRETER": _interpreter(job),
    }
    if not _has_config(env):
        wanted |= {"ANSIBLE_PIPELINING": "True"}
    ours = {key: value for key, value in wanted.items() if key not in env}
    ours["ANSIBLE_ROLES_PATH"] = f"{roles}:{theirs}" if theirs else roles
    ours["ANSIBLE_NOCOLOR"] = "1"
    ours["ANSIBLE_FORCE_COLOR"] = "0"
    asks = {"-k", "--ask-pass"} & {*job.passthrough}
    # What the user set comes first, which is what ssh goes by.
    options = (env.get("ANSIBLE_SSH_EXTRA_ARGS"), "" if asks else NO_QUESTIONS, ALIVE)
    ours["ANSIBLE_SSH_EXTRA_ARGS"] = " ".join(part for part in options if part)
    return ours


def _interpreter(job: Job) -> str:
    # On this machine discovery would find the virtual environment's Python, which has no apt.
    if job.local and Path("/usr/bin/python3").exists():
        return "/usr/bin/python3"
    return "auto_silent"


def _has_config(env: Mapping[str, str]) -> bool:
    return "ANSIBLE_CONFIG" in env or any(Path(f).expanduser().is_file() for f in CONFIG_FILES)


def _keep(private: Path, target: Path) -> None:
    """Copy ansible's own output for a bug report; not `command`, which holds the environment."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for source in private.glob("artifacts/*/stdout"):
        destination = target / f"ansible-{source.parent.name[:8]}.log"
        shutil.copyfile(source, destination)
        destination.chmod(0o600)
