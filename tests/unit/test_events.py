"""What is kept of ansible-runner's events, and what never is."""

from __future__ import annotations

from typing import Any

from stroke.events import REDACTED, STAGE_OF_ROLE, STAGES, Event, redact

from tests.unit.playing import event, published, recorded


def raw(**data: Any) -> dict[str, Any]:
    return {
        "event": "runner_on_ok",
        "counter": 7,
        "created": "2026-11-21T02:47:14.904972+00:00",
        "stdout": "\x1b[0;32mok: [box1]\x1b[0m",
        "event_data": {"host": "box1", "task": "Look", "role": "kernel", **data},
    }


def test_an_event_of_the_runner_becomes_data() -> None:
    found = Event.from_runner(raw(res={"changed": True}, duration=1.5, play="Plan"))
    assert (found.host, found.task, found.role, found.play) == ("box1", "Look", "kernel", "Plan")
    assert found.changed and found.ended and not found.failed
    assert found.text == "ok: [box1]"


def test_an_event_without_data_is_not_an_error() -> None:
    found = Event.from_runner({"event": "verbose", "counter": 1, "stdout": None})
    assert found == Event(counter=1, kind="verbose")


def test_an_ignored_failure_is_no_failure() -> None:
    assert event("runner_on_failed").failed
    assert not event("runner_on_failed", ignored=True).failed


def test_only_what_is_published_under_our_name_is_taken() -> None:
    assert published("box1", {"boot": {"rebooted": True}}).published == {
        "box1": {"boot": {"rebooted": True}}
    }
    other = {"ansible_stats": {"data": {"somebody": {"box1": {}}, "stroke": "text"}}}
    assert event("runner_on_ok", result=other).published == {}


def test_secrets_are_not_stored() -> None:
    result = {
        "invocation": {"module_args": {"password": "a"}},
        "environment": {"HF_TOKEN": "b"},
        "hf_token": "c",
        "become_password": "d",
        "stdout": "using hf_abcdefghijklmnopqrstuvwx and more",
        "list": [{"api_key": "e"}],
        "tokens": 12,
    }
    line = event("runner_on_ok", result=result).to_json()
    assert "invocation" not in line and "environment" not in line
    assert "hf_abc" not in line
    kept = Event.from_json(line).result
    assert kept["hf_token"] == kept["become_password"] == kept["list"][0]["api_key"] == REDACTED
    assert kept["tokens"] == 12


def test_given_secrets_are_cut_out_of_texts() -> None:
    assert redact(["say swordfish now"], ("swordfish",)) == [f"say {REDACTED} now"]


def test_events_survive_being_written_and_read() -> None:
    for found in recorded("plan"):
        assert Event.from_json(found.to_json()) == found


def test_every_role_has_a_stage() -> None:
    assert set(STAGE_OF_ROLE.values()) == set(STAGES)
