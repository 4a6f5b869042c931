"""The sandbox commands: what they print around stroke.sandbox, which prints nothing itself."""

from __future__ import annotations

import shlex
import signal
import time
from types import FrameType
from typing import Any

from .console import Console
from .errors import Exit
from .sandbox import Sandbox, SandboxOptions
from .text import clock


def options(**given: Any) -> SandboxOptions:
    """Return the options of a sandbox."""
    return SandboxOptions(**given)


def up(chosen: SandboxOptions) -> int:
    """Boot it, tell each step, and print the inventory as the result."""
    console = Console()
    began = time.monotonic()

    def progress(sentence: str) -> None:
        console.say(f"{clock(time.monotonic() - began):>6}  {sentence}")

    signal.signal(signal.SIGTERM, _stop)  # like Ctrl-C: what was started is taken down again
    inventory = Sandbox(chosen, progress).up()
    console.line(str(inventory))
    console.hint("Next:", f"stroke provision {shlex.quote(str(inventory))}")
    return int(Exit.OK)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def down(chosen: SandboxOptions) -> int:
    """Take it away."""
    console = Console()
    Sandbox(chosen, console.say).down()
    return int(Exit.OK)


def ssh(chosen: SandboxOptions, command: list[str]) -> int:
    """Hand over to ssh; its exit code is ours."""
    return Sandbox(chosen).ssh(command)
