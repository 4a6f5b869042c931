"""Transactions of dnf, 4 and 5 alike: its own configuration, excludes and locks are obeyed."""

from __future__ import annotations

import re

from .record import Json, Snapshot
from .rules import OLD_ARCHIVE, held
from .shell import Done, Shell, Trouble

FORM = r"%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{INSTALLTID}\n"
NEEDED = re.compile(r"^\s+(\S.*?) is needed by \(installed\) (\S+)$", re.MULTILINE)
# Kernels and what belongs to one: each version is a package of its own.
SEVERAL = ("installonlypkg(kernel)", "installonlypkg(kernel-module)", "kernel", "kernel-core")
KEY = "gpg-pubkey"  # how rpm lists the keys that it trusts
EXCLUDED = re.compile(
    r"filtered out by exclude filtering for argument: (\S+)"
    r"|'([^']+?)(?: [<>=]+ \S+)?' matches only (?:packages )?excluded"
)
BAD_SIGNATURE = re.compile(
    r"GPG check FAILED|PGP check|is not signed|keys? listed for the .* not correct"
    r"|[Pp]ublic key .* is not installed|[Ss]ignature verification|signature .*BAD|NOKEY"
)


def _names(capability: str) -> list[str]:
    """Names in a dependency: `a >= 2` is a, `(a or b)` is both, `lib.so.1()(64bit)` is itself."""
    words = re.sub(r"[<>=]+ \S+", "", capability).split()
    return [
        word.lstrip("(")[: -1 if word.count(")") > word.count("(") - word.startswith("(") else None]
        for word in words
    ]


def _word(one: Json) -> str:
    """A package and its rule as dnf takes them."""
    name = str(one["name"])
    if one.get("version"):
        return f"{name}-{one['version']}"
    return f"{name} >= {one['minimum']}" if one.get("minimum") else name


class Dnf:
    """The package manager of Fedora, RHEL and their relatives."""

    name = "dnf"

    def __init__(self, shell: Shell, lock_timeout: int) -> None:
        self.shell = shell  # dnf waits for its lock by itself, as long as the job may take

    def _rows(self, *query: str) -> list[tuple[str, str, str, int]]:
        """Name (with a foreign architecture), version, full label, and rpm's transaction id."""
        rows = []
        native = self.shell.run("rpm", "--eval", "%{_arch}").out.strip()
        for line in self.shell.run("rpm", "--query", "--queryformat", FORM, *query).out.split("\n"):
            fields = line.split("\t")
            if len(fields) != 5:
                continue  # package X is not installed
            name, epoch, version, architecture, transaction = fields
            prefix = f"{epoch}:" if epoch.isdecimal() and int(epoch) else ""
            own = architecture in (native, "noarch", "(none)")
            label = f"{name}-{version}" + ("" if name == KEY else f".{architecture}")
            key = name if own else f"{name}.{architecture}"
            number = int(transaction) if transaction.isdecimal() else 0
            rows.append((key, prefix + version, label, number))
        return rows

    def installed(self) -> Snapshot:
        found: Snapshot = {}
        for name, version, _, _ in sorted(self._rows("--all")):
            found.setdefault(name, []).append(version)
        return found

    def beside(self) -> frozenset[str]:
        """Names of which several versions may be installed."""
        several = self._rows("--whatprovides", *SEVERAL)
        return frozenset({name for name, _, _, _ in several} | {KEY})

    def holds(self) -> set[str]:
        """Names that a version lock keeps; without the plugin there are none."""
        done = self.shell.run("dnf", "--quiet", "versionlock", "list")
        names = re.findall(r"^!?(\S+?)-(?:\d+:)?[^-\s]+-[^-\s]+$", done.out, re.MULTILINE)
        return {*names, *re.findall(r"^Package name: (\S+)$", done.out, re.MULTILINE)}

    def hold(self, names: list[str]) -> None:
        self._lock("add", names)

    def release(self, names: list[str]) -> None:
        self._lock("delete", names)

    def _lock(self, word: str, names: list[str]) -> None:
        if names:
            done = self.shell.run("dnf", "--quiet", "versionlock", word, *names)
            if done.rc:
                raise Trouble("STK-415", f"dnf versionlock {word} failed: {done.said}",
                              "on dnf 4 run: sudo dnf install "
                              "'dnf-command(versionlock)'")  # fmt: skip

    def plan(self, wanted: list[Json], own_holds: list[str]) -> Json:
        """dnf tells no plan that a program could read: what came is told by rpm afterwards."""
        self.release(sorted({*own_holds} & {one["name"] for one in wanted}))
        return {one["name"]: None for one in wanted}

    def install(self, wanted: list[Json], planned: Json) -> None:
        """Wanted packages with their rules; a version known to be bad is out of the question."""
        words = [_word(one) for one in wanted]
        barred = [f"--exclude={one['name']}-{prefix}*"
                  for one in wanted for prefix in one.get("deny") or []]  # fmt: skip
        done = self.shell.run(
            "dnf", "--assumeyes", "--refresh", "--setopt=install_weak_deps=False",
            *barred, "install", *words,
        )  # fmt: skip
        if done.rc:
            raise self._trouble(done, wanted)
        there = self.installed()
        for missing in (one["name"] for one in wanted if one["name"] not in there):
            raise Trouble("STK-401", f"dnf installed no {missing}: {done.said}", OLD_ARCHIVE)

    def _trouble(self, done: Done, wanted: list[Json]) -> Trouble:
        """dnf's failure, with the code that fits what it says."""
        text = done.out + done.err
        if EXCLUDED.search(text):
            # Without our own --exclude of bad versions: what is left is somebody else's.
            words = [_word(one) for one in wanted]
            text = " ".join(self.shell.run("dnf", "--assumeno", "install", *words)[1:])
        excluded = {a or b for a, b in EXCLUDED.findall(text)} & {one["name"] for one in wanted}
        if excluded:
            hint = "grep -rn exclude /etc/dnf /etc/yum.repos.d, and: dnf versionlock list"
            return held(sorted(excluded), hint)
        if BAD_SIGNATURE.search(text):
            return Trouble("STK-406", f"installing packages failed: {done.said}",
                           "the key in the repository's file is not the one that signed; "
                           "nothing was installed")  # fmt: skip
        text += done.out + done.err
        if re.search(r"Unable to find a match|No match for argument|nothing provides", text):
            missing = " ".join(sorted(set(re.findall(r"No match for argument: (.+)", text))))
            return Trouble("STK-401", f"the repositories of the host do not offer "
                           f"{missing or 'what is wanted'}: {done.said}", OLD_ARCHIVE)  # fmt: skip
        if re.search(r"Cannot download|Failed to download|Curl error|All mirrors were", text):
            return Trouble("STK-414", f"installing packages failed: {done.said}",
                           "check the repositories of the host and its way to them")  # fmt: skip
        return Trouble("STK-801", f"installing packages failed: {done.said}",
                       "see on the host what dnf says, then run stroke again")  # fmt: skip

    def ours(self, found: Json, opened: Json) -> Json:
        """Differences of the one rpm transaction that brought what was wanted.

        rpm notes the transaction of each package. Cut off before anything wanted was installed, it
        is the first one since the beginning.
        """
        changed = [*found["added"], *found["upgraded"]]
        rows = self._rows(*changed) if changed else []
        of = {(name, version): number for name, version, _, number in rows}

        def number(name: str) -> set[int]:
            versions = found["added"].get(name) or [found["upgraded"].get(name, {}).get("after")]
            return {of[name, one] for one in versions if (name, one) in of}

        wanted = set().union(*(number(name) for name in opened["wanted"] if name in changed))
        later = {one for name in changed for one in number(name) if one >= opened["since"]}
        mine = wanted or set(sorted(later)[:1])
        return {
            "added": {n: v for n, v in found["added"].items() if n == KEY or number(n) & mine},
            "upgraded": {n: v for n, v in found["upgraded"].items() if number(n) & mine},
            "removed": found["removed"] if mine else {},
        }

    def both(self, upgraded: list[Json], added: list[Json]) -> bool:
        """No command of dnf downgrades and removes in one transaction."""
        return False

    def downgrade(self, entries: list[Json]) -> dict[str, str]:
        """Upgraded packages go back to the version from before: name to why one could not."""
        kept: dict[str, str] = {}
        for entry in entries:
            word = f"{entry['name']}-{entry['before']}"
            done = self.shell.run("dnf", "--assumeyes", "downgrade", word)
            if done.rc:
                kept[entry["name"]] = f"dnf says: {done.said}"
        return kept

    def remove(self, entries: list[Json]) -> dict[str, str]:
        """Added packages go, except those that a package of somebody else needs: name to why."""
        wanted = {(entry["name"], entry["after"]) for entry in entries}
        rows = [row for row in self._rows("--all") if row[:2] in wanted]
        labels = {label: name for name, _, label, _ in rows if name != KEY}
        kept: dict[str, str] = {}
        while labels:
            done = self.shell.run("rpm", "--erase", "--test", *labels)
            blocked = NEEDED.findall(done.err)
            if not blocked:
                break
            before = len(labels)
            for capability, by in blocked:
                # A version may follow, and a rich dependency has several names in parentheses.
                for _, _, label, _ in self._rows("--whatprovides", *_names(capability)):
                    if label in labels:
                        kept[labels.pop(label)] = f"needed by {by}"
            if len(labels) == before:
                break  # rpm itself will say why
        if labels:
            self._finish(self.shell.run(
                "dnf", "--assumeyes", "--setopt=clean_requirements_on_remove=False",
                "--setopt=protect_running_kernel=False", "remove", *labels,
            ))  # fmt: skip
        for name, _, label, _ in rows:
            if name == KEY:
                self._finish(self.shell.run("rpm", "--erase", label))
        return kept

    def _finish(self, done: Done) -> None:
        if done.rc:
            raise Trouble("STK-801", f"removing packages failed: {done.said}",
                          "see on the host what dnf says, then run the same again")  # fmt: skip
