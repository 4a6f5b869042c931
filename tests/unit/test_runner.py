"""The adapter to ansible-runner: command line, environment, and a real run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from stroke.events import Event
from stroke.runner import ALIVE, JOBS, Job, RunnerBackend, command_line, environment

from tests.unit.playing import STAND_IN

ROOT = Path(__file__).parents[2]

PLAN = STAND_IN / "playbooks" / "plan.yml"
SITE = STAND_IN / "playbooks" / "site.yml"


class Notes:
    """A listener that only remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.signals: list[int] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        pass

    def signal(self, count: int) -> None:
        self.signals.append(count)


def test_options_mean_what_they_mean_in_ansible() -> None:
    job = Job(
        playbook=Path("/content/site.yml"),
        inventory=("a.ini", "box1,"),
        limit=("box*", "!box9"),
        tags=("serve", "verify"),
        check=True,
        diff=True,
        extra_vars=("x=1", "@vars.yml"),
        forks=7,
        flags=("--ask-become-pass",),
        passthrough=("--step", "-vv"),
        passwords={"BECOME": "swordfish"},
    )
    command = command_line(job)
    assert Path(command[0]).name == "ansible-playbook" and Path(command[0]).is_absolute()
    # fmt: off
    assert command[1:] == [
        "/content/site.yml", "-i", "a.ini", "-i", "box1,", "--limit", "box*,!box9",
        "--tags", "serve,verify", "--check", "--diff", "-e", "x=1", "-e", "@vars.yml",
        "--forks", "7", "--ask-become-pass", "--step", "-vv",
    ]
    # fmt: on
    assert "swordfish" not in f"{command} {job}"


def test_this_machine_needs_no_ssh() -> None:
    job = Job(PLAN, ("localhost,",), local=True)
    assert command_line(job)[2:] == ["-i", "localhost,", "-c", "local"]
    assert environment(job, {})["ANSIBLE_PYTHON_INTERPRETER"] == "/usr/bin/python3"
    assert environment(Job(PLAN, ("a,",)), {})["ANSIBLE_PYTHON_INTERPRETER"] == "auto_silent"


def test_what_the_user_set_wins() -> None:
    mine = {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_PYTHON_INTERPRETER": "/opt/python"}
    ours = environment(Job(PLAN, ("a,",)), mine)
    assert not mine.keys() & ours.keys()
    assert environment(Job(PLAN, ("a,",)), {})["ANSIBLE_HOST_KEY_CHECKING"] == "True"


def test_the_users_roles_and_ssh_options_are_kept() -> None:
    mine = {"ANSIBLE_ROLES_PATH": "/my/roles", "ANSIBLE_SSH_EXTRA_ARGS": "-o Port=9"}
    ours = environment(Job(PLAN, ("a,",)), mine)
    assert ours["ANSIBLE_ROLES_PATH"].endswith("/roles:/my/roles")
    assert ours["ANSIBLE_SSH_EXTRA_ARGS"] == f"-o Port=9 -o BatchMode=yes {ALIVE}"


def test_ssh_may_ask_when_ansible_was_told_to() -> None:
    job = Job(PLAN, ("a,",), passthrough=("--ask-pass",))
    assert environment(job, {})["ANSIBLE_SSH_EXTRA_ARGS"] == ALIVE


def test_a_host_without_power_is_noticed_by_plain_ansible_too() -> None:
    assert f"ssh_extra_args = {ALIVE}\n" in (ROOT / "ansible.cfg").read_text()


def test_jobs_that_outlive_a_connection_do_not_outlive_a_boot() -> None:
    assert environment(Job(PLAN, ("a,",)), {})["ANSIBLE_ASYNC_DIR"] == JOBS
    assert JOBS.startswith("/run/")
    assert f"async_dir = {JOBS}\n" in (ROOT / "ansible.cfg").read_text()


def test_a_configuration_of_the_user_decides_on_pipelining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stroke.runner.CONFIG_FILES", (str(tmp_path / "ansible.cfg"),))
    job = Job(PLAN, ("a,",))
    assert environment(job, {})["ANSIBLE_PIPELINING"] == "True"
    (tmp_path / "ansible.cfg").touch()
    assert "ANSIBLE_PIPELINING" not in environment(job, {})


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STROKE_CONTENT", str(STAND_IN))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_real_run_hands_out_its_events_and_leaves_nothing(private: Path) -> None:
    notes = Notes()
    job = Job(PLAN, ("localhost,",), local=True, extra_vars=("is=converged",))
    outcome = RunnerBackend().run(job, notes)
    assert (outcome.rc, outcome.interrupted, outcome.broken) == (0, False, "")
    counters = [event.counter for event in notes.events]
    assert counters == sorted(counters) and notes.events[-1].kind == "playbook_on_stats"
    published = [event.published for event in notes.events if event.published]
    assert published[0]["localhost"]["changes"] == []
    assert list(private.iterdir()) == []


def test_a_listener_that_fails_does_not_stop_the_play(private: Path) -> None:
    class Broken(Notes):
        def event(self, event: Event) -> None:
            raise ValueError("cannot draw")

    outcome = RunnerBackend().run(Job(PLAN, ("localhost,",), local=True), Broken())
    assert outcome.rc == 0 and "cannot draw" in outcome.broken


def test_ansibles_own_output_can_be_kept_without_the_environment(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "swordfish")
    keep = private / "kept"
    RunnerBackend().run(Job(PLAN, ("localhost,",), local=True, keep=keep), Notes())
    (log,) = keep.iterdir()
    assert log.stat().st_mode & 0o777 == 0o600
    text = log.read_text(encoding="utf-8")
    assert "Report what the host is" in text and "swordfish" not in text


def test_a_password_is_answered_and_never_written(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    notes = Notes()

    def look(event: Event) -> None:
        for path in private.rglob("*"):
            if path.is_file():
                seen.append(path.read_text(encoding="utf-8", errors="replace"))
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(command.read_text(encoding="utf-8", errors="replace"))
            except OSError:
                continue

    monkeypatch.setattr(notes, "event", look)
    job = Job(
        PLAN,
        ("localhost,",),
        local=True,
        flags=("--ask-become-pass",),
        passwords={r"BECOME password.*:\s*$": "sword" + "fish-1"},
    )
    assert RunnerBackend().run(job, notes).rc == 0
    assert seen and not any("swordfish-1" in text for text in seen)


def test_the_environment_of_this_process_is_left_alone(private: Path) -> None:
    before = json.dumps(dict(os.environ), sort_keys=True)
    RunnerBackend().run(Job(PLAN, ("localhost,",), local=True), Notes())
    assert json.dumps(dict(os.environ), sort_keys=True) == before
