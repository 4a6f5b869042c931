"""The parser of kernel arguments: tables, and what holds for every line that anybody may write."""

from __future__ import annotations

import shlex
import string
import subprocess

import pytest
from boot_config import documents, plan, shell
from boot_config.errors import BootConfigError
from boot_config.layouts import Source
from boot_config.record import Record
from boot_config.words import Codec, applied, arguments, key_of, plain, undone, words, written
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

WANTED = ["amd_iommu=off", "ttm.pages_limit=5"]
KEYS = ["iommu"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        ("  \t ", []),
        ("quiet", ["quiet"]),
        (" a  b\tc ", ["a", "b", "c"]),
        ('x="a b" y', ['x="a b"', "y"]),
        ('"x=a b" y', ['"x=a b"', "y"]),
        ('x="a b', ['x="a b']),
        ("a=b=c", ["a=b=c"]),
        ("a -- b", ["a"]),
        ("-- a", []),
        ("--a", ["--a"]),
        ("'a b'", ["'a", "b'"]),
    ],
)
def test_words_are_the_kernels(line: str, found: list[str]) -> None:
    assert arguments(plain(line)) == found


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("a=1", "a"), ("a", "a"), ("ttm.pages-limit=1", "ttm.pages_limit"), ('"a=b c"', "a"),
        ("=x", ""), ("a=b=c", "a"),
    ],
)  # fmt: skip
def test_a_key_is_the_kernels(word: str, key: str) -> None:
    assert key_of(word) == key


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "amd_iommu=off ttm.pages_limit=5"),
        ("quiet", "quiet amd_iommu=off ttm.pages_limit=5"),
        ("quiet  ", "quiet amd_iommu=off ttm.pages_limit=5  "),
        ("amd_iommu=on  quiet", "quiet amd_iommu=off ttm.pages_limit=5"),
        ("a  amd_iommu=on\tb", "a\tb amd_iommu=off ttm.pages_limit=5"),
        ("amd_iommu=on amd_iommu=force iommu=soft", "amd_iommu=off ttm.pages_limit=5"),
        ("amd_iommu_dump=1 xamd_iommu=1 amd_iommu", None),
        ('amd_iommu="on  and off" b', "b amd_iommu=off ttm.pages_limit=5"),
        ('"ttm.pages-limit=1" b', "b amd_iommu=off ttm.pages_limit=5"),
        ("a -- amd_iommu=on", "a amd_iommu=off ttm.pages_limit=5 -- amd_iommu=on"),
        ("-- single", "amd_iommu=off ttm.pages_limit=5 -- single"),
        ("dyndbg=\"file ec.c +p; 'x'\" $x", None),
    ],
)
def test_owned_keys_are_replaced_as_whole_words(before: str, after: str | None) -> None:
    if after is None:
        kept = before.removesuffix(" amd_iommu")
        after = f"{kept} amd_iommu=off ttm.pages_limit=5"
    assert written(applied(plain(before), WANTED, KEYS)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"quiet"', '"quiet amd_iommu=off"'),
        ("'quiet'", "'quiet amd_iommu=off'"),
        ("quiet", '"quiet amd_iommu=off"'),
        ("", '"amd_iommu=off"'),
        ('""', '"amd_iommu=off"'),
        ("''", "'amd_iommu=off'"),
        ('" "', '"amd_iommu=off "'),
        ('"a"b', '"a"b" amd_iommu=off"'),
        ('"$GRUB_CMDLINE_LINUX x"', '"$GRUB_CMDLINE_LINUX x amd_iommu=off"'),
        ("$X", '"$X amd_iommu=off"'),
        ('"${X} amd_iommu=on"', '"${X} amd_iommu=off"'),
        (r'"x=\"a b\" amd_iommu=\"o n\""', r'"x=\"a b\" amd_iommu=off"'),
        (r"a\ b", '"a b amd_iommu=off"'),
        ('"a \\\n amd_iommu=on b"', '"a\\\n b amd_iommu=off"'),
        (r'"a\$b"', r'"a\$b amd_iommu=off"'),
        ("'a'\\''b'", "'a'\\''b amd_iommu=off'"),
    ],
)
def test_words_of_the_shell_keep_their_quoting(before: str, after: str) -> None:
    assert written(applied(shell.word(before), ["amd_iommu=off"], [])) == after


@pytest.mark.parametrize(
    "text",
    ['GRUB_CMDLINE_LINUX="$(x)"', "GRUB_CMDLINE_LINUX=`x`", "GRUB_CMDLINE_LINUX='a",
     'GRUB_CMDLINE_LINUX="${x:-y}"', "x=1; GRUB_CMDLINE_LINUX=a"],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(BootConfigError):
        shell.assignments(text)


@pytest.mark.parametrize(
    "text",
    ["# GRUB_CMDLINE_LINUX=x", "MY_GRUB_CMDLINE_LINUX=x", "GRUB_CMDLINE_LINUX_RECOVERY=x",
     "echo $GRUB_CMDLINE_LINUX", "A=1 # GRUB_CMDLINE_LINUX=x"],
)  # fmt: skip
def test_other_lines_are_no_assignments(text: str) -> None:
    assert shell.assignments(text) == []


def test_every_assignment_is_found_and_the_last_one_gets_the_arguments() -> None:
    text = (
        "export GRUB_CMDLINE_LINUX=a\nif true; then\n\tGRUB_CMDLINE_LINUX+=' b'\nfi\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet \\\nsplash" # c\n'
    )
    document = documents.grub_defaults(text)
    assert document.values == ["a", "' b'", '"quiet \\\nsplash"']
    assert document.target == 1


# Lines of an administrator: keys that stroke owns, keys that only look like them, values with
# quotes and spaces, what belongs to the first program.
ADMINS_KEYS = st.sampled_from(
    ["quiet", "root", "amd_iommu", "amd-iommu", "amd_iommu_dump", "xamd_iommu", "iommu", "iommu.x",
     "ttm.pages_limit", "ttm.pages-limit", "ttmxpages_limit", "dyndbg", "$kernelopts", "ü"]
)  # fmt: skip
VALUES = st.one_of(
    st.just(""),
    st.text(string.ascii_letters + string.digits + "/:,.=-_", max_size=6).map("={}".format),
    st.text(string.ascii_letters + " =';+", max_size=8).map('="{}"'.format),
)
ADMINS_WORDS = st.one_of(
    st.tuples(ADMINS_KEYS, VALUES).map("".join),
    st.tuples(ADMINS_KEYS, VALUES).map(lambda pair: '"' + "".join(pair).replace('"', "") + '"'),
    st.just("--"),
)
SPACES = st.text(" \t", min_size=1, max_size=3)


@st.composite
def admins_lines(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.tuples(ADMINS_WORDS, SPACES), max_size=8))
    return draw(st.text(" \t", max_size=2)) + "".join(word + space for word, space in parts)


ARGUMENTS = st.lists(
    st.sampled_from(
        ["amd_iommu=off", "iommu=pt", "ttm.pages_limit=5", "amdgpu.gttsize=7", "nosmt"]
    ),
    unique=True,
    max_size=4,
)  # fmt: skip
OWNED = st.lists(
    st.sampled_from(["iommu", "amd_iommu", "dyndbg", "quiet"]), unique=True, max_size=3
)


def foreign(found: list[str], wanted: list[str], keys: list[str]) -> list[str]:
    owned = {key_of(word) for word in [*wanted, *keys]}
    return [word for word in found if key_of(word) not in owned]


@given(admins_lines(), ARGUMENTS, OWNED)
def test_the_admins_words_keep_their_order_and_ours_are_there_once(
    line: str, wanted: list[str], keys: list[str]
) -> None:
    before = arguments(plain(line))
    after = applied(plain(line), wanted, keys)
    found = arguments(after)
    assert foreign(found, wanted, keys) == foreign(before, wanted, keys)
    assert [word for word in found if word not in foreign(found, wanted, keys)] == wanted
    rest = [word.text for word in words(plain(line))][len(before) :]
    assert [word.text for word in words(after)][len(found) :] == rest
    assert arguments(applied(after, wanted, keys)) == found


@given(admins_lines(), ARGUMENTS, OWNED)
def test_undone_word_by_word_nothing_is_lost(line: str, wanted: list[str], keys: list[str]) -> None:
    before = arguments(plain(line))
    replaced = [word for word in before if word not in foreign(before, wanted, keys)]
    back = arguments(undone(applied(plain(line), wanted, keys), wanted, replaced))
    assert set(back) == set(before)
    assert foreign(back, wanted, keys) == foreign(before, wanted, keys)


def in_entry(line: str) -> str:
    return f"title x\nversion 1\noptions {line}\nlinux /x\n"


def in_entry_of_dos(line: str) -> str:
    return f"title x\r\noptions\t{line}\r\n"


def in_cmdline(line: str) -> str:
    return f"# comment\n{line}"


def in_environment(line: str) -> str:
    return f"{documents.GRUBENV_SIGNATURE}kernelopts={line}\nb=1\n".ljust(2048, "#")


def in_double_quotes(line: str) -> str:
    inside = "".join("\\" + c if c in '\\"$`' else c for c in line)
    return f'# admin\nGRUB_CMDLINE_LINUX="{inside}" # end\nGRUB_TIMEOUT=1'


def in_single_quotes(line: str) -> str:
    return "GRUB_CMDLINE_LINUX='" + line.replace("'", "'\\''") + "'\n"


def without_quotes(line: str) -> str:
    return f"GRUB_CMDLINE_LINUX={shlex.quote(line)}\nGRUB_CMDLINE_LINUX_DEFAULT=quiet"


PLACES = [
    (in_entry, documents.entry), (in_entry_of_dos, documents.entry),
    (in_cmdline, documents.cmdline), (in_environment, documents.grubenv),
    (in_double_quotes, documents.grub_defaults), (in_single_quotes, documents.grub_defaults),
    (without_quotes, documents.grub_defaults),
]  # fmt: skip


@pytest.mark.parametrize(("place", "reader"), PLACES, ids=lambda part: part.__name__)
@settings(max_examples=150)
@given(line=admins_lines(), wanted=ARGUMENTS, keys=OWNED)
@example(line="amd_iommu=on", wanted=["amd_iommu=off"], keys=[])
def test_present_then_absent_gives_the_same_bytes(
    place: object, reader: documents.Reader, line: str, wanted: list[str], keys: list[str]
) -> None:
    assert callable(place)
    text = str(place(line))
    source = Source("/file", reader)
    try:
        after, mine = plan._edited(source, text, wanted, [*keys, *wanted])
    except BootConfigError:
        assume(False)
    record = Record({"arguments": wanted, "keys": keys, "files": {"/file": mine}})
    assert plan.original(source, after, mine, record) == text
    assert plan.original(source, text, mine, record) == text
    again = plan.original(source, after, mine, record)
    assert plan._edited(source, again, wanted, [*keys, *wanted])[0] == after


@settings(max_examples=40, deadline=None)
@given(line=admins_lines(), wanted=ARGUMENTS)
def test_the_shell_reads_what_was_written(line: str, wanted: list[str]) -> None:
    text = in_double_quotes(line)
    source = Source("/etc/default/grub", documents.grub_defaults)
    after, _ = plan._edited(source, text, wanted, wanted)
    said = subprocess.run(
        ["sh", "-euc", 'eval "$0"; printf %s "$GRUB_CMDLINE_LINUX"', after],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == written(applied(plain(line), wanted, []))


@given(st.text(max_size=60))
@example("#")
@example("options")
@example("options \x00 --")
@example("GRUB_CMDLINE_LINUX=\\")
def test_any_text_is_edited_or_refused(text: str) -> None:
    readers: list[documents.Reader] = [
        documents.entry, documents.cmdline, documents.grub_defaults, documents.grubenv
    ]  # fmt: skip
    for reader in readers:
        try:
            after, mine = plan._edited(Source("/file", reader), text, WANTED, [*KEYS, *WANTED])
        except BootConfigError:
            continue
        record = Record({"arguments": WANTED, "keys": KEYS, "files": {"/file": mine}})
        assert plan.original(Source("/file", reader), after, mine, record) == text


@pytest.mark.parametrize("codec", [plain, shell.word])
def test_no_wanted_argument_changes_nothing(codec: Codec) -> None:
    assert written(applied(codec('"a  b"'), [], ["c"])) == '"a  b"'
