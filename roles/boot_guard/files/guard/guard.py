"""The host's side of the boot transaction: hold, arm, watch, confirm, commit, or back.

Orders come as JSON on standard input; each command prints one JSON document and may be repeated.
Whatever it is cut off by, the next boot is that of the last known good system, until a commit ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Union

import disk
import health
import menu
import probe
import reading
import state as states
import strictness
import units
import watch
from loader_grub import Grub
from loader_systemd import SystemdBoot
from refused import Refused
from state import Json, Places

COMMANDS = ("hold", "arm", "confirm", "commit", "revert", "tidy", "abort", "status")
SMALLEST_BYTES = 4 * 1024**2
# What may be open when the last known good system runs.
UNDECIDED = ("armed", "trial", "healthy", "confirmed", "committing", "reverting")
ENDED_WITHOUT_A_WORD = {
    "armed": "the new system ended before its guard began: a kernel panic, no root file system, "
    "a kernel that cannot be loaded, or a power cut",
    "trial": "the new system ended while it was being judged: a crash, a watchdog or a power cut",
    "healthy": "the new system was sound, and ended before stroke confirmed it: "
    "a crash or a power cut",
    "confirmed": "the power went before the confirmed system was made permanent",
    "committing": "the power went before the confirmed system was made permanent",
}


Loader = Union[Grub, SystemdBoot]


class Guard:
    """The commands on one host."""

    def __init__(self, places: Places, command_line: str) -> None:
        self.places = places
        self.command_line = command_line
        systemd_boot = probe.known_loader(places.root) == probe.SYSTEMD_BOOT
        self.loader: Loader = SystemdBoot(places) if systemd_boot else Grub(places)

    def running(self, data: Json) -> str:
        """Which system of the transaction runs: trial, lkg or neither."""
        return probe.running(self.command_line, str(data.get("transaction") or ""))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time; the watching unit is one of them."""
        folder = self.places.state.parent
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def settled(self) -> Json:
        """The state, with what the running system says about how it went on."""
        data = states.load(self.places)
        phase, runs = data.get("phase"), self.running(data)
        if runs == "lkg" and phase in UNDECIDED:
            why = data.get("why") if phase == "reverting" else self._silent(str(phase), data)
            return states.save(self.places, data, "reverted", str(why))
        if runs == "trial" and phase == "armed":
            return states.save(self.places, data, "trial")
        if not runs and phase == "committing" and not self.loader.open():
            return states.save(self.places, data, "committed")
        return data

    def _silent(self, phase: str, data: Json) -> str:
        if phase == "armed" and self.loader.untried():
            return self.loader.untried()
        why = ENDED_WITHOUT_A_WORD[phase]
        failing = data.get("failing") or []
        return f"{why} (until then {'; '.join(failing)})" if failing and phase == "trial" else why

    def hold(self, order: Json) -> Json:
        """Freeze the running system, and let it start by default until the transaction ends."""
        data = self.settled()
        release = reading.text(self.places.root, "/proc/sys/kernel/osrelease").strip()
        found = probe.obstacles(self.places.root, release, self.command_line)
        if found:
            raise Refused("STK-420", "; ".join(found))
        keys = ["lkg", *self.loader.keys]
        if self.loader.open() and data.get("lkg"):
            self.loader.hold()
            if self.running(data) != "lkg":  # what a trial switched on is not what was before it
                keys += ["baseline", "strictness"]
        else:
            # What an end that was cut off has left, or a menu that would name copies of nothing.
            self.loader.close(data)
            self._require_whole(release)
            kept = self.loader.freeze(release)
            modules = self.places.root / "lib/modules" / release
            disk.remove_tree(self.places.modules)
            if modules.is_dir():
                disk.link_tree(modules, self.places.modules / release)
            self.loader.hold()
            words = menu.own_words(self.command_line)
            data = {**kept, "lkg": {"release": release, "words": words}}
        data = {key: data[key] for key in keys if key in data}
        data["transaction"] = secrets.token_hex(6)
        data.setdefault("baseline", health.baseline())
        data.setdefault("strictness", strictness.read(self.places.root))
        data = states.save(self.places, data, "held")
        units.install(self.places)
        units.reload()
        self.loader.show(data)
        states.say(f"{data['lkg']['release']} stays the default until the change has proven itself")
        return data

    def arm(self, order: Json) -> Json:
        """Choose the new kernel and arguments for one boot."""
        data = self.settled()
        if not data.get("lkg") or not self.loader.open():
            raise Refused("STK-511", "there is no open boot transaction to try a kernel in")
        release = order["release"]
        self._require_whole(release)
        if "panic=0" in order["arguments"]:
            raise Refused("STK-420", "panic=0 would leave a kernel that panics where it is")
        self.loader.hold()
        self.loader.refresh()  # with what an administrator has set since the last one was made
        kernel, stock = self.loader.stock(data, release if order.get("chosen") else "")
        if kernel != self.loader.called(release):
            raise Refused("STK-512", self._no_entry(release) if order.get("chosen")
                          else self._other_default(kernel, release))  # fmt: skip
        words = menu.with_arguments(stock, order["arguments"], order["managed"])
        bad = self.loader.changed(words)
        if bad:
            name = self.loader.name
            raise Refused("STK-420", f"{name} would change the arguments {' '.join(bad)}")
        data["permanent"] = words
        # What the user has set holds in the trial, too: each of these is to be there once.
        own = {menu.key(word) for word in order["arguments"]}
        strict = [word for word in order["trial_arguments"] if menu.key(word) not in own]
        data["trial"] = {"release": release, "words": [*words, *strict]}
        data["expected"] = {"release": release, "arguments": order["arguments"],
                            "gpus": order["gpus"], **data["baseline"]}  # fmt: skip
        for key in ("health_seconds", "deadline_seconds", "confirm"):
            data[key] = order[key]
        self.loader.show(data)
        data = states.save(self.places, data, "armed")
        self.loader.choose()
        states.say(f"the next boot tries {release}")
        return data

    def _require_whole(self, release: str) -> None:
        """A build of an initramfs that was cut off leaves a kernel that cannot start."""
        for path in self.loader.files(release):
            if not path.is_file() or path.stat().st_size < SMALLEST_BYTES:
                raise Refused("STK-501", f"{path} is missing or too small to be whole")

    def confirm(self, order: Json) -> Json:
        """The controller, over a connection made after the boot, says that it is the right one."""
        data = self.settled()
        if data.get("transaction") != order["transaction"]:
            raise Refused("STK-511", "another run has begun a boot transaction of its own")
        phase, runs = data["phase"], self.running(data)
        if runs == "trial" and phase == "healthy":
            states.say("confirmed by the controller")
            data = states.save(self.places, data, "confirmed")
        return {**data, "running": runs}

    def commit(self, order: Json) -> Json:
        """Let the distribution's own menu start what was tried, and end the transaction."""
        data = self.settled()
        if data.get("phase") != "committed":
            if data.get("phase") not in ("confirmed", "committing") or not (
                self.running(data) == "trial"
            ):
                raise Refused("STK-511", "only a confirmed system that runs can be made permanent")
            if self._difference(data):
                self.loader.refresh()  # a run that was cut off may have left an older one
            difference = self._difference(data)
            if difference:
                raise Refused("STK-512", difference)
            data = states.save(self.places, data, "committing")
            self.loader.close(data)
            data = states.save(self.places, data, "committed")
        if self.running(data) == "trial":
            strictness.restore(self.places.root, data.get("strictness") or {})
        self._tidy()
        return data

    def _difference(self, data: Json) -> str:
        """How the entry that starts from now on differs from what was tried; or empty."""
        kernel, words = self.loader.stock(data)
        release = str(data["trial"]["release"])
        if kernel != self.loader.called(release):
            return self._other_default(kernel, release)
        differs = sorted(set(words) ^ set(data["permanent"]))
        found = f"the menu's default entry and what was tried differ in {' '.join(differs)}"
        return found if differs else ""

    def _other_default(self, kernel: str, release: str) -> str:
        other = kernel or f"an entry that only the running {self.loader.name} knows"
        called = self.loader.called(release)
        return f"{other} is the boot menu's default, and {called} is the new kernel"

    def _no_entry(self, release: str) -> str:
        return f"the boot menu has no entry of its own for {self.loader.called(release)}"

    def revert(self, order: Json) -> Json:
        """The controller has found something: go back now."""
        data = self.settled()
        if self.running(data) == "trial":
            data = states.save(self.places, data, "reverting", str(order["why"]))
            units.reboot()
        return data

    def tidy(self, order: Json) -> Json:
        """Finish what was cut off before it was open, or after it was closed."""
        data = self.settled()
        if not self.loader.open():
            self.loader.close(data)
            if data.get("phase") not in ("committed", "reverted"):
                disk.remove(self.places.state)
            self._tidy()
        return data

    def abort(self, order: Json) -> Json:
        """Take everything away, and leave the menu to the distribution."""
        units.stop()  # without a state it would go back, and keep a state of that
        data = states.load(self.places)
        if self.running(data) == "trial":
            strictness.restore(self.places.root, data.get("strictness") or {})
        self.loader.close(data)
        disk.remove(self.places.state)
        self._tidy()
        return {"phase": "none"}

    def _tidy(self) -> None:
        self.loader.clear()
        disk.remove_tree(self.places.modules)
        disk.remove(self.places.code)
        with contextlib.suppress(OSError):
            self.places.code.parent.rmdir()
        units.remove(self.places)  # last: the manifest looks for it
        units.reload()

    def status(self, order: Json) -> Json:
        """The state, and which system of it runs."""
        data = self.settled()
        return {**data, "running": self.running(data)}


def main(arguments: list[str]) -> int:
    """Do one command; what cannot be done is told as a problem, not as a traceback."""
    guard = Guard(Places(), Path("/proc/cmdline").read_text(encoding="utf-8"))
    name = arguments[0] if arguments else ""
    if name == "watch":
        why = watch.watch(guard, time.monotonic, time.sleep)
        if why:
            watch.go_back(guard, why)
        return 0
    if name not in COMMANDS:
        print(f"usage: guard.py {'|'.join(COMMANDS)}|watch", file=sys.stderr)
        return 2
    order = {} if sys.stdin.isatty() else json.loads(sys.stdin.read() or "{}")
    sys.stdout, out = sys.stderr, sys.stdout  # sentences are not the answer
    try:
        with guard.locked():
            answer = getattr(guard, name)(order)
    except Refused as refused:
        answer = _problem(guard, refused.code, str(refused))
    except OSError as error:
        answer = _problem(guard, "STK-511", str(error), passing=True)
    print(json.dumps(answer), file=out)
    return 0


def _problem(guard: Guard, code: str, what: str, *, passing: bool = False) -> Json:
    """What could not be done, whether it may be done later, and whether a transaction is open."""
    return {"problem": {"code": code, "what": what, "passing": passing},
            "open": guard.loader.open()}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
