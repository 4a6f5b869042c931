"""What ansible's own messages mean to the user."""

from __future__ import annotations

import json

import pytest
from stroke.diagnosis import explain, message_of, playbook_error

from tests.unit.playing import DATA

MESSAGES = {
    case["case"]: case for case in json.loads((DATA / "messages.json").read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_real_message_gets_its_code(name: str) -> None:
    case = MESSAGES[name]
    problem = explain("box1", case["result"], task="Look", unreachable=case["unreachable"])
    assert problem.code == case["code"]
    assert "box1" in problem.what and problem.hint


def test_a_changed_host_key_names_the_entry_to_remove() -> None:
    problem = explain("box1", MESSAGES["host key changed"]["result"], unreachable=True)
    assert problem.hint.endswith("ssh-keygen -R '[127.0.0.1]:22922'")


def test_a_refused_login_names_user_and_address() -> None:
    problem = explain("box1", MESSAGES["wrong key"]["result"], unreachable=True)
    assert "ssh me@127.0.0.1 true" in problem.hint


def test_a_task_that_fails_with_such_words_is_not_an_unreachable_host() -> None:
    result = {"msg": "E: Failed to fetch http://mirror/ Connection refused"}
    problem = explain("box1", result, task="Update the package lists")
    assert problem.code == "STK-801"
    assert problem.what == f"“Update the package lists” failed: {result['msg']}"


def test_a_message_of_a_role_is_taken_as_it_is() -> None:
    problem = explain("box1", {"msg": "Task failed: STK-404: no room. Hint: make some"})
    assert (problem.code, problem.what, problem.hint) == ("STK-404", "no room", "make some")


def test_several_messages_of_a_role_start_with_the_first() -> None:
    problem = explain(
        "b", {"msg": "STK-404: no room. Hint: make some\nSTK-407: broken. Hint: mend"}
    )
    assert (problem.code, problem.hint) == ("STK-404", "make some")


def test_an_argument_that_the_specification_refuses() -> None:
    errors = ["value of kernel_state must be one of: present, absent, got: foo"]
    problem = explain("b", {"msg": "Validation of arguments failed:\n…", "argument_errors": errors})
    assert (problem.code, problem.what) == ("STK-302", errors[0])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"censored": "hidden"}, "the output is hidden because it may hold a secret (no_log)"),
        ({"msg": "non-zero return code", "stderr": "a\nE: no"}, "non-zero return code: a\nE: no"),
        ({"msg": "non-zero return code", "rc": 3}, "exit code 3"),
        ({"results": [{"failed": False}, {"failed": True, "msg": "second"}]}, "second"),
        ({"msg": "Task failed: Module failed: why"}, "why"),
        ({}, "no message"),
    ],
)
def test_the_message_is_the_one_that_says_why(result: dict[str, object], message: str) -> None:
    assert message_of(result) == message


def test_an_option_that_ansible_does_not_know() -> None:
    output = ("usage: ansible-playbook …", "ansible-playbook: error: unrecognized arguments: --x")
    error = playbook_error(output, 2)
    assert error.code == "STK-106" and "--x" in error.what


def test_the_last_error_of_ansible_is_the_one_that_stopped_it() -> None:
    error = playbook_error(("[WARNING]: odd", "[ERROR]: no such role: x", "Origin: y.yml:1"), 1)
    assert error.code == "STK-802" and error.what.startswith("no such role: x")


def test_silence_is_reported_too() -> None:
    assert "exit code 250" in playbook_error((), 250).what
