"""The boot guard's menu: GRUB's own checker takes it, and no argument becomes a command."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.unit.guard_host import CODE_OF

menu = CODE_OF["menu"]
CHECKER = shutil.which("grub-script-check")


def rendered(words: list[str], *, trial: bool = True) -> str:
    lkg = menu.Entry("/boot/stroke/vmlinuz", "/boot/stroke/initrd.img", ["root=UUID=x", "ro"])
    new = menu.Entry("/boot/vmlinuz-7", "/boot/initrd.img-7", words)
    text: str = menu.render(
        uuid="1234-abcd", env="/boot/stroke/env", transaction="abc123", lkg=lkg,
        trial=new if trial else None,
    )  # fmt: skip
    return text


HOSTILE = ["a=$(reboot)", "b=`x`", "c=;halt", "d=}", "e=&", "f=#x", "g={", "h=|x", "i=<x>",
           "j=$root", 'k="a b"', "l=ü"]  # fmt: skip


@pytest.mark.skipif(CHECKER is None, reason="grub-script-check is not installed (grub-common)")
@pytest.mark.parametrize("words", [["quiet"], [], HOSTILE], ids=["plain", "none", "hostile"])
@pytest.mark.parametrize("trial", [True, False])
def test_grub_takes_it(words: list[str], trial: bool) -> None:
    def check(text: str) -> int:
        return subprocess.run([str(CHECKER)], input=text, text=True, check=False,
                              capture_output=True).returncode  # fmt: skip

    text = rendered(words, trial=trial)
    assert check(text) == 0
    assert check(text.replace("}", "", 1)) != 0


def test_every_word_of_a_command_line_is_quoted() -> None:
    line = next(line for line in rendered(HOSTILE).splitlines() if "if linux" in line)
    for word in HOSTILE:
        assert "'" + word.replace('"', "") + "'" in line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("BOOT_IMAGE=/vmlinuz root=x ro", ["root=x", "ro"]),
        ("a  b\tc\n", ["a", "b", "c"]),
        ('dyndbg="file ec.c +p" ro', ['dyndbg="file ec.c +p"', "ro"]),
        ("stroke.lkg=1 stroke.trial=2 initrd=x ro", ["ro"]),
        ("", []),
    ],
)
def test_a_command_line_is_split_as_the_kernel_does(line: str, words: list[str]) -> None:
    assert menu.own_words(line) == words


@pytest.mark.parametrize(
    "word", ["a='x'", "b=\\", 'c="x"y', 'd=x"y', "e=\n", "f;g", "#h", 'i="$j"']
)
def test_words_that_grub_would_change_are_found(word: str) -> None:
    """What it does with them is seen in tests/vm/test_boot_entries.py."""
    assert menu.unquotable(["root=x", word, 'f="a b; c"', '"g=a b"', "h#i"]) == [word]


def test_only_whole_keys_are_replaced() -> None:
    words = ["amd_iommu=on", "amd_iommu_dump", "ttm.pages-limit=1", "ro"]
    wanted = ["amd_iommu=off"]
    assert menu.with_arguments(words, wanted, ["ttm.pages_limit"]) == [
        "amd_iommu_dump", "ro", "amd_iommu=off"]  # fmt: skip


@pytest.mark.parametrize("state", menu.STATES)
def test_the_environment_is_read_back(state: str) -> None:
    assert menu.state_of(menu.environment(state)) == state


@pytest.mark.skipif(shutil.which("grub-editenv") is None, reason="grub-editenv is not installed")
def test_grubs_own_tool_reads_the_environment(tmp_path: object) -> None:
    block = menu.environment("hold")
    path = f"{tmp_path}/env"
    with open(path, "wb") as handle:  # noqa: PTH123
        handle.write(block)
    shown = subprocess.check_output(["grub-editenv", path, "list"], text=True)
    assert shown == "stroke_state=hold\n"
