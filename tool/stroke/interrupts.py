"""Stop a running ansible-playbook without leaving a process behind.

The first signal asks: SIGINT to ansible-playbook, which tells its workers (they live in their own
sessions, so killing the process group would orphan them). Work on a remote host goes on there
when its connection ends; work on this machine would be torn apart, so it is waited for
(`gentle`). The second signal kills every descendant. On Linux this process adopts orphans while
it runs, so that nothing can slip away from the list of descendants.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Interrupts:
    """Context in which signals stop the playbook first gently, then at once."""

    def __init__(self, on_signal: Callable[[int], None], *, gentle: bool = False) -> None:
        self.count = 0
        self._gentle = gentle
        self._on_signal = on_signal
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Interrupts:
        _adopt_orphans(True)
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.count or error is not None:
            kill_descendants()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        _adopt_orphans(False)

    @property
    def interrupted(self) -> bool:
        """Whether the user asked to stop."""
        return self.count > 0

    def hard(self) -> bool:
        """Whether to stop without waiting; ansible-runner polls this."""
        return self.count > 1

    def between_steps(self) -> None:
        """Called when one step ended and the next one begins: the moment to stop gently."""
        if self.count:
            self._ask()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            kill_descendants()
        elif not (self._gentle and number == signal.SIGINT):
            self._ask()
        self._on_signal(self.count)

    def _ask(self) -> None:
        for child in children(os.getpid()):
            _send(child, signal.SIGINT)


def children(pid: int) -> list[int]:
    """Return the direct children of a process, of all its threads."""
    tasks = Path(f"/proc/{pid}/task")
    if tasks.is_dir():
        found: list[int] = []
        for task in tasks.iterdir():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
        return found
    table = subprocess.run(
        ["ps", "-axo", "pid=,ppid="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    pairs = (line.split() for line in table.splitlines())
    return [int(pair[0]) for pair in pairs if len(pair) == 2 and pair[1] == str(pid)]


def descendants(pid: int) -> Iterator[int]:
    """Yield every process below this one, parents before their children."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def kill_descendants(*, patience: float = 3.0) -> None:
    """Kill and reap everything below this process; what forks meanwhile is caught again."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        alive = [pid for pid in descendants(os.getpid()) if not _is_zombie(pid)]
        if not alive:
            break
        for pid in alive:
            _send(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _adopt_orphans(on: bool) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
