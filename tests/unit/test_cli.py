"""Each command: which playbook it runs with what, what it prints where, how it exits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.playing import ROOT, STAND_IN, backend, home, only, published, stroke

pytestmark = pytest.mark.usefixtures("home")
__all__ = ["home"]


def test_plan_runs_the_plan_and_nothing_else() -> None:
    found = backend()
    result = stroke(found, "plan", "hosts.ini", "-l", "box*", "-e", "x=1", "-f", "3", "-D")
    (job,) = found.jobs
    assert job.playbook == STAND_IN / "playbooks" / "plan.yml"
    assert (job.inventory, job.limit, job.extra_vars) == (("hosts.ini",), ("box*",), ("x=1",))
    assert (job.forks, job.diff, job.check, job.local) == (3, True, False, False)
    assert result.exit_code == 4  # one of the recorded hosts is unreachable
    assert "linux-image-amd64" in result.stdout and "Nothing was changed" in result.stderr


def test_without_hosts_it_is_this_machine() -> None:
    found = backend()
    result = stroke(found, "plan")
    assert found.jobs[0].inventory == ("localhost,",) and found.jobs[0].local
    assert "this machine" in result.stderr


def test_provision_plans_and_applies_to_hosts_with_changes_only() -> None:
    found = backend()
    result = stroke(found, "provision", "hosts.ini", "--yes", "-t", "prepare,serve")
    plan, site = found.jobs
    assert (plan.playbook.stem, site.playbook.stem) == ("plan", "site")
    assert site.limit == ("fresh", "fails", "unproven")
    assert (plan.tags, site.tags) == ((), ("prepare,serve",))
    assert result.exit_code == 3
    assert "fresh answers" in result.stdout


def test_a_converged_host_is_left_alone_unless_full() -> None:
    same = {"plan": only("plan", "same"), "site": only("site", "fresh")}
    found = backend(**same)
    result = stroke(found, "provision", "hosts.ini", "--yes")
    assert [job.playbook.stem for job in found.jobs] == ["plan"]
    assert result.exit_code == 0
    assert "converged, nothing to do" in result.stdout
    assert len([line for line in result.stdout.splitlines() if line.startswith("same")]) == 1
    found = backend(**same)
    stroke(found, "provision", "hosts.ini", "--yes", "--full")
    assert found.jobs[1].limit == ("same",)


def test_nobody_to_ask_means_no() -> None:
    found = backend()
    result = stroke(found, "provision", "hosts.ini")
    assert [job.playbook.stem for job in found.jobs] == ["plan"]
    assert result.exit_code == 2
    assert "STK-105" in result.stderr and "stroke provision hosts.ini --yes" in result.stderr


def test_check_asks_nothing_and_changes_nothing() -> None:
    found = backend()
    stroke(found, "provision", "hosts.ini", "--check")
    assert [(job.playbook.stem, job.check) for job in found.jobs] == [
        ("plan", False),
        ("site", True),
    ]


def test_tags_narrow_the_plan_that_is_shown() -> None:
    result = stroke(backend(plan=only("plan", "fresh")), "plan", "hosts.ini", "-t", "serve")
    assert "stroke-inference.service" in result.stdout
    assert "linux-image-amd64" not in result.stdout
    assert "1 change on 1 host, no reboot." in result.stdout


@pytest.mark.parametrize(
    ("host", "words", "code"),
    [
        ("fresh", [], 0),
        ("fresh", ["--detailed-exitcode"], 10),
        ("same", ["--detailed-exitcode"], 0),
        ("old", ["--detailed-exitcode"], 5),
        ("gone", [], 4),
    ],
)
def test_the_exit_code_of_plan(host: str, words: list[str], code: int) -> None:
    assert stroke(backend(plan=only("plan", host)), "plan", "hosts.ini", *words).exit_code == code


def test_changes_on_one_host_do_not_hide_the_failure_of_another() -> None:
    assert stroke(backend(), "plan", "hosts.ini", "--detailed-exitcode").exit_code == 4


@pytest.mark.parametrize(("host", "code"), [("fresh", 0), ("fails", 3), ("unproven", 6)])
def test_the_exit_code_of_provision(host: str, code: int) -> None:
    found = backend(plan=only("plan", host), site=only("site", host))
    assert stroke(found, "provision", "hosts.ini", "-y").exit_code == code


def test_verify_shows_every_check_and_exits_with_6() -> None:
    found = backend(verify=only("site", "unproven"))
    result = stroke(found, "verify", "hosts.ini")
    assert found.jobs[0].playbook.stem == "verify"
    assert result.exit_code == 6
    assert "skipped (simulated)" in result.stdout and "V101 passed" in result.stdout


def test_remove_asks_and_hands_on_what_to_remove() -> None:
    gone = [published("box1", {"removed": ["/etc/x"], "leftover": ["/etc/y"]})]
    found = backend(remove=gone)
    assert stroke(found, "remove", "hosts.ini").exit_code == 2 and not found.jobs
    result = stroke(found, "remove", "hosts.ini", "--yes", "--packages")
    assert found.jobs[0].extra_vars == ("stroke_remove_packages=true",)
    assert result.exit_code == 0
    assert "removed /etc/x" in result.stdout and "left    /etc/y" in result.stdout


def test_packages_that_stay_are_the_reason_for_the_record_that_stays() -> None:
    package = {"role": "kernel", "name": "podman", "before": None, "after": "5.4.2"}
    kept = [published("box1", {"leftover": ["/var/lib/stroke"], "packages": [package]})]
    result = stroke(backend(remove=kept), "remove", "hosts.ini", "--yes")
    assert "they stay, /var/lib/stroke has their record" in result.stdout
    gone = [published("box1", {"leftover": [], "packages": [package]})]
    result = stroke(backend(remove=gone), "remove", "hosts.ini", "--yes", "--packages")
    assert "stay" not in result.stdout


def test_inspect_shows_values_with_their_reasons() -> None:
    result = stroke(backend(inspect=only("plan", "fresh")), "inspect", "hosts.ini")
    assert "gtt_bytes: 110 GiB" in result.stdout
    assert "kernel: 6.16.9 is the floor for gfx1151" in result.stdout


def test_what_follows_two_dashes_goes_to_ansible() -> None:
    found = backend()
    stroke(found, "plan", "hosts.ini", "--", "-vv", "--skip-tags", "kernel")
    assert found.jobs[0].passthrough == ("-vv", "--skip-tags", "kernel")
    assert found.jobs[0].inventory == ("hosts.ini",)


def test_a_missing_file_of_variables_is_found_before_anything_runs() -> None:
    found = backend()
    assert stroke(found, "plan", "hosts.ini", "-e", "@nofile.yml").exit_code == 2
    assert not found.jobs


@pytest.mark.parametrize("words", [["plan", "--bogus"], ["nosuch"], ["plan", "-f", "0"]])
def test_a_wrong_command_line_exits_with_2(words: list[str]) -> None:
    assert stroke(backend(), *words).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        "provision",
        "plan",
        "verify",
        "remove",
        "inspect",
        "doctor",
        "catalog",
        "sandbox up",
        "sandbox down",
        "sandbox ssh",
    ],
)
def test_every_command_has_help(command: str) -> None:
    result = stroke(backend(), *command.split(), "-h")
    assert result.exit_code == 0 and "Usage: " in result.stdout


def test_the_version_is_printed() -> None:
    assert stroke(backend(), "--version").stdout.startswith("stroke ")


def test_help_loads_nothing_slow() -> None:
    code = (
        "import sys; from stroke.cli import main; main(['--help']);"
        "slow = {'ansible', 'ansible_runner', 'rich', 'jinja2', 'yaml'} & set(sys.modules);"
        "sys.exit(f'loaded: {slow}' if slow else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "tool"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_traceback_is_for_debug_only(home: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import stroke.session as s\n"
            "def broken(self): raise KeyError('gfx')\n"
            "s.Session.execute = broken\n"
            "from stroke.__main__ import main\n"
            "main()"
        )
        return subprocess.run(
            [sys.executable, "-c", code, "plan", *words],
            env={"PYTHONPATH": str(ROOT / "tool"), "PATH": "/usr/bin:/bin", "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = run()
    assert done.returncode == 1 and "STK-901" in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in run("--debug").stderr


def test_help_starts_fast() -> None:
    def took(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            env={"PYTHONPATH": str(ROOT / "tool"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        )
        return time.perf_counter() - began

    nothing = min(took("-c", "pass") for _ in range(3))
    assert min(took("-m", "stroke", "--help") for _ in range(3)) < nothing + 1.0
