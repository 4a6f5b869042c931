"""What the guard's unit does in each boot of an open transaction: judge the trial, or go back."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import disk
import health
import menu
import state as states
import units
from state import Json, Places

if TYPE_CHECKING:
    from guard import Guard

# Where the state cannot be read there is no deadline of the order either.
DEADLINE_SECONDS = 900


def watch(guard: Guard, clock: Callable[[], float], pause: Callable[[float], None]) -> str:
    """In a trial: go back unless all holds in time. Gives the reason to go back, or nothing."""
    while True:
        try:
            with guard.locked():
                data = guard.settled()
                verdict = _judge(guard, data, clock())
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            # Early in a boot nothing can be written yet, or the state is not mounted.
            late = clock() > DEADLINE_SECONDS
            verdict = f"the guard cannot work: {error}" if late else None
            if late and f"{menu.LKG}=" in guard.command_line:
                states.say(str(verdict))
                return ""  # from there is no way back
        if verdict is not None:
            return verdict
        pause(2)


def _judge(guard: Guard, data: Json, seconds: float) -> str | None:
    """A reason to go back, empty when there is nothing to watch, None to go on watching."""
    runs = guard.running(data)
    if runs == "lkg":
        if _restore_modules(guard.places, data):
            # Too late for devices whose drivers were asked for before: the next boot has them.
            states.say("starting again with them")
            units.reboot()
        why = data.get("why") or "a transaction is open"
        states.say(f"this is the last known good system: {why}")
        return ""
    if runs != "trial" or data["phase"] not in ("trial", "healthy"):
        if not data and any(f"{word}=" in guard.command_line for word in (menu.LKG, menu.TRIAL)):
            raise KeyError("there is no state")
        return ""
    wrong = health.wrong_system(data["expected"])
    if wrong:
        return "; ".join(wrong)
    failing: list[str] = health.failing(data["expected"])
    if data["phase"] == "trial":
        if failing and seconds > data["health_seconds"]:
            return "; ".join(failing)
        if failing != data.get("failing"):
            data = states.save(guard.places, {**data, "failing": failing}, "trial")
        if not failing:
            data = states.save(guard.places, data, "healthy")
            states.say("the new system is sound; waiting to be confirmed")
    if data["phase"] == "healthy" and data["confirm"] == "local":
        return ""
    if seconds > data["deadline_seconds"]:
        return f"nobody confirmed it within {data['deadline_seconds']} s"
    return None


def _restore_modules(places: Places, data: Json) -> bool:
    """The modules of the last known good kernel, where its package is gone; whether they came."""
    release = str(data.get("lkg", {}).get("release") or "")
    kept, needed = places.modules / release, places.root / "lib/modules" / release
    if release and kept.is_dir() and not (needed / "modules.dep").is_file():
        disk.remove_tree(needed)
        disk.link_tree(kept, needed)
        states.say(f"the modules of {release} are back")
        return (needed / "modules.dep").is_file()
    return False


def go_back(guard: Guard, why: str) -> None:
    """Reboot into the last known good system, by force where systemd does not do it."""
    states.say(f"going back to the last known good system: {why}")
    with contextlib.suppress(OSError, ValueError), guard.locked():
        states.save(guard.places, states.load(guard.places), "reverting", why)
    units.reboot()
    time.sleep(60)
    for letter in "sub":  # sync, remount read-only, boot
        Path("/proc/sysrq-trigger").write_text(letter, encoding="ascii")
        time.sleep(2)
