"""Package transactions: what is planned, refused, recorded, and taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from package_host.apt import Apt
from package_host.dnf import Dnf
from package_host.record import Record, Snapshot, differences, load_all
from package_host.shell import Done, Shell, Trouble

Json = dict[str, Any]


class Fake(Shell):
    """Answers by the first pattern that is found in the command; notes every command."""

    def __init__(self, answers: dict[str, str | Done], programs: tuple[str, ...] = ()) -> None:
        self.answers = answers
        self.programs = programs
        self.calls: list[str] = []

    def run(self, *words: str, stdin: str | None = None) -> Done:
        line = " ".join(words)
        self.calls.append(line)
        for pattern, answer in self.answers.items():
            if re.search(pattern, line):
                return answer if isinstance(answer, Done) else Done(0, answer, "")
        return Done(0, "", "")

    def has(self, program: str) -> bool:
        return program in self.programs


def everything(found: Json, opened: Json) -> Json:
    return found


BEFORE: Snapshot = {"libc6": ["2.41"], "linux-base": ["4.12"], "kernel-core": ["6.17.1"]}
AFTER: Snapshot = {"libc6": ["2.41"], "linux-base": ["4.13"], "podman": ["5.4"],
                   "kernel-core": ["6.17.1", "6.19.12"]}  # fmt: skip


def test_a_version_beside_another_one_came_and_is_no_upgrade() -> None:
    assert differences(BEFORE, AFTER) == {
        "added": {"podman": ["5.4"], "kernel-core": ["6.19.12"]},
        "upgraded": {"linux-base": {"before": "4.12", "after": "4.13"}},
        "removed": {},
    }


def test_the_oldest_kernel_that_dnf_drops_is_noted() -> None:
    found = differences({"kernel": ["1", "2", "3"]}, {"kernel": ["2", "3", "4"]})
    assert (found["added"], found["removed"]) == ({"kernel": ["4"]}, {"kernel": ["1"]})


def test_a_record_survives_the_disk_and_a_second_transaction(tmp_path: Path) -> None:
    record = Record.load(tmp_path, "kernel", BEFORE)
    record.begin(7, ["podman"], BEFORE, {"podman": None})
    again = Record.load(tmp_path, "kernel", AFTER)
    assert again.open is not None and again.open["since"] == 7
    again.settle(AFTER, everything)
    newer = AFTER | {"linux-base": ["4.14"], "podman": ["5.5"]}
    again.begin(8, ["podman"], AFTER, None)
    again.settle(newer, everything)
    last = Record.load(tmp_path, "kernel", newer)
    assert last.open is None
    assert last.added == {"podman": ["5.5"], "kernel-core": ["6.19.12"]}
    assert last.upgraded == {"linux-base": {"before": "4.12", "after": "4.14"}}
    assert [path.name for path in tmp_path.iterdir()] == ["kernel.json"]


def test_entries_are_what_is_still_there(tmp_path: Path) -> None:
    record = Record(tmp_path, "kernel")
    record.added = {"podman": ["5.4"], "gone": ["1"], "kernel-core": ["6.19.12"]}
    record.upgraded = {"linux-base": {"before": "4.12", "after": "4.13"},
                       "libc6": {"before": "2.41", "after": "2.42"}}  # fmt: skip
    now = {"podman": ["5.4.1"], "kernel-core": ["6.17.1", "7.0"], "linux-base": ["4.13"],
           "libc6": ["2.41"]}  # fmt: skip
    rows = record.entries(now, frozenset({"kernel-core"}))
    assert [(row["name"], row["before"], row["after"]) for row in rows] == [
        ("linux-base", "4.12", "4.13"),
        ("podman", None, "5.4.1"),  # upgraded since by the distribution: still what stroke brought
    ]


def test_a_record_of_the_first_form_is_read(tmp_path: Path) -> None:
    old = {"podman": None, "linux-base": "4.12", "libc6": "2.41", "linux-image-6.12": "6.12-1"}
    (tmp_path / "kernel.json").write_text(json.dumps(old), encoding="utf-8")
    now = AFTER | {"linux-image-6.12": ["6.12-1"], "linux-image-7.2": ["7.2-1"]}
    (record,) = load_all(tmp_path, [], now)
    assert record.added == {"podman": ["5.4"], "linux-image-7.2": ["7.2-1"]}
    assert record.upgraded == {"linux-base": {"before": "4.12", "after": "4.13"}}


@pytest.mark.parametrize("text", ["[]", '{"schema": "stroke/packages/9"}', "{"])
def test_a_record_of_another_form_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "rocm.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):
        Record.load(tmp_path, "rocm", {})


PLAN = """\
Inst linux-base [4.12] (4.13~bpo13+1 Debian Backports:stable-backports [all])
Inst linux-image-amd64 [6.12.107-1] (7.2.12-1~bpo13+1 Debian Backports [amd64]) []
Inst linux-image-7.2.12 (7.2.12-1~bpo13+1 Debian Backports [amd64])
Conf linux-base (4.13~bpo13+1 Debian Backports [all])
"""
DPKG = "installed\tlinux-image-amd64\tamd64\t6.12.107-1\nconfig-files\told\tamd64\t1\n"
WANTED = [{"name": "linux-image-amd64", "minimum": "6.18.4", "deny": []}]


def apt(monkeypatch: pytest.MonkeyPatch, **answers: str | Done) -> tuple[Apt, Fake]:
    known = {"holds": "", "plan": PLAN, "newer": ""} | answers
    shell = Fake({
        "print-architecture": "amd64\n", "dpkg-query": DPKG, "showhold": known["holds"],
        "compare-versions": known["newer"], "simulate.* install": known["plan"],
    })  # fmt: skip
    monkeypatch.setattr(Apt, "_fresh", lambda self: True)
    return Apt(shell, 9), shell


def test_the_plan_of_apt_has_every_package_that_would_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, shell = apt(monkeypatch)
    planned = host.plan(WANTED, [])
    assert planned["linux-base"] == {"before": "4.12", "after": "4.13~bpo13+1"}
    assert planned["linux-image-7.2.12"]["before"] is None
    host.install(WANTED, planned)
    last = shell.calls[-1]
    assert last.endswith("install linux-image-amd64=7.2.12-1~bpo13+1")
    assert "--no-remove" in last and "force-confold" in last and "Lock::Timeout=9" in last
    assert host.installed() == {"linux-image-amd64": ["6.12.107-1"]}


EXACT = [{"name": "firmware-amd-graphics", "version": "20260110-1"}]


def test_an_exact_version_may_be_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = "Inst firmware-amd-graphics [20260916-1] (20260110-1 Debian:13 [all])\n"
    host, shell = apt(monkeypatch, plan=plan)
    planned = host.plan(EXACT, [])
    host.install(EXACT, planned)
    simulated = next(call for call in shell.calls if "--simulate" in call)
    for call in (simulated, shell.calls[-1]):
        assert "--allow-downgrades" in call
        assert call.endswith("install firmware-amd-graphics=20260110-1")
    for other in (WANTED, [{"name": "linux-image-amd64", "version": "7.2.*"}]):
        host, shell = apt(monkeypatch)
        host.plan(other, [])
        assert not any("--allow-downgrades" in call for call in shell.calls)


def test_a_version_that_the_archives_gave_up_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = "E: Version '20260110-1' for 'firmware-amd-graphics' was not found"
    host, _ = apt(monkeypatch, plan=Done(100, "", gone))
    with pytest.raises(Trouble, match=r"STK-455: .*20260110-1.*generation_parts"):
        host.plan(EXACT, [])


def test_a_hold_of_somebody_else_is_a_refusal_and_our_own_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, shell = apt(monkeypatch, holds="linux-base\nother\n")
    with pytest.raises(Trouble, match=r"STK-415: linux-base would have to change.*Hint"):
        host.plan(WANTED, [])
    assert host.plan(WANTED, ["linux-base"])
    assert not any(" install " in call and "simulate" not in call for call in shell.calls)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"newer": Done(1, "", "")}, "STK-401: the archives of the host offer 7.2.12"),
        ({"plan": Done(100, "", "E: Unable to locate package linux-image-amd64")}, "STK-401"),
        ({"plan": Done(100, "", "E: dpkg was interrupted, you must …")}, "STK-407"),
        ({"plan": Done(100, "", "E: Failed to fetch http://x  404")}, "STK-414"),
        ({"plan": Done(100, "", "W: GPG error: NO_PUBKEY 1\nE: not signed")}, "STK-406"),
    ],
)
def test_what_apt_cannot_do_has_a_code(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Done], code: str
) -> None:
    host, shell = apt(monkeypatch, **answers)
    with pytest.raises(Trouble, match=code):
        host.plan(WANTED, [])
    assert any(call.endswith("update") for call in shell.calls)  # it looked again first


def test_a_version_known_to_be_bad_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = apt(monkeypatch)
    with pytest.raises(Trouble, match="known to be bad"):
        host.plan([WANTED[0] | {"deny": ["7.2.12"]}], [])


def test_only_planned_differences_are_strokes(monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = apt(monkeypatch)
    found = differences(BEFORE, AFTER)
    mine = host.ours(found, {"planned": {"podman": None}})
    assert mine == {"added": {"podman": ["5.4"]}, "upgraded": {}, "removed": {}}


BACK = "Purg linux-image-7.3 [7.3]\nInst linux-base [4.17] (4.12 Debian:13 [all])\n"


@pytest.mark.parametrize(
    ("simulated", "offered", "whether"),
    [
        (BACK, "4.12", True),
        (BACK + "Purg toolbox [1]\n", "4.12", False),
        (BACK + "Inst bash [5.2] (5.1 Debian:13 [amd64])\n", "4.12", False),
        (Done(100, "", "E: unmet dependencies"), "4.12", False),
        (BACK, "4.11", False),
    ],
    ids=["all", "somebody else's goes", "somebody else's changes", "refused", "not offered"],
)
def test_all_of_it_goes_back_in_one_transaction_or_none(
    monkeypatch: pytest.MonkeyPatch, simulated: str | Done, offered: str, whether: bool
) -> None:
    shell = Fake({"madison": f"linux-base | {offered} | archive\n", "simulate": simulated,
                  "compare-versions 4.11": Done(1, "", "")})  # fmt: skip
    monkeypatch.setattr(Apt, "_fresh", lambda self: True)
    upgraded = [{"name": "linux-base", "before": "4.12", "after": "4.17"}]
    added = [{"name": "linux-image-7.3", "before": None, "after": "7.3"}]
    assert Apt(shell, 9).both(upgraded, added) is whether
    real = [call for call in shell.calls if " install " in call and "simulate" not in call]
    assert [call.split(" install ")[1] for call in real] == (
        ["linux-base=4.12 linux-image-7.3-"] if whether else []
    )
    assert any("debconf-set-selections" in call for call in shell.calls) is whether


def test_dpkg_says_what_others_need(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Fake({
        "simulate --remove .*conmon": Done(1, "", (
            "dpkg: dependency problems prevent removal of conmon:\n toolbox depends on conmon.\n")),
    })  # fmt: skip
    kept = Apt(shell, 9).remove([{"name": "podman"}, {"name": "conmon"}])
    assert kept == {"conmon": "needed by toolbox"}
    assert shell.calls[-1].endswith("purge podman")
    assert any("debconf-set-selections" in call for call in shell.calls)


def rpm(*rows: str) -> str:
    return "".join("\t".join(row.split()) + "\n" for row in rows)


ALL = rpm("podman 5 5.7.0-1 x86_64 90", "conmon (none) 2.1-1 x86_64 90", "vim 2 9.1-1 x86_64 95",
          "kernel-core (none) 6.17-1 x86_64 10", "kernel-core 0 6.19-1 x86_64 90",
          "gpg-pubkey (none) 2a63-6b01 (none) 90")  # fmt: skip


def dnf(**answers: str | Done) -> tuple[Dnf, Fake]:
    shell = Fake({"--eval": "x86_64\n", **answers, "^rpm --query": ALL})
    return Dnf(shell, 9), shell


def test_versions_of_rpm_have_no_zero_epoch() -> None:
    now = dnf()[0].installed()
    assert now["podman"] == ["5:5.7.0-1"] and now["kernel-core"] == ["6.17-1", "6.19-1"]


def test_rules_become_dnfs_words_and_bad_versions_are_shut_out() -> None:
    host, shell = dnf()
    wanted: list[Json] = [{"name": "podman", "minimum": "4.4", "deny": ["5.0.0"]},
              {"name": "conmon", "version": "2.1*"}]  # fmt: skip
    host.install(wanted, host.plan(wanted, []))
    (line,) = [call for call in shell.calls if " install " in call]
    assert line.endswith("--exclude=podman-5.0.0* install podman >= 4.4 conmon-2.1*")


EXCLUDE = "All matches were filtered out by exclude filtering for argument: podman >= 4.4\n"


@pytest.mark.parametrize(
    ("install", "alone", "code"),
    [
        (EXCLUDE, EXCLUDE, "STK-415: podman"),
        (EXCLUDE + "Error: Unable to find a match: podman", "Complete", "STK-401"),
        ("Error: GPG check FAILED", "", "STK-406"),
        ("No match for argument: podman >= 4.4", "", "STK-401.*podman >= 4.4"),
        ("Error: Failed to download metadata for repo 'x'", "", "STK-414"),
        ("Error: Problem: conflicting requests", "", "STK-801"),
    ],
)
def test_what_dnf_refuses_has_a_code(install: str, alone: str, code: str) -> None:
    answers = {"assumeyes.* install": Done(1, "", install), "assumeno": Done(1, alone, "")}
    host, _ = dnf(**answers)
    with pytest.raises(Trouble, match=code):
        host.install([{"name": "podman", "minimum": "4.4"}], {})


def test_a_transaction_that_was_cut_off_is_told_by_rpms_own_number() -> None:
    before: Snapshot = {"kernel-core": ["6.17-1"]}
    host, _ = dnf()
    found = differences(before, host.installed())
    ended = host.ours(found, {"since": 80, "wanted": ["podman"]})
    assert sorted(ended["added"]) == ["conmon", "gpg-pubkey", "kernel-core", "podman"]
    assert host.ours(found, {"since": 80, "wanted": ["other"]}) == ended  # the first one since
    assert sorted(host.ours(found, {"since": 93, "wanted": ["other"]})["added"]) == [
        "gpg-pubkey", "vim"]  # fmt: skip
    assert host.ours(found, {"since": 99, "wanted": ["other"]})["removed"] == {}


def test_rpm_says_what_others_need() -> None:
    blocked = Done(
        1, "", "error: Failed dependencies:\n\tconmon >= 2 is needed by (installed) t-1\n"
    )
    answers: dict[str, str | Done] = {
        "erase --test .*conmon": blocked,
        "whatprovides conmon": rpm("conmon (none) 2.1-1 x86_64 90"),
    }
    host, shell = dnf(**answers)
    rows = [{"name": "podman", "after": "5:5.7.0-1"}, {"name": "conmon", "after": "2.1-1"},
            {"name": "gpg-pubkey", "after": "2a63-6b01"}]  # fmt: skip
    assert host.remove(rows) == {"conmon": "needed by t-1"}
    assert shell.calls[-2].endswith("remove podman-5.7.0-1.x86_64")
    assert shell.calls[-1] == "rpm --erase gpg-pubkey-2a63-6b01"
