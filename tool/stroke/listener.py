"""What a session does with the events and signals of a run that goes on."""

from __future__ import annotations

from dataclasses import dataclass

from .artifacts import LastRun
from .console import Follower
from .events import Event


@dataclass(slots=True)
class Listener:
    """Passes events on to the display and to the file."""

    follower: Follower
    kept: LastRun
    gentle: bool

    def event(self, event: Event) -> None:
        """One event of the run."""
        self.kept.event(event)
        self.follower.event(event)

    def tick(self) -> None:
        """Time has passed."""
        self.follower.tick()

    def signal(self, count: int) -> None:
        """The user wants to stop, for the first or for another time."""
        if count > 1:
            self.follower.note("stopping now")
        elif self.gentle:
            self.follower.note("stopping after the current step; press Ctrl-C again to stop now")
        else:
            self.follower.note("stopping; press Ctrl-C again to stop now")
