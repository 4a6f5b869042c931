"""Why a service is as it is: since when, how often it started, what ended it, who watched it."""

from __future__ import annotations

import json
import pwd
import time
from typing import Any

from .files import Host
from .programs import as_user, run

PROPERTIES = (
    "ActiveState,SubState,Result,ExecMainStatus,ExecMainCode,NRestarts,"
    "StateChangeTimestampMonotonic"
)
# Messages of systemd about a unit, by the id that its catalogue gives them.
MESSAGES = {
    "39f53479d3a045ac8e11786248231fbf": "started",
    "98e322203f7a4ed290d09fe03c09fe15": "exited",
    "d9b373ed55a64feb8242e02dbe79a49c": "failed",
    "fe6faa94e7774663a0da52717891d8ef": "out of memory",
    "9d1aaa27d60140bd96365438aad20286": "stopped",
}
FIELDS = "MESSAGE_ID,UNIT_RESULT,EXIT_CODE,EXIT_STATUS"
LINES = 400
WATCHDOG = "/var/lib/stroke/watchdog"
KEPT = ("verdict", "detail", "since", "looked", "last_token", "failures", "given_up", "next",
        "restarts", "events")  # fmt: skip
Json = dict[str, Any]


def parse_journal(text: str) -> Json:
    """Starts in this boot, and the last end of the unit with all that systemd says of it."""
    starts = 0
    ended: Json = {}
    last: Json = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            word = MESSAGES[str(entry["MESSAGE_ID"])]
            seconds = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, LookupError, TypeError):
            continue
        if word == "started":
            starts, ended = starts + 1, {}
            continue
        ended = {**ended, "time": seconds}
        if word == "exited":
            ended["code"], ended["status"] = entry.get("EXIT_CODE"), entry.get("EXIT_STATUS")
        elif word == "failed":
            ended["result"] = entry.get("UNIT_RESULT")
        elif word == "out of memory":
            ended["oom"] = True
        last = ended
    return {"starts": starts, "last_stop": last or None}


def _journal(host: Host, unit: str, user: str | None) -> Json:
    ids = [f"MESSAGE_ID={number}" for number in MESSAGES]
    # What a user's systemd says of its units; journalctl's own --user-unit means those of root.
    whose = [f"USER_UNIT={unit}", f"_UID={pwd.getpwnam(user).pw_uid}"] if user else []
    scope = [] if user else [f"--unit={unit}"]
    text = run(host, "journalctl", "--boot", *scope, "--output=json", "--no-pager", "--quiet",
               f"--output-fields={FIELDS}", f"--lines={LINES}", *ids, *whose)  # fmt: skip
    return {"starts": None, "last_stop": None} if text is None else parse_journal(text)


def _container(host: Host, name: str, runtime: str, user: str | None) -> Json | None:
    """The container as its runtime sees it; null once it is gone."""
    text = run(host, *as_user(user, runtime, "container", "inspect", name))
    try:
        found = json.loads(text or "[]")[0]
        state = found["State"]
    except (ValueError, LookupError, TypeError):
        return None
    health = state.get("Health") or state.get("Healthcheck") or {}
    return {
        "image": found.get("ImageName") or (found.get("Config") or {}).get("Image"),
        "image_id": found.get("Image"),
        "exit_code": state.get("ExitCode"),
        "oom_killed": state.get("OOMKilled"),
        "health": health.get("Status"),
    }


def watchdog(host: Host, service: str) -> Json | None:
    """What the watchdog of a service remembers; null where none has looked yet."""
    text = host.text(f"{WATCHDOG}/{service}.json")
    if text is None:
        return None
    state = json.loads(text)
    return {key: state.get(key) for key in KEPT}


def booted(host: Host) -> int | None:
    """Seconds since the epoch at which the kernel started."""
    lines = (host.text("/proc/stat") or "").splitlines()
    found = next((line.split()[1] for line in lines if line.startswith("btime ")), "")
    return int(found) if found.isdecimal() else None


def history(host: Host, item: Json) -> Json:
    """Everything of one unit's item; what cannot be read is null."""
    name, user = str(item["name"]), item.get("user")
    own = ("--user",) if user else ()
    words = ("systemctl", *own, "show", f"--property={PROPERTIES}", "--", name)
    text = run(host, *as_user(user, *words)) or ""
    table = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    changed = int(table.get("StateChangeTimestampMonotonic") or 0) / 1e6
    age = time.clock_gettime(time.CLOCK_MONOTONIC) - changed if host.live and changed else None
    container = str(item.get("container") or "")
    return {
        "state": table.get("ActiveState"),
        "result": table.get("Result"),
        "exit_status": table.get("ExecMainStatus"),
        "restarts": int(table.get("NRestarts") or 0),
        "age_seconds": age,
        "booted": booted(host),
        "now": time.time(),
        **host.guarded(f"journal of {name}", {}, _journal, host, name, user),
        "container": _container(host, container, str(item.get("runtime") or "podman"), user)
        if container
        else None,
        "watchdog": host.guarded("watchdog", None, watchdog, host, name.rsplit(".", 1)[0]),
    }
