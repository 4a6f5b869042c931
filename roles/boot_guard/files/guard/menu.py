"""What GRUB is told: the state that it keeps, and the entries of an open transaction.

While our custom.cfg is there a transaction is open, and the last known good system starts:
from `hold`, from what nobody can read, from anything but a `try` that could be taken back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OWN = "Managed by stroke (role boot_guard)"
HEADER = f"# {OWN}: a boot transaction is open."
VARIABLE = "stroke_state"
STATES = ("hold", "try", "trying", "failed")
LKG, TRIAL = "stroke.lkg", "stroke.trial"
_SIGNATURE = "# GRUB Environment Block\n"
_SIZE = 1024
# Words that a loader adds by itself.
_LOADER = ("BOOT_IMAGE", "initrd", LKG, TRIAL)


@dataclass(frozen=True)
class Entry:
    """One menu entry; paths are those that GRUB sees."""

    kernel: str
    initrd: str
    words: list[str]


def environment(state: str) -> bytes:
    """A block of GRUB's environment with our one variable."""
    if state not in STATES:
        raise ValueError(f"no state {state!r}")
    return f"{_SIGNATURE}{VARIABLE}={state}\n".ljust(_SIZE, "#").encode("ascii")


def state_of(block: bytes | None) -> str:
    """The state in a block; empty where nobody could read it."""
    if not block or len(block) != _SIZE or not block.startswith(_SIGNATURE.encode("ascii")):
        return ""
    found = re.search(rb"^%s=([a-z]+)$" % VARIABLE.encode("ascii"), block, re.MULTILINE)
    return found.group(1).decode("ascii") if found else ""


def split(line: str) -> list[str]:
    """Words of a command line as the kernel takes them: only double quotes group."""
    words: list[str] = []
    word, quoted = "", False
    for character in line.strip("\n\0"):
        if character == '"':
            quoted = not quoted
            word += character
        elif character.isspace() and not quoted:
            words += [word] if word else []
            word = ""
        else:
            word += character
    return words + ([word] if word else [])


def own_words(line: str) -> list[str]:
    """The words that a boot entry has to repeat: not those of the loader and of this guard."""
    return [word for word in split(line) if word.partition("=")[0] not in _LOADER]


def unquotable(words: list[str]) -> list[str]:
    """Words of a menu entry that GRUB would hand to the kernel in another form.

    Entries are scripts: outside of quotes some characters end a word or begin a command.
    https://www.gnu.org/software/grub/manual/grub/html_node/Quoting.html
    """
    return [word for word in words
            if re.search(r"['\\\n$]", word) or '"' in _inner(word)
            or (_inner(word) == word and re.search(r"[;|&<>{}]|^#", word))]  # fmt: skip


def _inner(word: str) -> str:
    """A word without the quotes that the kernel takes off: "key=a b" and key="a b"."""
    if len(word) > 1 and word.startswith('"') and word.endswith('"'):
        return word[1:-1]
    key, equal, value = word.partition("=")
    if equal and len(value) > 1 and value.startswith('"') and value.endswith('"'):
        return f"{key}={value[1:-1]}"
    return word


def quote(word: str) -> str:
    """One word for GRUB's script language, which puts the quotes of spaces back by itself."""
    return f"'{_inner(word)}'"


def key(word: str) -> str:
    """The name of an argument; the kernel takes - and _ for the same."""
    return word.strip('"').partition("=")[0].replace("-", "_")


def with_arguments(words: list[str], wanted: list[str], managed: list[str]) -> list[str]:
    """The last known good arguments with the managed keys replaced."""
    owned = {key(word) for word in [*wanted, *managed]}
    return [word for word in words if key(word) not in owned] + list(wanted)


def _linux(entry: Entry, token: str) -> str:
    return " ".join(["linux", quote(entry.kernel), *(quote(word) for word in entry.words), token])


def render(*, uuid: str, env: str, transaction: str, lkg: Entry, trial: Entry | None = None) -> str:
    """The file custom.cfg: the state machine of a transaction in GRUB's script language.

    A trial starts only after its state was changed and read back from the disk: where GRUB cannot
    write, stock one-shot entries would start the same kernel for ever. A loader that fails starts
    over instead of going on with a half-loaded kernel.
    """
    search = f"search --no-floppy --fs-uuid --set=root {uuid}"
    load = f"load_env --file ($stroke_device){env} {VARIABLE}"
    save = f"save_env --file ($stroke_device){env} {VARIABLE}"
    lines = [
        HEADER,
        "# It ends with: stroke provision, or stroke remove. Deleting this file ends it, too.",
        f"search --no-floppy --fs-uuid --set=stroke_device {uuid}",
        f"set {VARIABLE}=",
        load,
        f'if [ "${VARIABLE}" = "try" ]; then',
        f"  set {VARIABLE}=trying",
        f"  {save}",
        f"  set {VARIABLE}=",
        f"  {load}",
        f'  if [ "${VARIABLE}" = "trying" ]; then',
        f"    set default={'stroke-trial' if trial else 'stroke-lkg'}",
        "  else",
        "    set default=stroke-lkg",
        "  fi",
        "else",
        f'  if [ "${VARIABLE}" = "trying" ]; then',
        f"    set {VARIABLE}=failed",
        f"    {save}",
        "  fi",
        "  set default=stroke-lkg",
        "fi",
        "set timeout=2",
        "set timeout_style=menu",
        "menuentry 'stroke: last known good system' --unrestricted --id stroke-lkg {",
        f"  {search}",
        "  echo 'stroke: starting the last known good system'",
        f"  {_linux(lkg, f'{LKG}={transaction}')}",
        f"  initrd {quote(lkg.initrd)}",
        "}",
    ]
    if trial:
        lines += [
            "menuentry 'stroke: trial of the new system' --unrestricted --id stroke-trial {",
            f"  {search}",
            "  echo 'stroke: trying the new system'",
            f"  if {_linux(trial, f'{TRIAL}={transaction}')}; then",
            f"    if initrd {quote(trial.initrd)}; then",
            "      boot",
            "    fi",
            "  fi",
            "  echo 'stroke: the new system cannot be loaded'",
            "  sleep 1",
            "  reboot",
            "}",
        ]
    return "\n".join(lines) + "\n"
