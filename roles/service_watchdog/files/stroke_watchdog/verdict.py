"""What follows from a look: nothing, a restart, or giving up. Pure: no clock, no host."""

from __future__ import annotations

from typing import Any

from .probe import FAILING, Look

DAY = 86400.0
EVENTS = 50
LOOKS = 30
Json = dict[str, Any]

# ActiveState of systemd to a verdict of ours: what is not active is systemd's own business.
NOT_ACTIVE = {
    "activating": ("loading", "the unit is starting"),
    "reloading": ("loading", "the unit is reloading"),
    "deactivating": ("stopping", "the unit is stopping"),
    "failed": ("stopped", "the unit has failed; systemd decides whether it starts again"),
    "inactive": ("stopped", "the unit is not running"),
}


def fresh(service: str) -> Json:
    """The state of a service that was never looked at."""
    return {"schema": "stroke/watchdog/1", "service": service, "verdict": "unknown", "detail": "",
            "since": None, "looked": None, "last_token": None, "failures": 0, "answered": False,
            "invocation": "", "progress": [], "restarts": [], "given_up": None, "next": None,
            "looks": [], "events": []}  # fmt: skip


def note(state: Json, now: float, what: str, detail: str, evidence: str | None = None) -> None:
    """Remember something that people want to know of later."""
    event = {"time": now, "what": what, "detail": detail, "evidence": evidence}
    state["events"] = [*state["events"], event][-EVENTS:]


def idle(state: Json, unit: dict[str, str], now: float) -> Json:
    """The state while the unit is not active."""
    word, detail = NOT_ACTIVE.get(unit.get("ActiveState", ""), ("unknown", "systemd is silent"))
    state.update(failures=0, answered=False, invocation="", progress=[], looked=now)
    return _is(state, now, word, detail)


def judge(config: Json, state: Json, unit: dict[str, str], seen: Look, now: float,
          uptime: float) -> tuple[Json, str]:  # fmt: skip
    """The next state, and what to do: "" (nothing), restart, or give up (keep evidence only).

    A unit that was started counts as loading until its first token or until the time that a start
    may take is over; a look then fails only if nothing came and nothing moves.
    """
    if state["invocation"] != unit.get("InvocationID", ""):
        state.update(invocation=unit.get("InvocationID", ""), failures=0, answered=False)
    state.update(looked=now, progress=seen["progress"])
    kept = {key: seen[key] for key in ("kind", "detail", "seconds", "health")}
    state["looks"] = [*state["looks"], {"time": now, **kept}][-LOOKS:]
    if seen["kind"] not in FAILING:
        return _alive(state, seen, now), ""
    age = uptime - int(unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    if not state["answered"] and age < config["start_seconds"]:
        state["failures"] = 0
        return _is(state, now, "loading", f"{seen['detail']}, {age:.0f} s after its start"), ""
    state["failures"] += 1
    _is(state, now, seen["kind"], seen["detail"])
    if state["failures"] < config["failures"] or state["given_up"]:
        return state, ""
    return state, _remedy(config, state, now)


def _is(state: Json, now: float, word: str, detail: str) -> Json:
    if state["verdict"] != word:
        state["since"] = now
    state.update(verdict=word, detail=detail)
    return state


def _alive(state: Json, seen: Look, now: float) -> Json:
    state["failures"], state["next"] = 0, None
    if seen["kind"] != "rejected":
        state.update(answered=True, last_token=now)
        if state["given_up"]:
            note(state, now, "recovered", seen["detail"])
            state["given_up"] = None
    word = {"answered": "serving", "flowing": "serving", "rejected": "blind"}.get(seen["kind"])
    return _is(state, now, word or seen["kind"], seen["detail"])


def recent(state: Json, now: float) -> list[Json]:
    """Restarts of the last day; one that lies in the future (the clock was set back) counts."""
    return [restart for restart in state["restarts"] if now - restart["time"] < DAY]


def _remedy(config: Json, state: Json, now: float) -> str:
    before = recent(state, now)
    if not config["restart"]:
        state["given_up"] = "it may not restart the unit (service_watchdog_restart: false)"
        return "give up"
    if len(before) >= config["restarts_per_day"]:
        state["given_up"] = f"{len(before)} restarts within a day did not help"
        return "give up"
    if before:
        wait = config["backoff"] * 2 ** (len(before) - 1)
        since = now - before[-1]["time"]
        if 0 <= since < wait:
            state["next"] = before[-1]["time"] + wait
            return ""
    state["next"] = None
    return "restart"


def restarted(state: Json, now: float, evidence: str | None) -> Json:
    """The state after a restart was asked for."""
    reason = f"{state['verdict']}: {state['detail']} ({state['failures']} looks in a row)"
    entry = {"time": now, "reason": reason, "evidence": evidence}
    state["restarts"] = [*recent(state, now), entry]
    note(state, now, "restarted", reason, evidence)
    state.update(failures=0, answered=False, invocation="", progress=[])
    return _is(state, now, "restarting", reason)
