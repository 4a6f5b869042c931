"""What GRUB does with the boot guard's files: its script is interpreted as far as it is used there.

Standard library only: tests import it, and containers run it in place of a boot loader.
"""

from __future__ import annotations

import re
from pathlib import Path

SIGNATURE = b"# GRUB Environment Block\n"
SIZE = 1024
Entry = tuple[str, str, str]  # kernel, initrd, command line


def start(root: Path, *, can_write: bool = True, smallest: int = 4 * 1024**2) -> tuple[str, Entry]:
    """The entry that starts, by name; what it asks GRUB to save is saved."""
    fedora = root / "boot/grub2"
    folder = fedora if fedora.is_dir() else root / "boot/grub"
    custom = folder / "custom.cfg"
    entries = _boot_entries(root) if folder == fedora else _entries(folder / "grub.cfg")
    name = next(iter(entries))
    if custom.is_file():
        entries, name = _entries(custom), _script(root, custom, can_write)
    for path in entries[name][:2]:
        file = top(root) / path.lstrip("/")
        if not file.is_file() or file.stat().st_size < smallest:
            if name != "stroke-trial":
                raise ValueError(f"{name} cannot be loaded: {path}")
            return start(root, can_write=can_write, smallest=smallest)  # its last line: reboot
    return name, entries[name]


def top(root: Path) -> Path:
    """Where paths in a menu begin: the file system that has /boot."""
    mounts = root / "proc/self/mounts"
    apart = mounts.is_file() and " /boot " in mounts.read_text(encoding="utf-8")
    return root / "boot" if apart else root


def _boot_entries(root: Path) -> dict[str, Entry]:
    """What the command blscfg makes: the saved entry first here, then from the newest kernel on."""
    environment = (root / "boot/grub2/grubenv").read_text(encoding="utf-8")
    known = dict(re.findall(r"^(\w+)=(.*)$", environment, re.M))
    found = {}
    for path in (root / "boot/loader/entries").glob("*.conf"):
        fields = dict(re.findall(r"^(\w+)\s+(.*)$", path.read_text(encoding="utf-8"), re.M))
        words = re.sub(r"\$(\w+)", lambda name: known.get(name[1], ""), fields["options"])
        found[path.stem] = (fields["linux"], fields["initrd"].split()[0], words)

    def rank(name: str) -> tuple[bool, list[int]]:
        numbers = [int(number) for number in re.findall(r"\d+", name.partition("-")[2])]
        return name == known.get("saved_entry"), numbers

    return {name: found[name] for name in sorted(found, key=rank, reverse=True)}


def _load(env: Path, name: str) -> str:
    block = env.read_bytes() if env.is_file() else b""
    if len(block) != SIZE or not block.startswith(SIGNATURE):
        return ""
    found = re.search(rb"^%s=([a-z]+)$" % name.encode(), block, re.M)
    return found[1].decode() if found else ""


def _script(root: Path, custom: Path, can_write: bool) -> str:
    """The lines before the first entry."""
    env = root / "boot/stroke/env"
    variables: dict[str, str] = {}
    taken: list[bool] = []
    for line in custom.read_text(encoding="utf-8").partition("menuentry")[0].splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "if":
            taken.append(variables.get(words[2].strip('"$'), "") == words[4].strip('"'))
        elif words[0] == "else":
            taken[-1] = not taken[-1]
        elif words[0] == "fi":
            taken.pop()
        elif not all(taken):
            continue
        elif words[0] == "set":
            name, _, value = words[1].partition("=")
            variables[name] = value
        elif words[0] == "load_env":
            variables[words[-1]] = _load(env, words[-1]) or variables[words[-1]]
        elif words[0] == "save_env":
            if can_write:
                line = f"{words[-1]}={variables[words[-1]]}\n"
                env.write_bytes((SIGNATURE + line.encode()).ljust(SIZE, b"#"))
        elif words[0] != "search":
            raise ValueError(f"a line that is not known here: {line}")
    return variables["default"]


def _entries(path: Path) -> dict[str, Entry]:
    found = {}
    text = path.read_text(encoding="utf-8")
    for number, body in enumerate(re.findall(r"^menuentry .*?^}", text, re.M | re.S)):
        named = re.search(r"--id (\S+)", body.splitlines()[0])
        linux = re.search(r"linux\s+'?([^'\s]+)'?\s+(.*?)(?:; then)?$", body, re.M)
        initrd = re.search(r"initrd\s+'?([^'\s;]+)", body)
        if not linux or not initrd:
            continue  # the way into the firmware, say
        name = named[1] if named else f"entry-{number}"
        found[name] = (linux[1], initrd[1], linux[2].replace("'", ""))
    return found
