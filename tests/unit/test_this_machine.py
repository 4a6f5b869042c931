"""A run on its own machine outlives the reboot, tells how it ended, and leaves nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from stroke import this_machine
from stroke.console import Console
from stroke.options import Options
from stroke.resume import ATTEMPTS, UNIT, Resume, sentence

from tests.unit.playing import backend, event, home, published, stroke
from tests.unit.plugins import plugin

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")
Json = dict[str, Any]
CHANGE = {"role": "kernel", "stage": "prepare", "kind": "package", "what": "linux", "action": "x"}
REBOOT = "STK-504: a reboot is needed (ttm), but this is this machine. Hint: reboot it"


def plan() -> list[Any]:
    return [event("runner_on_ok", host="localhost"),
            published("localhost", {"changes": [CHANGE]}), stats()]  # fmt: skip


def stats(failed: int = 0) -> Any:
    return event("playbook_on_stats", host="",
                 stats={"failures": {"localhost": failed}, "dark": {}})  # fmt: skip


def wants_reboot(message: str = REBOOT) -> Any:
    failed = [event("runner_on_failed", host="localhost", result={"msg": message}), stats(1)]
    return backend(plan=plan(), site=failed,
                   resume=[event("runner_on_ok", host="localhost"), stats()])  # fmt: skip


def order_of(found: Any) -> Json:
    (given,) = found.jobs[-1].extra_vars[-1:]
    return dict(json.loads(given))


def test_it_goes_on_after_the_reboot_where_asked() -> None:
    found = wants_reboot()
    result = stroke(found, "provision", "--yes", "--after-reboot", "continue", "-K",
                    "-e", "x=1", "--", "--vault-password-file", "/v")  # fmt: skip
    assert result.exit_code != 0, "no terminal to ask for the sudo password on"
    found = wants_reboot()
    result = stroke(found, "provision", "--yes", "--after-reboot", "continue",
                    "-e", "x=1", "--", "--vault-password-file", "/v")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert [job.playbook.stem for job in found.jobs] == ["plan", "site", "resume"]
    order = order_of(found)["resume_order"]
    assert order["mode"] == "continue" and order["directory"] == os.fspath(Path.cwd())
    assert order["words"][:5] == ["provision", "--yes", "--json", "--after-reboot", "ask"]
    assert order["words"][5:] == ["-e", "x=1", "--", "--vault-password-file", "/v"]
    assert "as root" in result.stderr and "next login" in result.stderr


def test_the_command_to_type_again_has_every_option() -> None:
    typed = Options(hosts=("a,",), full=True, after_reboot="continue", forks=3, wave="2")
    assert typed.again("provision", same=True) == (
        "stroke provision a, --full --after-reboot continue --wave 2 --forks 3"
    )
    assert typed.again("verify") == "stroke verify a,"


def test_without_the_option_the_user_reboots_and_runs_it_again() -> None:
    found = wants_reboot()
    result = stroke(found, "provision", "--yes")
    assert result.exit_code == 3 and "STK-504" in result.stdout
    assert [job.playbook.stem for job in found.jobs] == ["plan", "site"]
    assert "stroke provision" in result.stderr


def test_asked_at_a_terminal_it_reboots_and_reminds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "can_ask", True)
    asked: list[str] = []

    def yes(self: Console, question: str) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr(Console, "confirm", yes)
    found = wants_reboot()
    result = stroke(found, "provision")
    assert result.exit_code == 0, result.stderr
    assert "reboot" in asked[-1] and order_of(found)["resume_order"]["mode"] == "ask"


def test_another_failure_is_no_reason_to_reboot() -> None:
    found = wants_reboot("STK-601: it does not start. Hint: look")
    result = stroke(found, "provision", "--yes", "--after-reboot", "continue")
    assert result.exit_code == 3
    assert [job.playbook.stem for job in found.jobs] == ["plan", "site"]


@pytest.mark.parametrize(
    "words",
    [("provision", "hosts.ini", "--after-reboot", "continue"),
     ("provision", "--after-reboot", "continue", "--", "--ask-vault-pass")],
)  # fmt: skip
def test_what_could_not_go_on_is_refused_first(words: tuple[str, ...]) -> None:
    found = backend()
    result = stroke(found, *words)
    assert result.exit_code == 2 and "STK-530" in result.stderr and found.jobs == []


def test_no_secret_and_no_sudo_password_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.cwd() / "vars.yml").touch()
    options = Options(extra_vars=("@vars.yml",), ask_become_pass=True, passthrough=("-K", "-vv"))
    found = this_machine.variables(options, {"HF_TOKEN": "canary", "HOME": "/home/me"})
    text = json.dumps(found)
    assert "canary" not in text and found["resume_order"]["environment"] == {"HOME": "/home/me"}
    assert found["resume_order"]["words"][-2:] == ["--", "-vv"]
    assert f"@{Path.cwd()}/vars.yml" in text and "-K" not in found["resume_order"]["words"]


def test_words_of_the_unit_stand_for_themselves() -> None:
    word = plugin("resume", "resume").resume_word
    assert word('/home/a b/%h/$HOME/"x"\\') == '"/home/a b/%%h/$$HOME/\\"x\\"\\\\"'
    with pytest.raises(ValueError, match="control"):
        word("a\nExecStart=/bin/evil")


def machine(root: Path, order: Json | None, **files: str) -> Resume:
    """A root directory as the role leaves it."""
    found = Resume(root)
    found.state.mkdir(parents=True)
    found.unit.parent.mkdir(parents=True)
    found.unit.write_text("[Unit]\n")
    if order is not None:
        (found.state / "order.json").write_text(json.dumps(order))
    for name, text in files.items():
        (found.state / name).write_text(text)
    return found


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for systemd's programs, which note how they were called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("systemctl", "systemd-run"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/asked\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "asked"


def stand_in(where: Path, report: Json, code: int) -> str:
    """A package `stroke` that writes down how it was started."""
    package = where / "fake" / "stroke"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os, sys\n"
        f"open({os.fspath(where / 'started')!r}, 'w').write(json.dumps("
        "{'words': sys.argv[1:], 'home': os.environ.get('HOME'),"
        " 'ansible': os.environ['ANSIBLE_HOME'], 'cwd': os.getcwd()}))\n"
        f"print({json.dumps(report)!r})\nsys.exit({code})\n"
    )
    return os.fspath(package.parent)


DONE = {"status": "ok", "problems": [],
        "hosts": [{"endpoint": {"url": "http://127.0.0.1:8000/v1", "model": "tiny"}}]}  # fmt: skip


def test_the_unit_goes_on_tells_and_is_gone(tmp_path: Path, systemd: Path) -> None:
    path = stand_in(tmp_path, DONE, 0)
    order = {"mode": "continue", "words": ["provision", "--yes"], "directory": "/",
             "environment": {"PYTHONPATH": path, "HOME": "/home/me"}}  # fmt: skip
    found = machine(tmp_path / "root", order)
    assert found.run() == 0
    started = json.loads((tmp_path / "started").read_text())
    assert started["words"] == ["provision", "--yes"] and started["home"] == "/home/me"
    assert started["ansible"].startswith(os.fspath(found.state)), "not into the user's home"
    assert "tiny answers on http://127.0.0.1:8000/v1" in found.motd.read_text()
    assert not found.unit.exists() and not found.state.exists()
    asked = systemd.read_text()
    assert f"systemctl disable --quiet {UNIT}" in asked and "daemon-reload" in asked
    assert "--on-active=7d" in asked


def test_a_failure_is_told_with_what_to_do(tmp_path: Path, systemd: Path) -> None:
    report = {"status": "failed", "hosts": [{"problems": [{"code": "STK-601", "what": "no"}]}]}
    order = {"mode": "continue", "words": ["provision"], "again": "stroke provision -K",
             "environment": {"PYTHONPATH": stand_in(tmp_path, report, 3)}}  # fmt: skip
    found = machine(tmp_path / "root", order)
    assert found.run() == 3
    told = found.motd.read_text()
    assert "STK-601: no" in told and "to go on: stroke provision -K" in told and UNIT in told
    assert not found.state.exists()


def test_asked_to_wait_it_only_reminds(tmp_path: Path, systemd: Path) -> None:
    order = {"mode": "ask", "words": ["provision"], "again": "stroke provision"}
    found = machine(tmp_path / "root", order)
    assert found.run() == 1
    assert "not finished" in found.motd.read_text() and "stroke provision" in found.motd.read_text()
    assert not found.unit.exists()


def test_a_system_that_went_back_is_told_and_not_tried_again(tmp_path: Path, systemd: Path) -> None:
    found = machine(tmp_path / "root", {"mode": "continue", "words": ["provision"]})
    found.guard.parent.mkdir(parents=True)
    found.guard.write_text(json.dumps({"phase": "reverted", "why": "no default route"}))
    assert found.run() == 1
    assert "did not prove itself (no default route)" in found.motd.read_text()
    assert not found.state.exists()


def test_what_is_cut_off_again_and_again_ends(tmp_path: Path, systemd: Path) -> None:
    order = {"mode": "continue", "words": ["provision"]}
    found = machine(tmp_path / "root", order, attempts=str(ATTEMPTS))
    assert found.run() == 1
    assert f"cut off {ATTEMPTS} times" in found.motd.read_text() and not found.unit.exists()


@pytest.mark.parametrize("left", ["", "\0\0"])
def test_a_count_that_a_power_cut_has_torn_is_no_end(
    tmp_path: Path, systemd: Path, left: str
) -> None:
    order = {"mode": "ask", "words": ["provision"], "again": "stroke provision"}
    found = machine(tmp_path / "root", order, attempts=left)
    assert found.run() == 1
    assert "not finished" in found.motd.read_text()


@pytest.mark.parametrize("order", [None, {}, {"mode": "continue", "words": ["x"],
                                              "directory": "/no/such"}])  # fmt: skip
def test_a_broken_order_is_told_and_cleaned_up(
    tmp_path: Path, systemd: Path, order: Json | None
) -> None:
    found = machine(tmp_path / "root", order)
    assert found.run() == 1
    assert found.motd.read_text().startswith("stroke, ") and not found.unit.exists()


def test_no_report_is_said_so() -> None:
    assert sentence("Killed", 137) == "the run ended with exit code 137 and without a report"


def test_it_starts_where_stroke_cannot_be_imported(tmp_path: Path) -> None:
    """A broken installation is told, not a traceback in a journal that nobody reads."""
    import subprocess

    file = Path(this_machine.__file__).with_name("resume.py")
    code = "import runpy, sys; sys.modules['stroke'] = None; runpy.run_path(sys.argv[1])"
    done = subprocess.run([sys.executable, "-P", "-S", "-c", code, file], cwd=tmp_path, check=False)
    assert done.returncode == 0
