"""The record of generations: what makes one, when one is added, and what is never lost."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from generation_host import record as record_file
from gpu_host.files import Host

from tests.unit.trees import write

import generation  # isort: skip

Json = dict[str, Any]
RECORD = "/var/lib/stroke/generations.json"
KERNEL = "7.2.12+deb13-amd64"
ONE, TWO = "1" * 64, "2" * 64
STORE = "/var/lib/containers/storage/overlay-images/images.json"
SERVICE = {"name": "stroke-inference", "container": "stroke-inference", "runtime": "podman",
           "user": None, "reference": "localhost/vllm:1"}  # fmt: skip
STATUS = """\
Package: firmware-amd-graphics
Status: install ok installed
Architecture: all
Version: {version}

"""


class Debian:
    """A host of a few files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write(root, "/etc/os-release", "ID=debian\nVERSION_ID=13\n")
        write(root, "/proc/sys/kernel/osrelease", f"{KERNEL}\n")
        self.firmware("20260110-1")
        self.images({ONE: ["localhost/vllm:1"]})

    def firmware(self, version: str) -> None:
        write(self.root, "/var/lib/dpkg/status", STATUS.format(version=version))

    def images(self, known: dict[str, list[str]]) -> None:
        rows = [{"id": image, "names": names} for image, names in known.items()]
        write(self.root, STORE, json.dumps(rows))

    @property
    def record(self) -> Json:
        found: Json = json.loads((self.root / RECORD.lstrip("/")).read_text())
        return found


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    return Debian(tmp_path)


def ask(host: Debian, capture: pytest.CaptureFixture[str], **given: Any) -> Json:
    """The module as Ansible starts it, with its answer."""
    given = {"arguments": ["amd_iommu=off"], "packages": ["firmware-amd-graphics"],
             "services": [SERVICE], **given}  # fmt: skip
    order = {"root": os.fspath(host.root), **given}
    with pytest.MonkeyPatch.context() as patch:
        text = json.dumps({"ANSIBLE_MODULE_ARGS": order})
        patch.setattr(basic, "_ANSIBLE_ARGS", text.encode())
        patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        patch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit):
            generation.main()
    answer: Json = json.loads(capture.readouterr().out.strip().splitlines()[-1])
    return answer


def test_a_first_generation_is_what_the_host_says(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ask(debian, capsys, managed_keys=["iommu"])
    assert (told["changed"], told["current"]) == (True, 1)
    (one,) = debian.record["generations"]
    at = one.pop("at")
    assert len(at) == 20 and at.endswith("Z")
    assert one == {
        "number": 1, "kernel": KERNEL, "arguments": ["amd_iommu=off"], "managed_keys": ["iommu"],
        "packages": [{"name": "firmware-amd-graphics", "version": "20260110-1"}],
        "images": {"stroke-inference": {"reference": "localhost/vllm:1", "id": f"sha256:{ONE}"}},
    }  # fmt: skip
    assert oct((debian.root / RECORD.lstrip("/")).stat().st_mode)[-4:] == "0644"


def test_a_second_run_changes_nothing(debian: Debian, capsys: pytest.CaptureFixture[str]) -> None:
    ask(debian, capsys)
    before = (debian.root / RECORD.lstrip("/")).stat()
    assert ask(debian, capsys)["changed"] is False
    assert (debian.root / RECORD.lstrip("/")).stat().st_ino == before.st_ino


@pytest.mark.parametrize("part", ["kernel", "arguments", "firmware", "image"])
def test_whatever_differs_makes_another_one(
    debian: Debian, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    ask(debian, capsys)
    more: Json = {}
    if part == "kernel":
        write(debian.root, "/proc/sys/kernel/osrelease", "7.3.4\n")
    elif part == "arguments":
        more = {"arguments": ["amd_iommu=off", "x=1"]}
    elif part == "firmware":
        debian.firmware("20260916-1")
    else:
        debian.images({ONE: [], TWO: ["localhost/vllm:1"]})
    assert ask(debian, capsys, **more)["current"] == 2
    assert [one["number"] for one in debian.record["generations"]] == [1, 2]


@pytest.mark.parametrize("harm", ["mode", "link"])
def test_a_record_that_is_not_as_it_was_left_is_put_right(
    debian: Debian, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    ask(debian, capsys)
    path, before = debian.root / RECORD.lstrip("/"), debian.record
    if harm == "mode":
        path.chmod(0o666)
    else:
        path.symlink_to(path.rename(debian.root / "elsewhere"))
    assert ask(debian, capsys)["changed"] is True
    assert (path.is_symlink(), oct(path.stat().st_mode)[-4:]) == (False, "0644")
    assert debian.record == before


def test_check_mode_predicts_and_writes_nothing(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ask(debian, capsys, _ansible_check_mode=True, _ansible_diff=True)
    assert told["changed"] and KERNEL in told["diff"]["after"] and told["diff"]["before"] == ""
    assert not (debian.root / RECORD.lstrip("/")).exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": "x"}', '{"schema": "stroke/generations/1", "current": 1}',
     '{"schema": "stroke/generations/1", "current": 1, "generations": [{"number": 1}]}',
     '{"schema": "stroke/generations/1", "current": 1, "generations": ["x"]}'],
)  # fmt: skip
@pytest.mark.parametrize("state", ["present", "query"])
def test_a_broken_record_is_told_and_left_as_it_is(
    debian: Debian, capsys: pytest.CaptureFixture[str], text: str, state: str
) -> None:
    path = write(debian.root, RECORD, text)
    told = ask(debian, capsys, state=state)
    assert told["failed"] and told["msg"].startswith("STK-525: ") and "Hint: " in told["msg"]
    assert path.read_text() == text


def made(number: int, **more: Any) -> Json:
    return {"number": number, "at": "2026-01-01T00:00:00Z", "kernel": f"{number}",
            "arguments": [], "managed_keys": [], "packages": [], "images": {}, **more}  # fmt: skip


def record_of(*numbers: int, current: int) -> Json:
    known = [made(number) for number in numbers]
    return {"schema": record_file.SCHEMA, "current": current, "generations": known}


def state(kernel: str) -> Json:
    return {key: value for key, value in made(0, kernel=kernel).items() if key not in
            ("number", "at")}  # fmt: skip


def numbers(record: Json) -> list[int]:
    return [one["number"] for one in record["generations"]]


def test_a_host_that_went_back_is_at_that_generation_and_goes_forward_to_the_last_one() -> None:
    gone = record_file.record(record_of(1, 2, 3, current=3), state("2"), 2, 10, "now")
    assert (gone["current"], numbers(gone)) == (2, [1, 2, 3])
    assert record_file.record(gone, state("2"), 2, 10, "later") == gone
    again = record_file.record(gone, state("3"), 0, 10, "now")
    assert (again["current"], numbers(again)) == (3, [1, 2, 3])


def test_the_same_state_once_more_without_going_back_is_a_generation_of_its_own() -> None:
    made = record_file.record(record_of(1, 2, current=2), state("1"), 0, 10, "now")
    assert (made["current"], numbers(made)) == (3, [1, 2, 3])
    assert "back_to" not in made["generations"][-1]


def test_going_back_with_a_part_only_is_marked_as_such() -> None:
    made = record_file.record(record_of(1, 2, current=2), state("1 with another image"), 1, 10, "")
    assert (made["current"], made["generations"][-1]["back_to"]) == (3, 1)


def test_the_oldest_go_first_and_the_current_one_never() -> None:
    full = record_of(1, 2, 3, 4, current=4)
    assert numbers(record_file.record(full, state("5"), 0, 3, "")) == [3, 4, 5]
    back = record_file.record(full, state("1"), 1, 3, "")
    assert (back["current"], numbers(back)) == (1, [1, 3, 4])
    assert numbers(record_file.record(full, state("5"), 0, 0, "")) == [4, 5]


def test_a_query_tells_what_the_host_still_has(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(debian, capsys)
    debian.images({ONE: [], TWO: ["localhost/vllm:2"]})
    write(debian.root, f"/boot/vmlinuz-{KERNEL}", "x")
    (debian.root / f"lib/modules/{KERNEL}").mkdir(parents=True)
    (debian.root / "lib/modules/6.1-without-an-image").mkdir()
    known = ask(debian, capsys, state="query", stores=[{"runtime": "podman", "user": None}])
    assert known["known"]["kernels"] == [KERNEL]
    assert known["known"]["images"] == [f"sha256:{ONE}", f"sha256:{TWO}"]
    assert known["known"]["packages"] == {"firmware-amd-graphics": "20260110-1"}
    assert known["known"]["generations"] == debian.record["generations"]


def test_a_query_of_a_host_without_a_record_makes_none(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ask(debian, capsys, state="query")["known"]
    assert (known["current"], known["generations"]) == (0, [])
    assert not (debian.root / RECORD.lstrip("/")).exists()


@pytest.mark.parametrize(
    ("told", "wanted"),
    [(ONE, f"sha256:{ONE}"), (f"sha256:{ONE}\n", f"sha256:{ONE}"), ("", ""), (None, ""),
     ("localhost/vllm:1", "")],
)  # fmt: skip
def test_ids_of_every_runtime_are_the_same(told: Any, wanted: str) -> None:
    assert generation.plain_id(told) == wanted


def test_the_container_decides_and_not_what_its_image_is_called_by_now(
    debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(host: Host, *words: str) -> str:
        asked.append(words)
        return f"{TWO}\n"

    monkeypatch.setattr(generation, "run", answer)
    assert generation.image_of(Host(debian.root), SERVICE) == f"sha256:{TWO}"
    assert asked == [("podman", "container", "inspect", "--format", "{{.Image}}",
                      "stroke-inference")]  # fmt: skip


def test_versions_that_apt_offers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = " a | 2-1 | http://x trixie/main\n a | 1-1 | http://x trixie/main\n b | 3 | x\nW: y\n"
    monkeypatch.setattr(generation, "run", lambda host, *words: lines)
    assert generation.offered(Host(Path("/")), ["a", "b", "c"]) == {"a": ["2-1", "1-1"], "b": ["3"]}
    assert generation.offered(Host(Path("/")), []) == {}
