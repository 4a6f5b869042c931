"""How a service is spoken to on its host: whose ids, whose systemd, which container program."""

from __future__ import annotations

from typing import Any

from .services import other_paths, unit_path

Json = dict[str, Any]


def service_identity(facts: Json, user: str, groups: list[str], getent: Json | None) -> Json:
    """Numeric ids of the service user: from a fresh look-up if there was one, else from the facts.

    Ids that nobody can know yet (a host before its first run) are told as a placeholder.
    """
    if getent:
        entry = getent["passwd"].get(user)
        ids = {name: fields[1] for name, fields in getent["group"].items() if fields}
        uid, gid = (entry[1], entry[2]) if entry else (None, None)
        home = entry[4] if entry else None
    else:
        known = (facts.get("users") or {}).get(user) or {}
        uid, gid, ids, home = known.get("uid"), known.get("gid"), facts["groups"], known.get("home")
    unknown = f"(id of {user})"
    return {
        "known": uid is not None,
        "uid": unknown if uid is None else int(uid),
        "gid": unknown if gid is None else int(gid),
        "home": home,
        "groups": [int(ids[n]) if ids.get(n) is not None else f"(id of {n})" for n in groups],
    }


def commands(service: Json, identity: Json) -> Json:
    """Argument vectors of the container program and of systemctl, as whoever runs the service,
    and the words by which journalctl finds what the service said.

    Root becomes the service user with nothing but what Podman needs: its home, and the directory
    in which that user's own systemd listens.
    """
    if service["runtime"] == "docker" or not service["rootless"]:
        return {
            "container": [service["runtime"]],
            "systemctl": ["systemctl"],
            "journal": ["--unit", service["unit"]],
            "user": None,
        }
    # journalctl's own --user-unit means the units of whoever asks, which is root.
    whose = f"_UID={identity['uid']}"
    journal = [f"_SYSTEMD_USER_UNIT={service['unit']}", whose, "+"]
    journal += [f"USER_UNIT={service['unit']}", whose]
    session = [f"HOME={identity['home']}", f"XDG_RUNTIME_DIR=/run/user/{identity['uid']}"]
    before = ["runuser", "-u", service["user"], "--", "env", "--chdir=/", *session]
    return {
        "container": [*before, "podman"],
        "systemctl": [*before, "systemctl", "--user"],
        "journal": journal,
        "user": service["user"],
    }


def place(service: Json, home: str) -> Json:
    """Paths of the unit, of its forms for other runtimes, and of the record of its images."""
    rootless = service["rootless"] and service["runtime"] == "podman"
    store = "rootless/" if rootless else "docker/" if service["runtime"] == "docker" else ""
    return {
        "unit": unit_path(service, home),
        "others": other_paths(service, home),
        "record": f"/var/lib/stroke/images/{store}{service['name']}.json",
        "home": home,
    }
