"""How a host is, in the few values and words that `stroke status` shows. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# Verdicts of the watchdog that say more than systemd does, and how long they are worth something.
TROUBLE = ("silent", "error", "down", "blind")
FRESH = 600.0
# What systemd says with Result=, in words.
RESULTS = {
    "exit-code": "it ended by itself",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "timeout": "it did not start or stop in time",
    "watchdog": "systemd's watchdog ended it",
    "oom-kill": "the kernel killed it for lack of memory",
    "start-limit-hit": "it failed too often, and is not started again by itself",
    "resources": "systemd lacked what it needs to start it",
    "protocol": "it never said that it was ready",
    "dependency": "something that it needs did not start",
}
SIGNALS = {"6": "ABRT", "9": "KILL", "11": "SEGV", "15": "TERM"}
# Codes that container runtimes pass on; 128 + n: the program inside was ended by signal n.
CODES = {"125": "the container could not be made", "126": "its program cannot be run",
         "127": "its program is not in the image"}  # fmt: skip


def _code(stop: Json) -> str:
    status = str(stop.get("status") or "")
    if stop.get("code") in ("killed", "dumped"):
        return f"signal {SIGNALS.get(status, status)}"
    if status in CODES:
        return f"exit code {status}: {CODES[status]}"
    if status.isdecimal() and int(status) > 128:
        number = str(int(status) - 128)
        return f"exit code {status}: signal {SIGNALS.get(number, number)}"
    return f"exit code {status}" if status else ""


def stop_reason(stop: Json | None) -> str:
    """Why a service ended the last time, as far as systemd knows."""
    if not stop:
        return ""
    if stop.get("oom") or stop.get("result") == "oom-kill":
        return RESULTS["oom-kill"]
    if not stop.get("result"):
        return "it was stopped on request"
    code = _code(stop)
    word = RESULTS.get(str(stop["result"]), str(stop["result"]))
    return f"{word} ({code})" if code else word


def _watched(history: Json) -> Json:
    """The watchdog's verdict, if it is not an old one."""
    watch = history.get("watchdog") or {}
    looked, now = watch.get("looked"), history.get("now")
    return watch if looked and now and abs(now - looked) < FRESH else {}


def _health(seen: Json, history: Json, model: str) -> tuple[str, str]:
    """One word, and a sentence where the word alone leaves a question."""
    if seen.get("exists") is None:
        return "unknown", "systemd does not answer"
    if seen["exists"] is False:
        return "not deployed", ""
    state, why = history.get("state"), stop_reason(history.get("last_stop"))
    if seen.get("masked"):
        return "masked", "its unit is masked, so that nobody can start it"
    if state in ("activating", "reloading"):
        return ("starting again", why) if history.get("restarts") else ("loading", "")
    if state == "failed":
        # After automatic starts systemd keeps the result of the last one, and starts no more.
        limit = history.get("result") == "start-limit-hit" or bool(history.get("restarts"))
        words = [why, RESULTS["start-limit-hit"] if limit else ""]
        return "failed", "; ".join(dict.fromkeys(word for word in words if word))
    if not seen.get("active"):
        return "stopped", why
    watch = _watched(history)
    if watch.get("verdict") in TROUBLE:
        return str(watch["verdict"]), str(watch.get("detail") or "")
    if watch.get("verdict") == "loading":
        return "loading", str(watch.get("detail") or "")
    serves = seen.get("serves")
    if serves is None:
        return "unknown", "its endpoint was not asked"
    if not serves:
        return "not answering", "the unit runs, and its endpoint does not answer"
    if model and not {model, "*"} & set(serves):
        return "other model", f"it serves {', '.join(serves)}, not {model}"
    return "serving", ""


def _reference(image: str | None, found: Json) -> str | None:
    """An image in a name that people know: a unit may have it by its id."""
    tables = [found.get("images") or {}, *(found.get("stores") or {}).values()]
    known = (name for table in tables for name, number in (table or {}).items()
             if number == image and "@" not in name)  # fmt: skip
    return next(known, image)


def _service(service: Json, seen: Json, found: Json) -> Json:
    history = seen.get("history") or {}
    model = str(service.get("served_model_name") or service.get("model") or "")
    health, why = _health(seen, history, model)
    container, watch = history.get("container") or {}, history.get("watchdog") or {}
    restarts, events = watch.get("restarts") or [], watch.get("events") or []
    evidence = [event["evidence"] for event in events if event.get("evidence")]
    return {
        "name": service["name"],
        "health": health,
        "why": why,
        "model": next(iter(seen.get("serves") or []), None),
        "wanted_model": model or None,
        "image": _reference(container.get("image"), found),
        "image_id": container.get("image_id"),
        "container_health": container.get("health"),
        "for_seconds": history.get("age_seconds"),
        "starts": history.get("starts"),
        "automatic_restarts": history.get("restarts"),
        "last_stop": stop_reason(history.get("last_stop")) or None,
        "last_stop_time": (history.get("last_stop") or {}).get("time"),
        "watchdog": {
            "verdict": watch.get("verdict"),
            "looked": watch.get("looked"),
            "failures": watch.get("failures"),
            "given_up": watch.get("given_up"),
            "restarts": len(restarts),
            "last_restart": restarts[-1] if restarts else None,
            "events": events[-10:],
            "evidence": evidence[-1] if evidence else None,
        }
        if watch
        else None,
    }


def host_state(facts: Json, profile: Json, services: list[Json]) -> Json:
    """Values of one host: since when it is up, what it computes with, and each of its services."""
    found = facts.get("seen") or {}
    units = found.get("units") or {}
    gpus = facts.get("gpus") or []
    gpu: Json = next((one for one in gpus if one.get("gfx") == profile.get("gfx")), {})
    mes = gpu.get("mes_version") or (facts.get("firmware") or {}).get("loaded", {}).get("mes")
    looks = [units.get(f"{service['name']}.service") or {} for service in services]
    history: Json = next((look["history"] for look in looks if look.get("history")), {})
    pages = (facts.get("parameters") or {}).get("ttm.pages_limit")
    size = (facts.get("memory") or {}).get("page_size") or 4096
    booted, now = history.get("booted"), history.get("now")
    engine = profile.get("engine") or {}
    return {
        "booted": booted,
        "up_seconds": now - booted if booted and now else None,
        "now": now,
        "firmware": f"MES 0x{mes & 0xFF:02x}" if isinstance(mes, int) else None,
        "gtt_bytes": gpu.get("gtt_bytes"),
        "gtt_limit_bytes": int(pages) * int(size) if pages else None,
        "rocm": engine.get("image_rocm"),
        "boot": (facts.get("state") or {}).get("boot"),
        "services": [_service(one, look, found) for one, look in zip(services, looks, strict=True)],
    }


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"host_state": host_state}
