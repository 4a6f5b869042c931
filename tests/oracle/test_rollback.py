"""Going back and forward on a host whose reboots are played: record, image, the menu's file.

What a reboot would do is done before the run, so that none is needed; trials are in tests/boot and
tests/vm. In order: each test starts where the last one ended, and the last one where all began.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.containers import KERNEL, ROOT, Container
from tests.oracle.play import play

pytestmark = pytest.mark.container
Json = dict[str, Any]
RECORD = "/var/lib/stroke/generations.json"
DROPIN = "/etc/default/grub.d/90-stroke.cfg"
OTHER = "localhost/stroke-test/other:2"
CHANGED = (
    *("-e", "stroke_memory_gib=96"),
    *("-e", json.dumps({"inference_server_image": OTHER, "inference_server_image_archive": None})),
)


def stroke(host: Container, name: str, *words: str) -> tuple[int, Json]:
    """Exit code and report of a command on one host."""
    command, *rest = words
    done = subprocess.run(
        [sys.executable, "-m", "stroke", command, host.inventory, "--json", "-l", name, *rest],
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"),
             "XDG_STATE_HOME": os.fspath(host.state / "xdg")},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stderr, file=sys.stderr)
    report: Json = json.loads(done.stdout)
    return done.returncode, report


def good(host: Container, name: str, *words: str) -> Json:
    status, report = stroke(host, name, *words)
    assert status == 0, json.dumps(report, indent=1)[-6000:]
    (found,) = report["hosts"]
    return dict(found)


def record(host: Container) -> Json:
    return dict(json.loads(host.sh(f"cat {RECORD}")))


def numbers(host: Container) -> tuple[int, list[int]]:
    found = record(host)
    return found["current"], [one["number"] for one in found["generations"]]


def boots(host: Container, name: str, *words: str) -> None:
    """Let the running kernel have the arguments that a plan wants."""
    host.boot(good(host, name, "plan", *words)["profile"]["boot"]["args"])


def image(host: Container) -> str:
    return host.sh("podman container inspect --format '{{.Image}}' stroke-inference")


def codes(report: Json) -> list[str]:
    return [problem["code"] for found in report["hosts"] for problem in found["problems"]]


@pytest.fixture(scope="module")
def start(host: Container) -> int:
    """Number of the generation that the host is at before these tests."""
    return int(record(host)["current"])


def test_what_was_proven_is_a_generation(host: Container, one: str, start: int) -> None:
    now = record(host)["generations"][-1]
    assert now["kernel"] == KERNEL
    assert now["arguments"] == list(host.arguments)
    assert now["images"]["stroke-inference"]["id"] == f"sha256:{image(host)}"
    assert [package["name"] for package in now["packages"]] == ["firmware-amd-graphics"]


def test_another_state_is_another_generation(host: Container, one: str, start: int) -> None:
    host.sh(f"podman commit --quiet stroke-inference {OTHER}")
    boots(host, one, *CHANGED)
    good(host, one, "provision", "--yes", *CHANGED)
    current, every = numbers(host)
    assert (current, every[-1]) == (start + 1, start + 1)
    before, after = record(host)["generations"][-2:]
    assert before["images"] != after["images"] and before["arguments"] != after["arguments"]
    again = good(host, one, "provision", "--yes", "--full", *CHANGED)
    assert again["changed"] == 0, again
    assert numbers(host) == (current, every)


def test_a_plan_of_going_back_costs_one_more_look(host: Container, one: str, start: int) -> None:
    back = play(ROOT / "playbooks" / "plan.yml", host.inventory, "--limit", one, "--extra-vars",
                f"stroke_generation={start}")  # fmt: skip
    said = {(change["kind"], change["what"].rpartition("/")[2]) for change in back.plan[one]}
    assert {("kernel_arg", "ttm.pages_limit"), ("file", "90-stroke.cfg")} <= said, back.plan
    looks = [task for task in back.tasks if "generations" in task or "what this host is" in task]
    assert len(looks) == 2, back.tasks


def test_a_rollback_brings_arguments_and_image_back(host: Container, one: str, start: int) -> None:
    there = next(g for g in record(host)["generations"] if g["number"] == start)
    host.boot(there["arguments"])
    found = good(host, one, "rollback", "--yes", "--to", str(start))
    assert found["profile"]["generation"]["number"] == start
    assert f"sha256:{image(host)}" == there["images"]["stroke-inference"]["id"]
    assert f"gnulinux-{KERNEL}-advanced-$stroke_device" in host.sh(f"cat {DROPIN}")
    assert numbers(host) == (start, numbers(host)[1])
    assert numbers(host)[1][-1] == start + 1


def test_a_host_that_went_back_stays_there(host: Container, one: str, start: int) -> None:
    stay = ("-e", f"stroke_generation={start}")
    assert good(host, one, "plan", *stay)["changes"] == []
    assert good(host, one, "plan", "-e", "stroke_generation=previous")["changes"] == []
    full = good(host, one, "provision", "--yes", "--full", *stay)
    assert full["changed"] == 0, full
    checks = good(host, one, "verify", *stay)["verify"]
    assert [check for check in checks if check["status"] == "failed"] == []


def test_the_list_tells_what_is_there(host: Container, one: str, start: int) -> None:
    rows = good(host, one, "rollback", "--list")["generations"]["rows"]
    assert [row["number"] for row in rows if row["current"]] == [start]
    assert [row["lacks"] for row in rows[-2:]] == [[], []]


@pytest.mark.parametrize(
    ("words", "status", "code"), [(("--to", "999"), 5, "STK-450")], ids=["no such number"]
)
def test_what_is_not_there_is_refused(
    host: Container, one: str, start: int, words: tuple[str, ...], status: int, code: str
) -> None:
    before = record(host)
    ended, report = stroke(host, one, "rollback", "--yes", *words)
    assert (ended, codes(report)) == (status, [code])
    assert record(host) == before


def test_a_broken_record_stops_a_rollback_and_is_kept(
    host: Container, one: str, start: int
) -> None:
    host.sh(f"cp -p {RECORD} {RECORD}.kept; echo broken >{RECORD}")
    try:
        ended, report = stroke(host, one, "rollback", "--yes")
        assert (ended, codes(report)) == (3, ["STK-525"])
        assert host.sh(f"cat {RECORD}") == "broken"
    finally:
        host.sh(f"mv {RECORD}.kept {RECORD}")


def test_an_image_that_is_gone_is_refused_before_anything_is_changed(
    host: Container, one: str, start: int
) -> None:
    host.sh(f"podman image rm --force {OTHER}")
    ended, report = stroke(host, one, "rollback", "--yes", "--to", str(start + 1))
    assert (ended, codes(report)) == (5, ["STK-454"])


def test_without_a_word_the_host_goes_forward_again(host: Container, one: str, start: int) -> None:
    host.boot(list(host.arguments))
    good(host, one, "provision", "--yes")
    assert "GRUB_DEFAULT" not in host.sh(f"cat {DROPIN}")
    assert good(host, one, "plan")["changes"] == []
