"""A guest that stroke has provisioned, and its disk, which tests start from as often as they like.

To work on such tests without a quarter of an hour of waiting each time, keep one in a terminal:
    python -m tests.vm.provisioned DIRECTORY
    STROKE_PROVISIONED=DIRECTORY pytest -m slow tests/vm/test_drift.py
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stroke.sandbox import Sandbox, SandboxOptions

from tests.vm.guest import Guest, Result, start
from tests.vm.power import Power

HELD = "STROKE_PROVISIONED"
UNIT = "stroke-inference.service"
OPTIONS = SandboxOptions(name="stroke-provisioned")


@dataclass
class Provisioned:
    """The guest, its disk as it was after the run, and what was found before its shutdown."""

    guest: Guest
    power: Power
    disk: Path
    result: Result
    seconds: float
    trial: list[str]
    words: list[str]

    def start(self) -> None:
        """As it was provisioned, and serving."""
        self.power.start_from(self.disk)
        self.serves()

    def serves(self, seconds: int = 300) -> None:
        """Wait for a completion: the service takes a while after a boot."""
        self.guest.wait_for_unit(UNIT, seconds)
        answer = self.guest.complete(self.result.host["endpoint"]["model"])
        assert answer["choices"][0]["message"]["content"]


def words(guest: Guest) -> list[str]:
    """The kernel's arguments, without those that the boot loader itself adds."""
    found = guest.run("cat /proc/cmdline").split()
    return [word for word in found if not word.startswith("BOOT_IMAGE=")]


@contextmanager
def provision(state: Path) -> Iterator[Provisioned]:
    """Make one; it is gone with the block."""
    guest = start(state, OPTIONS)
    try:
        began = time.monotonic()
        result = guest.stroke("provision", "--yes")
        seconds = time.monotonic() - began
        assert result.status == 0, result
        power, trial = Power(guest), words(guest)
        guest.reboot()
        left = words(guest)
        power.save_console(guest.sandbox.directory / "provisioned.log")
        yield Provisioned(guest, power, power.keep("provisioned"), result, seconds, trial, left)
    finally:
        guest.sandbox.down()


@contextmanager
def held(state: Path) -> Iterator[Provisioned]:
    """One that is kept in another terminal; what a test did to it is gone with the block."""
    os.environ["XDG_STATE_HOME"] = os.fspath(state)
    kept = dict[str, Any](json.loads((state / "held.json").read_text(encoding="utf-8")))
    guest = Guest(Sandbox(OPTIONS), state)
    power = Power(guest, kept.pop("arguments"))
    result = Result(**kept.pop("result"))
    try:
        yield Provisioned(guest, power, Path(kept.pop("disk")), result, **kept)
    finally:
        power.cut()


def hold(state: Path) -> None:
    """Make one, and keep it until the keyboard says that it is enough."""
    state.mkdir(parents=True, exist_ok=True)
    with provision(state) as made:
        kept = {
            "arguments": made.power.arguments, "disk": os.fspath(made.disk),
            "result": asdict(made.result), "seconds": made.seconds,
            "trial": made.trial, "words": made.words,
        }  # fmt: skip
        (state / "held.json").write_text(json.dumps(kept), encoding="utf-8")
        print(f"{HELD}={state} is ready; Ctrl-C ends it", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            (state / "held.json").unlink()


if __name__ == "__main__":
    hold(Path(sys.argv[1]).resolve())
