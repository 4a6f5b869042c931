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
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import disk
import health
import menu
import probe
import state as states
import units
from state import Places

Json = dict[str, Any]
COMMANDS = ("hold", "arm", "confirm", "commit", "revert", "tidy", "abort", "status")
SMALLEST_BYTES = 4 * 1024**2
HEALTH_SECONDS, DEADLINE_SECONDS = 300, 900
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


class Refused(Exception):
    """What a command cannot do; `code` is one of stroke's."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def say(sentence: str) -> None:
    """To the journal and the console."""
    print(f"stroke boot guard: {sentence}", flush=True)


class Guard:
    """The commands on one host."""

    def __init__(self, places: Places, command_line: str) -> None:
        self.places = places
        self.command_line = command_line

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
        if not runs and phase == "committing" and not self._open():
            return states.save(self.places, data, "committed")
        return data

    def _silent(self, phase: str, data: Json) -> str:
        if phase == "armed" and menu.state_of(self._block()) == "hold":
            return "the power went before the trial was chosen"
        why = ENDED_WITHOUT_A_WORD[phase]
        failing = data.get("failing") or []
        return f"{why} (until then {'; '.join(failing)})" if failing and phase == "trial" else why

    def _block(self) -> bytes:
        try:
            return self.places.env.read_bytes()
        except OSError:
            return b""

    def _open(self) -> bool:
        return probe.OWN in probe.text(self.places.root, probe.CUSTOM)

    def _set(self, state: str) -> None:
        """In place where the block is whole: GRUB must not meet an older one."""
        if len(self._block()) == len(menu.environment(state)):
            disk.overwrite(self.places.env, menu.environment(state))
        else:
            disk.write(self.places.env, menu.environment(state))

    def _menu(self, data: Json) -> None:
        """Write our part of the menu, if GRUB's own checker takes it."""
        folder = data["grub_folder"]

        def entry(system: Json, kernel: str, initrd: str) -> menu.Entry:
            return menu.Entry(f"{folder}/{kernel}", f"{folder}/{initrd}", system["words"])

        lkg, trial = data["lkg"], data.get("trial")
        release = trial["release"] if trial else ""
        text = menu.render(
            uuid=data["grub_uuid"],
            env=f"{folder}/stroke/env",
            transaction=data["transaction"],
            lkg=entry(lkg, "stroke/vmlinuz", "stroke/initrd.img"),
            trial=entry(trial, f"vmlinuz-{release}", f"initrd.img-{release}") if trial else None,
        )
        with contextlib.suppress(FileNotFoundError):
            done = subprocess.run(["grub-script-check"], input=text, text=True,
                                  capture_output=True, timeout=60, check=False)  # fmt: skip
            if done.returncode != 0:
                raise Refused("STK-420", f"GRUB does not take its menu: {done.stderr.strip()}")
        disk.write(self.places.custom, text.encode("utf-8"))
        disk.settle(self.places.boot)

    def hold(self, order: Json) -> Json:
        """Freeze the running system, and let it start by default until the transaction ends."""
        data = self.settled()
        release = probe.text(self.places.root, "/proc/sys/kernel/osrelease").strip()
        found = probe.obstacles(self.places.root, release, self.command_line)
        if found:
            raise Refused("STK-420", "; ".join(found))
        if self._open() and data.get("lkg"):
            self._set("hold")  # whatever was tried last is not tried again by itself
        else:
            disk.remove_tree(self.places.frozen)
            disk.copy(self.places.kernel(release), self.places.frozen / "vmlinuz")
            disk.copy(self.places.initrd(release), self.places.frozen / "initrd.img")
            modules = self.places.root / "lib/modules" / release
            disk.remove_tree(self.places.modules)
            if modules.is_dir():
                disk.link_tree(modules, self.places.modules / release)
            disk.write(self.places.env, menu.environment("hold"))
            data = {"lkg": {"release": release, "words": menu.own_words(self.command_line)},
                    "grub_uuid": probe.grub_probe("fs_uuid", "/boot/grub"),
                    "grub_folder": _as_grub_sees(self.places.boot)}  # fmt: skip
        data = {key: data[key] for key in ("lkg", "grub_uuid", "grub_folder")}
        data["transaction"] = secrets.token_hex(6)
        data["baseline"] = health.baseline()
        data = states.save(self.places, data, "held")
        units.install(self.places)
        units.reload()
        self._menu(data)
        say(f"{data['lkg']['release']} stays the default until the change has proven itself")
        return data

    def arm(self, order: Json) -> Json:
        """Choose the new kernel and arguments for one boot."""
        data = self.settled()
        if not data.get("lkg") or not self._open():
            raise Refused("STK-511", "there is no open boot transaction to try a kernel in")
        release = order["release"]
        for path in (self.places.kernel(release), self.places.initrd(release)):
            if not path.is_file() or path.stat().st_size < SMALLEST_BYTES:
                raise Refused("STK-501", f"{path} is missing or too small to be whole")
        self._set("hold")
        words = menu.with_arguments(data["lkg"]["words"], order["arguments"], order["managed"])
        bad = menu.unquotable(words)
        if bad:
            raise Refused("STK-420", f"GRUB would change the arguments {' '.join(bad)}")
        data["permanent"] = words
        data["trial"] = {"release": release, "words": [*words, *order["trial_arguments"]]}
        data["expected"] = {"release": release, "arguments": order["arguments"],
                            "gpus": order["gpus"], **data["baseline"]}  # fmt: skip
        for key in ("health_seconds", "deadline_seconds", "confirm"):
            data[key] = order[key]
        self._menu(data)
        data = states.save(self.places, data, "armed")
        self._set("try")
        disk.settle(self.places.boot)
        say(f"the next boot tries {release}")
        return data

    def confirm(self, order: Json) -> Json:
        """The controller, over a connection made after the boot, says that it is the right one."""
        data = self.settled()
        if data.get("transaction") != order["transaction"]:
            raise Refused("STK-511", "another run has begun a boot transaction of its own")
        phase, runs = data["phase"], self.running(data)
        if runs == "trial" and phase == "healthy":
            say("confirmed by the controller")
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
                units.make_menu()  # a run that was cut off may have left an older one
            difference = self._difference(data)
            if difference:
                raise Refused("STK-512", difference)
            data = states.save(self.places, data, "committing")
            disk.remove(self.places.custom)
            disk.settle(self.places.boot)
            data = states.save(self.places, data, "committed")
        self._tidy()
        return data

    def _difference(self, data: Json) -> str:
        """How the entry that starts from now on differs from what was tried; or empty."""
        kernel, words = menu.default_entry(self.places.config.read_text(encoding="utf-8"))
        wanted = f"vmlinuz-{data['trial']['release']}"
        if Path(kernel).name != wanted:
            other = Path(kernel).name or "an entry that only the running GRUB knows"
            return f"{other} is the menu's default, and {wanted} was tried"
        ours = [word for word in data["permanent"] if menu.key(word) != "vt.handoff"]
        differs = sorted(set(words) ^ set(ours))
        found = f"the menu's default entry and what was tried differ in {' '.join(differs)}"
        return found if differs else ""

    def revert(self, order: Json) -> Json:
        """The controller has found something: go back now."""
        data = self.settled()
        if self.running(data) == "trial":
            data = states.save(self.places, data, "reverting", str(order["why"]))
            subprocess.Popen(["systemctl", "reboot"])
        return data

    def tidy(self, order: Json) -> Json:
        """Finish what was cut off before it was open, or after it was closed."""
        data = self.settled()
        if not self._open():
            if data.get("phase") not in ("committed", "reverted"):
                disk.remove(self.places.state)
            self._tidy()
        return data

    def abort(self, order: Json) -> Json:
        """Take everything away, and leave the menu to the distribution."""
        if self._open():
            disk.remove(self.places.custom)
            disk.settle(self.places.boot)
        disk.remove(self.places.state)
        self._tidy()
        return {"phase": "none"}

    def _tidy(self) -> None:
        disk.remove_tree(self.places.frozen)
        disk.remove_tree(self.places.modules)
        disk.remove_tree(self.places.code)
        with contextlib.suppress(OSError):
            self.places.code.parent.rmdir()
        units.remove(self.places)  # last: the manifest looks for it
        units.reload()

    def status(self, order: Json) -> Json:
        """The state, and which system of it runs."""
        data = self.settled()
        return {**data, "running": self.running(data)}


def _as_grub_sees(boot: Path) -> str:
    """The folder /boot from the top of its file system."""
    return "" if boot.is_mount() else "/boot"


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
        if verdict is not None:
            return verdict
        pause(2)


def _judge(guard: Guard, data: Json, seconds: float) -> str | None:
    """A reason to go back, empty when there is nothing to watch, None to go on watching."""
    runs = guard.running(data)
    if runs == "lkg":
        _restore_modules(guard.places, data)
        say(f"this is the last known good system: {data.get('why') or 'a transaction is open'}")
        return ""
    if runs != "trial" or data["phase"] not in ("trial", "healthy"):
        if "stroke.trial=" in guard.command_line and not data:
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
            say("the new system is sound; waiting to be confirmed")
    if data["phase"] == "healthy" and data["confirm"] == "local":
        return ""
    if seconds > data["deadline_seconds"]:
        return f"nobody confirmed it within {data['deadline_seconds']} s"
    return None


def _restore_modules(places: Places, data: Json) -> None:
    """The modules of the last known good kernel, where its package is gone."""
    release = str(data.get("lkg", {}).get("release") or "")
    kept, needed = places.modules / release, places.root / "lib/modules" / release
    if release and kept.is_dir() and not (needed / "modules.dep").is_file():
        disk.remove_tree(needed)
        disk.link_tree(kept, needed)
        say(f"the modules of {release} are back")


def go_back(guard: Guard, why: str) -> None:
    """Reboot into the last known good system, by force where systemd does not do it."""
    say(f"going back to the last known good system: {why}")
    with contextlib.suppress(OSError, ValueError), guard.locked():
        states.save(guard.places, states.load(guard.places), "reverting", why)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["systemctl", "--no-block", "reboot"], timeout=30, check=False)
    time.sleep(60)
    for letter in "sub":  # sync, remount read-only, boot
        Path("/proc/sysrq-trigger").write_text(letter, encoding="ascii")
        time.sleep(2)


def main(arguments: list[str]) -> int:
    """Do one command; what cannot be done is told as a problem, not as a traceback."""
    guard = Guard(Places(), Path("/proc/cmdline").read_text(encoding="utf-8"))
    name = arguments[0] if arguments else ""
    if name == "watch":
        why = watch(guard, time.monotonic, time.sleep)
        if why:
            go_back(guard, why)
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
        answer = {"problem": {"code": refused.code, "what": str(refused)}}
    except OSError as error:
        answer = {"problem": {"code": "STK-511", "what": str(error)}}
    print(json.dumps(answer), file=out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
