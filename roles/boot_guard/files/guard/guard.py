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
from collections.abc import Iterator
from pathlib import Path

import disk
import grubcfg
import health
import menu
import probe
import state as states
import strictness
import units
import watch
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


class Refused(Exception):
    """What a command cannot do; `code` is one of stroke's."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


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
        data["strictness"] = strictness.read(self.places.root)
        data = states.save(self.places, data, "held")
        units.install(self.places)
        units.reload()
        self._menu(data)
        states.say(f"{data['lkg']['release']} stays the default until the change has proven itself")
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
        units.make_menu()  # with what an administrator has set since the last one was made
        kernel, stock = self._stock(release if order.get("chosen") else "")
        if Path(kernel).name != f"vmlinuz-{release}":
            raise Refused("STK-512", _no_entry(release) if order.get("chosen")
                          else _other_default(kernel, release))  # fmt: skip
        words = menu.with_arguments(stock, order["arguments"], order["managed"])
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
        states.say(f"the next boot tries {release}")
        return data

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
                units.make_menu()  # a run that was cut off may have left an older one
            difference = self._difference(data)
            if difference:
                raise Refused("STK-512", difference)
            data = states.save(self.places, data, "committing")
            disk.remove(self.places.custom)
            disk.settle(self.places.boot)
            data = states.save(self.places, data, "committed")
        if self.running(data) == "trial":
            strictness.restore(self.places.root, data.get("strictness") or {})
        self._tidy()
        return data

    def _stock(self, release: str = "") -> tuple[str, list[str]]:
        """Kernel and words of what the distribution's own menu starts, or has for a release.

        A chosen release becomes that menu's default after it was tried, and not before.
        """
        config = probe.text(self.places.root, probe.CONFIG)
        if release:
            return grubcfg.release_entry(config, release)
        return grubcfg.default_entry(config, probe.text(self.places.root, "/boot/grub/grubenv"))

    def _difference(self, data: Json) -> str:
        """How the entry that starts from now on differs from what was tried; or empty."""
        kernel, words = self._stock()
        release = str(data["trial"]["release"])
        if Path(kernel).name != f"vmlinuz-{release}":
            return _other_default(kernel, release)
        differs = sorted(set(words) ^ set(data["permanent"]))
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
        disk.remove(self.places.code)
        with contextlib.suppress(OSError):
            self.places.code.parent.rmdir()
        units.remove(self.places)  # last: the manifest looks for it
        units.reload()

    def status(self, order: Json) -> Json:
        """The state, and which system of it runs."""
        data = self.settled()
        return {**data, "running": self.running(data)}


def _other_default(kernel: str, release: str) -> str:
    other = Path(kernel).name or "an entry that only the running GRUB knows"
    return f"{other} is the boot menu's default, and vmlinuz-{release} is the new kernel"


def _no_entry(release: str) -> str:
    return f"the boot menu has no entry of its own for vmlinuz-{release}"


def _as_grub_sees(boot: Path) -> str:
    """The folder /boot from the top of its file system."""
    return "" if boot.is_mount() else "/boot"


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
        answer = {"problem": {"code": refused.code, "what": str(refused)}}
    except OSError as error:
        answer = {"problem": {"code": "STK-511", "what": str(error)}}
    print(json.dumps(answer), file=out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
