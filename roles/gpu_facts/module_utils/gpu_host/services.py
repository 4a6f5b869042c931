"""State of units: what systemd says, what the container was made from, and whether it answers."""

from __future__ import annotations

import json
import os
from typing import Any

from .files import Host
from .history import history
from .programs import as_user, run

PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState"
UNKNOWN = {"exists": None, "active": None, "enabled": None, "masked": None, "sub": None}
MISSING = {"exists": False, "active": False, "enabled": "", "masked": False, "sub": ""}
# Label of the container that names the configuration it was made from.
LABEL = '{{index .Config.Labels "stroke.config"}}'
# Seconds that an endpoint may take to say which models it serves: no work for a healthy one.
PATIENCE = 10


def parse_units(text: str) -> list[dict[str, str]]:
    """One table of properties per unit of `systemctl show`, in the order that was asked."""
    return [
        dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        for part in text.strip().split("\n\n")
    ]


def units(host: Host, names: list[str], user: str | None = None) -> dict[str, dict[str, Any]]:
    """State of units of the system, or of a user's own systemd."""
    if not names:
        return {}
    try:
        own = ("--user",) if user else ()
        words = ("systemctl", *own, "show", f"--property={PROPERTIES}", "--", *names)
        command = as_user(user, *words)
    except LookupError:  # a user who is not there yet has no units
        return {name: dict(MISSING) for name in names}
    if user and host.live and os.geteuid() != 0:
        return {name: dict(UNKNOWN) for name in names}
    text = run(host, *command)
    if user and host.live and not (text and text.strip()):  # no session of that user: nothing runs
        return {name: dict(MISSING) for name in names}
    tables = parse_units(text) if text and text.strip() else []
    if len(tables) != len(names):
        return {name: dict(UNKNOWN) for name in names}
    return {
        name: {
            "exists": table.get("LoadState") not in ("not-found", "", None),
            "active": table.get("ActiveState") == "active",
            "enabled": table.get("UnitFileState", ""),
            "masked": table.get("LoadState") == "masked",
            "sub": table.get("SubState", ""),
        }
        for name, table in zip(names, tables)
    }


def bearer(host: Host, path: str | None) -> dict[str, str]:
    """The header with the key of a file that only root may read; none where there is no file."""
    key = host.line(path) if path else None
    return {"Authorization": f"Bearer {key}"} if key else {}


def guarded_by_key(host: Host, url: str, header: dict[str, str]) -> str:
    """Is the endpoint closed without its key (else `open`) and open with it (else `refused`)?

    The request is empty on purpose: an engine that lets it in only says that it is wrong.
    """
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def closed(headers: dict[str, str]) -> bool:
        asked = urllib.request.Request(  # noqa: S310  the scheme is ours
            f"{url}/v1/completions", b"{}", {"Content-Type": "application/json", **headers}
        )
        try:
            opener.open(asked, timeout=PATIENCE).close()
        except urllib.error.HTTPError as refusal:
            return refusal.code in (401, 403)
        return False

    return "open" if not closed({}) else "refused" if closed(header) else "asked"


def models(host: Host, url: str, header: dict[str, str]) -> list[str]:
    """Models that an OpenAI endpoint says it serves; `*` for one that wants another key first."""
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(f"{url}/v1/models", headers=header)  # noqa: S310  see above
        with opener.open(asked, timeout=PATIENCE) as answer:
            return [str(entry["id"]) for entry in json.loads(answer.read(1 << 20))["data"]]
    except urllib.error.HTTPError as refusal:
        return ["*"] if refusal.code in (401, 403) else []
    except (OSError, ValueError, LookupError, TypeError) as problem:
        host.cannot(url, problem)
        return []


def services(host: Host, items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Units by name; of an active one, where its item asks for it, `config` and `serves`."""
    table: dict[str, dict[str, Any]] = {}
    for user in sorted({item.get("user") for item in items}, key=str):
        names = {str(item.get("name")) for item in items if item.get("user") == user}
        table.update(units(host, sorted(names), user))
    for item in items:
        seen = table.get(str(item.get("name")), {})
        if item.get("history"):
            seen["history"] = host.guarded(f"history of {item['name']}", {}, history, host, item)
        if not seen.get("active"):
            continue
        if item.get("container"):
            program = str(item.get("runtime") or "podman")
            told = run(host, *as_user(item.get("user"), program, "container", "inspect",
                                      "--format", LABEL, str(item["container"])))  # fmt: skip
            seen["config"] = None if told is None else told.strip()
        if item.get("url") and host.live:
            url, header = str(item["url"]), bearer(host, item.get("key_file"))
            seen["serves"] = host.guarded(url, None, models, host, url, header)
            if header and seen["serves"]:
                seen["key"] = host.guarded(url, None, guarded_by_key, host, url, header)
    return table
