"""Version rules in Debian's and RPM's order, compared with the real tools where they are."""

from __future__ import annotations

import shutil
import subprocess

import debver
import pytest
import rpmver
from hostprofile.versions import meets, number, within
from hypothesis import given, settings
from hypothesis import strategies as st

# From rpm's own tests (tests/rpmvercmp.at) and rpm-version(7).
RPM = [
    ("1.0", "1.0", 0), ("1.0", "2.0", -1), ("2.0.1", "2.0.1", 0), ("2.0", "2.0.1", -1),
    ("2.0.1a", "2.0.1", 1), ("5.5p1", "5.5p2", -1), ("5.5p10", "5.5p1", 1),
    ("10xyz", "10.1xyz", -1),
    ("xyz10", "xyz10.1", -1), ("xyz.4", "8", -1), ("xyz.4", "2", -1), ("5.5p2", "5.6p1", -1),
    ("5.6p1", "6.5p1", -1), ("6.0.rc1", "6.0", 1), ("10b2", "10a1", 1), ("1.0aa", "1.0a", 1),
    ("10.0001", "10.1", 0), ("10.0001", "10.0039", -1), ("4.999.9", "5.0", -1),
    ("20101121", "20101122", -1), ("2_0", "2.0", 0), ("a", "a+", 0), ("+_", "_+", 0),
    ("1.0~rc1", "1.0", -1), ("1.0~rc1", "1.0~rc2", -1), ("1.0~rc1~git123", "1.0~rc1", -1),
    ("1.0^", "1.0", 1), ("1.0^git1", "1.0", 1), ("1.0^git1", "1.0^git2", -1),
    ("1.0^git1", "1.01", -1), ("1.0^20160101", "1.0.1", -1),
    ("1.0^20160101^git1", "1.0^20160102", -1),
    ("1.0~rc1^git1", "1.0~rc1", 1), ("1.0^git1~pre", "1.0^git1", -1), ("1.0a", "1.0.a", 0),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right", "order"), RPM)
def test_rpm_orders_parts(left: str, right: str, order: int) -> None:
    assert rpmver.compare_part(left, right) == order
    assert rpmver.compare_part(right, left) == -order


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("0:1-1", "1-1", 0), ("1:1-1", "2-1", 1), ("1-2", "1-10", -1), ("1-1", "1", 1),
        ("6.18.9-200.fc43", "6.18.10-100.fc43", -1), ("5.14.0-570.el9", "5.14.0-570.1.1.el9_6", -1),
    ],
)  # fmt: skip
def test_rpm_orders_packages(left: str, right: str, order: int) -> None:
    assert rpmver.compare(left, right) == order


@pytest.mark.parametrize(
    ("version", "minimum", "kind", "met"),
    [
        ("6.18.9-200.fc43", "6.18.4", "rpm", True), ("6.18.4~rc2-1.fc43", "6.18.4", "rpm", False),
        ("6.12.0-55.el10", "6.12.0", "rpm", True), ("1:1-1", "2", "rpm", False),
        ("1:1-1", "0:2", "rpm", True), ("20260309-1.fc43", "20260110", "rpm", True),
        ("7.2.12-1~bpo13+1", "7.2.12", "dpkg", True),
        ("6.14.0-1018.18", "6.14.0-1018", "dpkg", True),
        ("6.14.0-1017.17", "6.14.0-1018", "dpkg", False),
        ("6.17.0-19.19~24.04.2", "6.17.0-19.19~24.04.2", "dpkg", True),
        ("6.17.0-19.19~24.04.1", "6.17.0-19.19~24.04.2", "dpkg", False),
        ("6.17.0-20.20~24.04.1", "6.17.0-19.19~24.04.2", "dpkg", True),
        ("7.0.0-43.43~24.04.1", "6.17.0-19.19~24.04.2", "dpkg", True),
        ("20240318.git3b128b60.0ubuntu3.1", "20240318.git3b128b60-0ubuntu2.19", "dpkg", True),
        ("20240318.git3b128b60-0ubuntu2.9", "20240318.git3b128b60-0ubuntu2.19", "dpkg", False),
        ("6.17.9-061709-generic", "6.18.4", "upstream", False),
        ("6.18.4", "6.18.4", "upstream", True),
        ("6.9", "6.18.4", "upstream", False), ("7.0.0", "7.0", "upstream", True),
        ("6.19.0-rc1", "6.19", "upstream", False), ("6.19.0-rc1", "6.18.4", "upstream", True),
        ("", "6.18", "upstream", False), (None, "1", "dpkg", False), ("x", None, "rpm", True),
    ],
)  # fmt: skip
def test_what_meets_what(version: str | None, minimum: str | None, kind: str, met: bool) -> None:
    assert meets(version, minimum, kind) is met


def test_a_number_is_what_a_release_begins_with() -> None:
    assert number("6.17.9-061709-generic") == "6.17.9"
    assert number("1:7.2") == "7.2"
    assert number("next") == ""


@pytest.mark.parametrize(
    ("version", "least", "below", "inside"),
    [
        ("7.2.0", "7.2", "7.2.1", True), ("7.2.3", "7.2.1", "7.9", True),
        ("7.10.0", "7.9", "7.11", True), ("7.10.0", "7.2.1", "7.9", False),
        ("10.1.0", "7.14", None, True), ("6.4.4", None, "7.2", True), ("7.2", None, "7.2", False),
    ],
)  # fmt: skip
def test_ranges_hold_their_lower_end(
    version: str, least: str | None, below: str | None, inside: bool
) -> None:
    assert within(version, least, below) is inside


# --- properties ------------------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(["0", "1", "9", "10", "09", "a", "rc", "~", ".", "+", "fc43", "el9", "bpo13"]),
    min_size=1, max_size=6,
).map("".join)  # fmt: skip
RPM_WORDS = st.lists(
    st.sampled_from(["0", "1", "9", "10", "09", "a", "B", "rc", "~", "^", ".", "_", "+"]),
    min_size=1, max_size=6,
).map("".join)  # fmt: skip
DEBIAN = st.builds("1{}".format, WORDS)


@settings(deadline=None)
@given(RPM_WORDS, RPM_WORDS, RPM_WORDS)
def test_rpm_is_an_order(a: str, b: str, c: str) -> None:
    assert rpmver.compare_part(a, a) == 0
    assert rpmver.compare_part(a, b) == -rpmver.compare_part(b, a)
    if rpmver.compare_part(a, b) <= 0 and rpmver.compare_part(b, c) <= 0:
        assert rpmver.compare_part(a, c) <= 0


@settings(deadline=None)
@given(DEBIAN, DEBIAN, st.sampled_from(["dpkg", "rpm", "upstream"]))
def test_of_two_versions_one_meets_the_other(a: str, b: str, kind: str) -> None:
    assert meets(a, a, kind)
    assert meets(a, b, kind) or meets(b, a, kind)


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["dpkg", "rpm", "upstream"]))
def test_any_text_has_an_answer(a: str, b: str, kind: str) -> None:
    assert meets(a, b, kind) in (True, False)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not installed")
@settings(deadline=None, max_examples=40)
@given(DEBIAN, DEBIAN)
def test_debver_agrees_with_dpkg(a: str, b: str) -> None:
    word = {-1: "lt", 0: "eq", 1: "gt"}[debver.compare(a, b)]
    done = subprocess.run(["dpkg", "--compare-versions", a, word, b], check=False)
    assert done.returncode == 0, f"{a} {word} {b}"


@pytest.mark.skipif(not shutil.which("rpm"), reason="rpm is not installed")
@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(RPM_WORDS, RPM_WORDS), min_size=1, max_size=60))
def test_rpmver_agrees_with_rpm(pairs: list[tuple[str, str]]) -> None:
    calls = "".join(f"print(rpm.vercmp('{a}', '{b}') .. ' ')" for a, b in pairs)
    done = subprocess.run(
        ["rpm", "--eval", f"%{{lua:{calls}}}"], capture_output=True, text=True, check=True
    )
    theirs = [int(word) for word in done.stdout.split()]
    assert theirs == [rpmver.compare_part(a, b) for a, b in pairs]
