"""The guard's private menu, and its reading of boot entries (BLS), under a real GRUB.

The GRUB is that of Debian testing, 2.14: the first of Debian that reads boot entries, by what it
took over from Fedora. Hosts are those of the unit tests, and have no kernel: see bare_grub.py.

Two things are Fedora's alone, and only read in its source: `570.49.1.el9_6` is newer than `570.el9`
there and older here, and a saved name may begin with a digit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot import grub
from tests.unit.bls_host import (
    CONFIG,
    EL10,
    FEDORA43,
    KINDS,
    MACHINE,
    PERMANENT,
    BlsHost,
    Kind,
    arm,
    commit,
    surrounded,
)
from tests.unit.guard_host import CODE_OF, Host, confirm, hold, watch
from tests.vm import bare_grub

pytestmark = pytest.mark.slow

Change = Callable[[BlsHost], object]


@pytest.fixture(autouse=True)
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Boots are real; what the guard would ask of a running system is not."""
    surrounded(monkeypatch)
    monkeypatch.setattr(CODE_OF["units"], "make_menu", lambda: None)
    place = tmp_path / "machine"
    monkeypatch.setattr(grub, "start", lambda root, **_: bare_grub.named(root, place))


def state(host: Host) -> str:
    return str(CODE_OF["menu"].state_of(host.places.env.read_bytes()))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_transaction_from_hold_to_commit(tmp_path: Path, kind: Kind) -> None:
    host = BlsHost(tmp_path / "host", kind)
    hold(host)
    assert (host.boot(), host.running) == ("lkg", kind.old)
    arm(host)
    assert (host.boot(), host.running, state(host)) == ("trial", kind.new, "trying")
    assert host.line.split()[1:] == [
        *PERMANENT.split(), "panic=10", "oops=panic", f"stroke.trial={host.state['transaction']}",
    ]  # fmt: skip
    assert watch(host) == "waiting"
    confirm(host)
    commit(host)
    assert (host.boot(), host.running) == ("stock", kind.new)
    assert host.line.split()[1:] == PERMANENT.split()


@pytest.mark.parametrize("kind", [FEDORA43, EL10], ids=["apart", "one file system"])
def test_a_trial_that_ends_without_a_word_is_not_tried_again(tmp_path: Path, kind: Kind) -> None:
    host = BlsHost(tmp_path / "host", kind)
    hold(host)
    arm(host)
    marks = {"boot_success": "1", "next_entry": f"{MACHINE}-{kind.new}", "boot_counter": "-1"}
    host.environment(**{**host.known, **marks})
    assert [host.boot(), host.boot(), host.boot()] == ["trial", "lkg", "lkg"]
    assert (host.running, state(host)) == (kind.old, "failed")
    host.guard.abort({})
    assert (host.boot(), host.running) == ("stock", kind.new), "the distribution's choice again"


@pytest.mark.parametrize("name", ["vmlinuz-{}", "initramfs-{}.img"])
def test_what_cannot_be_loaded_is_left_in_the_same_minute(tmp_path: Path, name: str) -> None:
    host = BlsHost(tmp_path / "host")
    hold(host)
    arm(host)
    (host.root / "boot" / name.format(host.kind.new)).unlink()
    found = bare_grub.start(host.root, tmp_path / "machine")
    assert (found.kernel, found.passes) == ("/stroke/vmlinuz", 2), "it began anew by itself"


def environment(change: Callable[[bytes], bytes]) -> Change:
    def apply(host: BlsHost) -> None:
        host.places.env.write_bytes(change(host.places.env.read_bytes()))

    return apply


def torn(host: BlsHost) -> None:
    text = host.places.custom.read_bytes()
    host.places.custom.write_bytes(text[: len(text) // 2])


# A block that is cut off behind its variable is one for GRUB: it reads it, and can write it.
BROKEN: dict[str, tuple[Change, list[str]]] = {
    "block cut off": (environment(lambda block: block[:700]), ["trial", "lkg"]),
    "block of noise": (environment(lambda block: bytes(range(256)) * 4), ["lkg", "lkg"]),
    "block empty": (environment(lambda block: b""), ["lkg", "lkg"]),
    "block gone": (lambda host: host.places.env.unlink(), ["lkg", "lkg"]),
    "menu cut off": (torn, ["stock", "stock"]),
}


@pytest.mark.parametrize(("change", "names"), BROKEN.values(), ids=BROKEN)
def test_whatever_is_broken_something_starts(
    tmp_path: Path, change: Change, names: list[str]
) -> None:
    host = BlsHost(tmp_path / "host")
    hold(host)
    arm(host)
    change(host)
    assert [host.boot(), host.boot()] == names


def saved(entry: str) -> Change:
    return lambda host: host.environment(saved_entry=entry)


def options(words: str, **values: str) -> Change:
    def change(host: BlsHost) -> None:
        host.entry(host.kind.new, words)
        host.environment(**{**host.known, **values})

    return change


def only(*releases: str) -> Change:
    """Entries of these releases, none of which is saved."""

    def change(host: BlsHost) -> None:
        for path in (host.root / "boot/loader/entries").glob("*"):
            path.unlink()
        for release in releases:
            host.add(release)
        host.environment()

    return change


def configured(old: str, new: str) -> Change:
    return lambda host: (host.root / "boot/grub2/grub.cfg").write_text(CONFIG.replace(old, new))


MENUS: dict[str, Change] = {
    "as installed": lambda host: None,
    "saved by name": saved(f"{MACHINE}-{FEDORA43.old}"),
    "saved by title": saved(f"Fedora Linux ({FEDORA43.old})"),
    "saved by number": saved("1"),
    "nothing saved": saved(""),
    "saved one is gone": saved(f"{MACHINE}-6.1-that-is-gone"),
    "default of grub.cfg": configured("${saved_entry}", "1"),
    "9 before 12": only("6.17.9-300.fc43.x86_64", "6.17.12-300.fc43.x86_64"),
    "release of a build": only("6.17.12-300.fc43.x86_64", "6.17.12-301.fc43.x86_64"),
    "kernelopts": options("$kernelopts", kernelopts="root=a ro "),
    "kernelopts of grub.cfg": options("$kernelopts"),
    "spaces in a word": options('root=b dyndbg="file ec.c +p; file x.c" last'),
    "all that is no quoting": options("root=b a=1,2:3 b=c@d%e+f/g#h ~i !j *k ? [l] (m) last"),
}


@pytest.mark.parametrize("change", MENUS.values(), ids=MENUS)
def test_grub_starts_what_the_guard_reads(tmp_path: Path, change: Change) -> None:
    """What a commit compares with what was tried: `stock` plays GRUB."""
    host = BlsHost(tmp_path / "host")
    host.add(host.kind.new)
    change(host)
    kernel, words = CODE_OF["bls"].stock(host.root)
    found = bare_grub.start(host.root, tmp_path / "machine")
    menu = CODE_OF["menu"]
    assert (Path(found.kernel).name, found.words) == (kernel, [menu._inner(one) for one in words])


ODD = 'root=UUID=abc ro a="b c" dyndbg="x.c +p; y" d=$HOME e=${prefix} f;g h|i j&k l{m} n#o <p>'


def test_arguments_reach_the_kernel_as_they_were(tmp_path: Path) -> None:
    """Whatever an administrator has on the command line is repeated, and nothing of it is run."""
    host = Host(tmp_path / "host")
    host.line = f"BOOT_IMAGE=/boot/vmlinuz-{host.running} {ODD}"
    hold(host)
    menu = CODE_OF["menu"]
    found = bare_grub.start(host.root, tmp_path / "machine")
    words = [menu._inner(word) for word in menu.split(ODD)]
    assert found.words == [*words, f"stroke.lkg={host.state['transaction']}"]


@pytest.mark.parametrize("word", ["a;b", "a|b", "a&b", "a<b", "a>b", "{a}", "a$b", "#a", "a'b'"])
def test_a_word_that_grub_takes_for_script_is_none(tmp_path: Path, word: str) -> None:
    """Refused before a trial, which would have it where the entry of the menu has not."""
    host = BlsHost(tmp_path / "host")
    host.add(host.kind.new)
    host.entry(host.kind.new, f"root=b {word} last")
    assert CODE_OF["menu"].unquotable(["root=b", word, "last"]) == [word]
    try:
        words = bare_grub.start(host.root, tmp_path / "machine", passes=1).words
    except AssertionError:  # no entry at all
        words = []
    assert words != ["root=b", word, "last"]
