"""One look at one service: python3 -m stroke_watchdog /etc/stroke/watchdog/NAME.json."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import evidence, verdict
from .host import Host
from .probe import look

Json = dict[str, Any]


def remembered(path: Path, service: str) -> Json:
    """The state that the last look left; a broken file is none, and is written anew."""
    state = verdict.fresh(service)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] == state["schema"]:
            state.update(found)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return state


def remember(path: Path, state: Json) -> None:
    """Write the state whole or not at all; it holds no secret, and status reads it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(state), encoding="utf-8")
    scratch.chmod(0o644)
    os.replace(scratch, path)  # noqa: PTH105


def tell(before: Json, state: Json, bound: int) -> None:
    """One line in the journal for each change, and none while everything stays as it is."""
    counted = state["failures"] not in (0, before["failures"]) and state["failures"] <= bound
    if before["verdict"] != state["verdict"] or counted:
        times = f", {state['failures']} in a row" if state["failures"] else ""
        print(f"<5>{state['service']}: {state['verdict']}: {state['detail']}{times}", flush=True)
    if state["given_up"] and not before["given_up"]:
        print(f"<3>{state['service']}: given up: {state['given_up']}", flush=True)


def kept(config: Json, state: Json, unit: dict[str, str], host: Host, now: float) -> str | None:
    """Where the evidence is; a full disk costs the evidence, not the restart."""
    try:
        bundle = os.fspath(evidence.keep(config, state, unit, host, now))
    except OSError as problem:
        print(f"<4>{config['service']}: no evidence could be kept: {problem}", flush=True)
        return None
    print(f"<4>{config['service']}: evidence is in {bundle}", flush=True)
    return bundle


def main(path: str) -> int:
    """Look, judge, act. 0 whatever was found: the state file and the journal say what."""
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    file = Path(config["state_path"]) / f"{config['service']}.json"
    before = remembered(file, config["service"])
    state: Json = json.loads(json.dumps(before))
    host = Host(config.get("user") or "")
    unit = host.unit(config["unit"])
    if unit.get("ActiveState") != "active":
        state = verdict.idle(state, unit, time.time())
    else:
        seen = look(config, state["progress"])
        now, uptime = time.time(), time.clock_gettime(time.CLOCK_MONOTONIC)
        state, action = verdict.judge(config, state, unit, seen, now, uptime)
        if action:
            tell(before, state, config["failures"])
            before = json.loads(json.dumps(state))
            bundle = kept(config, state, unit, host, now)
        if action == "restart":
            state = verdict.restarted(state, now, bundle)
            remember(file, state)  # before the act: a restart that is not counted has no bound
            said = host.restart(config["unit"])
            if said:
                verdict.note(state, now, "restart failed", said)
        elif action:
            verdict.note(state, now, "given up", str(state["given_up"]), bundle)
    tell(before, state, config["failures"])
    remember(file, state)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
