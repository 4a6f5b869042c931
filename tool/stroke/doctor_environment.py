"""Variables that somebody set once for ROCm and forgot: in the session and in files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SYSTEM_FILES = (
    "/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/zshenv",
    "/etc/systemd/system.conf", "/etc/systemd/user.conf",
)  # fmt: skip
SYSTEM_FOLDERS = {
    "/etc/profile.d": (".sh", ".csh"),
    "/etc/environment.d": (".conf",),
    "/etc/systemd/system.conf.d": (".conf",),
    "/etc/systemd/user.conf.d": (".conf",),
    "/etc/systemd/system": (".service",),
}
DROPINS = "/etc/systemd/system"
USER_FILES = (
    ".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc",
    ".config/fish/config.fish",
)  # fmt: skip
USER_FOLDERS = (".config/environment.d",)
LIMIT = 256 * 1024  # a profile larger than this is not one


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable with its value and the place that sets it."""

    name: str
    value: str
    place: str


def settings(
    host: Any, names: set[str], session: dict[str, str], home: str | None
) -> tuple[Setting, ...]:
    """Every place that sets one of these variables; `home` is the user's, if files count."""
    found = [Setting(name, session[name], "this session") for name in sorted(names & {*session})]
    for path in _files(host, home):
        found += _in_file(host.text(path, LIMIT) or "", path, names)
    return tuple(found)


def _files(host: Any, home: str | None) -> Iterator[str]:
    yield from (path for path in SYSTEM_FILES if host.exists(path))
    for folder, endings in SYSTEM_FOLDERS.items():
        for name in host.names(folder):
            if name.endswith(endings):
                yield f"{folder}/{name}"
            elif folder == DROPINS and name.endswith(".service.d"):
                yield from (f"{folder}/{name}/{part}" for part in host.names(f"{folder}/{name}"))
    if home is None:
        return
    yield from (f"{home}/{name}" for name in USER_FILES if host.exists(f"{home}/{name}"))
    for folder in USER_FOLDERS:
        yield from (f"{home}/{folder}/{name}" for name in host.names(f"{home}/{folder}"))


def _in_file(text: str, path: str, names: set[str]) -> Iterator[Setting]:
    """Assignments of shells, environment.d and unit files; a comment is none."""
    if not names:
        return
    wanted = "|".join(re.escape(name) for name in sorted(names))
    assignment = re.compile(rf"(?<![\w-])({wanted})(?:=|\s+)[\"']?([^\s\"';]*)")
    for line in text.splitlines():
        if line.lstrip().startswith(("#", ";")) or re.match(r"\s*(unset|echo|if|test)\b", line):
            continue
        for name, value in assignment.findall(line.split(" #")[0]):
            yield Setting(name, value, path)
