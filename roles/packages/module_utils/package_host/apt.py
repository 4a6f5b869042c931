"""Transactions of apt: planned by apt's own simulation, and never against a hold."""

from __future__ import annotations

import re
import time
from pathlib import Path

from .record import Json, Snapshot
from .rules import GONE, OLD_ARCHIVE, held, older, unmet
from .shell import Done, Shell, Trouble

FORM = "${db:Status-Status}\t${Package}\t${Architecture}\t${Version}\n"
# States in which the files of a package are on the disk.
PRESENT = {"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}
PLANNED = re.compile(r"^Inst (\S+)(?: \[([^\]]+)\])? \((\S+)", re.MULTILINE)
REMOVED = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)
BLOCKED = re.compile(r"problems prevent removal of (\S+?):?$", re.MULTILINE)
BLOCKER = re.compile(r"^ (\S+) depends on ", re.MULTILINE)
STALE = re.compile(r"Unable to locate|was not found|no installation candidate|404 ")
LISTS = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists")
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/preferences.d")
FRESH = 3600  # seconds for which package lists count as current
RUNNING_KERNEL = "linux-base linux-base/removing-running-kernel boolean false\n"


class Apt:
    """The package manager of Debian, Ubuntu and their relatives."""

    name = "apt"

    def __init__(self, shell: Shell, lock_timeout: int) -> None:
        self.shell = shell
        self.lock_timeout = lock_timeout
        self.native = shell.run("dpkg", "--print-architecture").out.strip()

    def installed(self) -> Snapshot:
        found: Snapshot = {}
        for line in self.shell.run("dpkg-query", "--show", "--showformat", FORM).out.splitlines():
            state, name, architecture, version = line.split("\t")
            if state in PRESENT:
                own = architecture in (self.native, "all")
                found[name if own else f"{name}:{architecture}"] = [version]
        return found

    def beside(self) -> frozenset[str]:
        """Names of which several versions may be installed: Debian has none."""
        return frozenset()

    def holds(self) -> set[str]:
        return set(self.shell.run("apt-mark", "showhold").out.split())

    def hold(self, names: list[str]) -> None:
        self._apt_mark("hold", names)

    def release(self, names: list[str]) -> None:
        self._apt_mark("unhold", names)

    def _apt_mark(self, word: str, names: list[str]) -> None:
        if names:
            done = self.shell.run("apt-mark", word, *names)
            if done.rc:
                raise Trouble("STK-801", f"apt-mark {word} failed: {done.said}",
                              "see on the host what apt-mark says")  # fmt: skip

    def _get(self, *words: str) -> Done:
        timeout = f"-oDPkg::Lock::Timeout={self.lock_timeout}"
        return self.shell.run("apt-get", "-q", "-y", timeout, *words)

    def _fresh(self) -> bool:
        """Lists are current: read within the hour, and after the last change of a source."""
        times = [Path(path).stat().st_mtime for path in LISTS if Path(path).exists()]
        read = max(times, default=0.0)
        changed = 0.0
        for path in map(Path, SOURCES):
            places = [path, *path.iterdir()] if path.is_dir() else [path] if path.exists() else []
            changed = max([changed, *(place.stat().st_mtime for place in places)])
        there = any(Path(LISTS[1]).glob("*_Packages*"))
        return there and read >= changed and time.time() - read < FRESH

    def update(self) -> None:
        """Read the package lists; another reader of them is waited for."""
        deadline = time.monotonic() + self.lock_timeout
        while True:
            done = self._get("update")
            if done.rc == 0:
                return
            if "Could not get lock" not in done.err or time.monotonic() > deadline:
                raise trouble(done, "reading the package lists")
            time.sleep(5)

    def plan(self, wanted: list[Json], own_holds: list[str]) -> Json:
        """What an installation would bring: name to version before (null: absent) and after."""
        words = [f"{one['name']}={one['version']}" if one.get("version") else str(one["name"])
                 for one in wanted]  # fmt: skip
        current = self._fresh()
        if not current:
            self.update()
        back = older(wanted)
        for again in (current, False):
            done = self._simulate(words, *back)
            planned = {name: {"before": before or None, "after": after}
                       for name, before, after in PLANNED.findall(done.out)}  # fmt: skip
            problem = self._unmet(wanted, planned) if done.rc == 0 else ""
            if not again or (done.rc == 0 and not problem):
                break
            self.update()  # the lists are recent, but not recent enough
        if done.rc and back and STALE.search(done.err):
            raise Trouble("STK-455", f"the archives of the host no longer have "
                          f"{' '.join(words)}: {done.said}", GONE)  # fmt: skip
        if done.rc:
            raise trouble(done, "planning the installation")
        barred = sorted(set(planned) & (self.holds() - set(own_holds)))
        if barred:
            raise held(barred, f"sudo apt-mark unhold {' '.join(barred)}")
        if problem:
            raise Trouble("STK-401", problem, OLD_ARCHIVE)
        return planned

    def _simulate(self, words: list[str], *options: str) -> Done:
        return self._get("--simulate", "--no-install-recommends", "--no-remove",
                         "--allow-change-held-packages", *options, "install", *words)  # fmt: skip

    def _unmet(self, wanted: list[Json], planned: Json) -> str:
        now = self.installed()
        for one in wanted:
            name = one["name"]
            version = planned.get(name, {}).get("after") or next(iter(now.get(name, [])), None)
            rule = unmet(one, version, self._at_least)
            if rule:
                return rule
        return ""

    def _at_least(self, version: str, minimum: str) -> bool:
        return self.shell.run("dpkg", "--compare-versions", version, "ge", minimum).rc == 0

    def install(self, wanted: list[Json], planned: Json) -> None:
        """The plan, as it was planned; configuration files that were edited stay."""
        words = [f"{one['name']}={planned[one['name']]['after']}" for one in wanted
                 if one["name"] in planned]  # fmt: skip
        automatic = set(self.shell.run("apt-mark", "showauto").out.split())
        done = self._get("--no-install-recommends", "--no-remove", "--allow-change-held-packages",
                         *older(wanted),
                         "-oDpkg::Options::=--force-confdef", "-oDpkg::Options::=--force-confold",
                         "install", *words)  # fmt: skip
        if done.rc:
            raise trouble(done, "installing packages")
        # Asking for a package marks it as wanted by hand: an upgrade must not change that.
        again = sorted({one["name"] for one in wanted} & automatic)
        if again:
            self.shell.run("apt-mark", "auto", *again)

    def ours(self, found: Json, opened: Json) -> Json:
        """Differences that were planned; unattended upgrades may run just before us."""
        planned = opened.get("planned") or {}
        return {kind: {name: value for name, value in table.items() if name in planned}
                for kind, table in found.items()}  # fmt: skip

    def downgrade(self, entries: list[Json]) -> dict[str, str]:
        """Upgraded packages go back as far as the archives allow; name to why one could not."""
        if entries and not self._fresh():
            self.update()
        words = {entry["name"]: self._older(entry) for entry in entries}
        kept = {name: "no older version is offered" for name, word in words.items() if not word}
        together = [f"{name}={version}" for name, version in words.items() if version]
        attempts = [together, *([word] for word in together if len(together) > 1)]
        for attempt in attempts if together else []:
            done = self._back(attempt, "--simulate")
            if done.rc == 0 and not REMOVED.search(done.out):
                self._finish(self._back(attempt, "--no-remove"))
                if attempt is together:
                    break
            elif len(attempt) == 1:
                kept[attempt[0].partition("=")[0]] = "others need the newer version"
        return kept

    def _back(self, words: list[str], *how: str) -> Done:
        return self._get(*how, "--no-install-recommends", "--allow-downgrades",
                         "-oDpkg::Options::=--force-confdef", "-oDpkg::Options::=--force-confold",
                         "install", *words)  # fmt: skip

    def both(self, upgraded: list[Json], added: list[Json]) -> bool:
        """Take all of it back in one transaction, if that touches nothing else: whether it did.

        One by one an upgraded package is often in the way of another one, and every attempt reads
        all package lists and builds boot files again.
        """
        if not self._fresh():
            self.update()
        words = {entry["name"]: self._older(entry) for entry in upgraded}
        names = {entry["name"] for entry in added}
        if not all(words.values()):
            return False
        options = ("-oAPT::Get::AutomaticRemove=false", "-oAPT::Get::Purge=true")
        asked = [*(f"{name}={version}" for name, version in words.items()),
                 *(f"{name}-" for name in sorted(names))]  # fmt: skip
        done = self._back(asked, "--simulate", *options)
        touched = {name for name, _, _ in PLANNED.findall(done.out)} - set(words)
        if done.rc or touched or set(REMOVED.findall(done.out)) - names:
            return False
        self._allow_removal()
        self._finish(self._back(asked, *options))
        return True

    def _allow_removal(self) -> None:
        """The kernel that runs may be among the packages: the answer to what its package asks."""
        self.shell.run("debconf-set-selections", stdin=RUNNING_KERNEL)

    def _older(self, entry: Json) -> str | None:
        """The version from before, else the newest one between it and ours."""
        lines = self.shell.run("apt-cache", "madison", entry["name"]).out.splitlines()
        offered = [line.split("|")[1].strip() for line in lines if line.count("|") >= 2]
        if entry["before"] in offered:
            return str(entry["before"])
        between = [version for version in offered
                   if self._at_least(version, entry["before"])
                   and not self._at_least(version, entry["after"])]  # fmt: skip
        return between[0] if between else None

    def remove(self, entries: list[Json]) -> dict[str, str]:
        """Added packages go, except those that a package of somebody else needs: name to why."""
        names = sorted({entry["name"] for entry in entries})
        kept: dict[str, str] = {}
        while names:
            done = self.shell.run("dpkg", "--simulate", "--remove", *names)
            needed = [name for name in BLOCKED.findall(done.err) if name in names]
            if not needed:
                break
            why = ", ".join(sorted(set(BLOCKER.findall(done.err)) - set(needed))) or "others"
            kept |= dict.fromkeys(needed, f"needed by {why}")
            self.shell.run("apt-mark", "auto", *needed)
            names = [name for name in names if name not in needed]
        if names:
            self._allow_removal()
            self._finish(self._get("-oAPT::Get::AutomaticRemove=false", "purge", *names))
        return kept

    def _finish(self, done: Done) -> None:
        if done.rc:
            raise trouble(done, "removing packages")


def trouble(done: Done, what: str) -> Trouble:
    """apt's failure, with the code that fits what it says."""
    said, text = done.said, done.err
    if re.search(r"NO_PUBKEY|not signed|signatures? (were|was|couldn)|Sub-process \S*sqv", text):
        return Trouble("STK-406", f"{what} failed: {said}",
                       "check the keys of the package sources on the host")  # fmt: skip
    if re.search(r"Failed to fetch|Unable to fetch|Could not (resolve|connect)", text):
        return Trouble("STK-414", f"{what} failed: {said}",
                       "check the package sources of the host and its way to them")  # fmt: skip
    if "Could not get lock" in text or "Unable to acquire" in text:
        return Trouble("STK-408", f"{what} waited too long: {said}",
                       "wait until the other program is done, then run stroke again")  # fmt: skip
    if "dpkg was interrupted" in text or "Unmet dependencies. Try" in text:
        return Trouble("STK-407", f"{what} failed: {said}",
                       "on the host run: sudo dpkg --configure -a && "
                       "sudo apt-get --fix-broken install")  # fmt: skip
    if STALE.search(text):
        return Trouble("STK-401", f"{what} failed: {said}", OLD_ARCHIVE)
    return Trouble("STK-801", f"{what} failed: {said}",
                   "see on the host what apt-get says, then run stroke again")  # fmt: skip
