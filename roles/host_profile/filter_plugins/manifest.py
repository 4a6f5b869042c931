"""The difference between what the roles want on a host and what was observed there."""

from __future__ import annotations

import difflib
import hashlib
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# Filter plugins cannot import each other by name: Ansible loads each one from its path.
_debver = runpy.run_path(os.fspath(Path(__file__).with_name("debver.py")))
at_least: Callable[[str, str], bool] = _debver["at_least"]
is_denied: Callable[[str, list[str]], bool] = _debver["is_denied"]

STAGES = ("prepare", "reboot", "serve")
SHOWN = 4096
UNKNOWN = "unknown"


class Change:
    """What one item lacks: an action, and both sides in words."""

    def __init__(
        self,
        action: str,
        before: str | None,
        after: str | None,
        diff: str = "",
        same_bytes: bool = False,
        stage: str = "",
    ) -> None:
        self.action = action
        self.before = before
        self.after = after
        self.diff = diff
        self.same_bytes = same_bytes
        self.stage = stage


def _short(digest: str | None) -> str:
    return f"sha256 {digest[:12]}" if digest else UNKNOWN


def _mode(value: Any) -> str:
    """A mode as four octal digits; YAML turns an unquoted 0644 into a number."""
    return f"{value:04o}" if isinstance(value, int) else str(value).rjust(4, "0")


def _ownership(item: Json, seen: Json) -> tuple[list[str], list[str]]:
    wanted = {
        "mode": _mode(item.get("mode") or ("0755" if item["kind"] == "directory" else "0644")),
        "owner": str(item.get("owner") or "root"),
        "group": str(item.get("group") or "root"),
    }
    different = [key for key, value in wanted.items() if seen.get(key) != value]
    return (
        [f"{key} {seen.get(key)}" for key in different],
        [f"{key} {wanted[key]}" for key in different],
    )


def _text_diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} (now)", f"{path} (planned)", "", "", 2, ""
    )
    return "\n".join(lines)


def _place(item: Json, seen: Json) -> Change | None:
    """A file or a directory; a private file is compared by hash and never shown."""
    kind, path = item["kind"], item["path"]
    if seen.get("exists") is None:
        return Change("change", UNKNOWN, kind)
    if item.get("state") == "absent":
        # `only`: the one type that is meant; a unit that is masked is a link of the same name.
        meant = item.get("only") in (None, seen.get("type"))
        return Change("remove", seen.get("type", kind), None) if seen["exists"] and meant else None
    public = int(_mode(item.get("mode") or "0644"), 8) & 0o004
    content: str | None = item.get("content")
    shown = content is not None and public and len(content) <= SHOWN
    if not seen["exists"]:
        return Change("create", None, kind, _text_diff(path, "", content or "") if shown else "")
    if seen.get("type") != kind:
        return Change("change", seen.get("type"), kind)
    before, after = _ownership(item, seen)
    diff, owned = "", len(before)
    if content is not None:
        digest = hashlib.sha256(content.encode()).hexdigest()
        if seen.get("sha256") != digest:
            before.append(_short(seen.get("sha256")))
            after.append(_short(digest))
            old = seen.get("content")
            if shown and old is not None and len(old) <= SHOWN:
                diff = _text_diff(path, old, str(content))
    elif item.get("size") is not None and seen.get("size") != item["size"]:
        before.append(f"{seen.get('size')} bytes")
        after.append(f"{item['size']} bytes")
    elif seen.get("same") is False:  # a secret: the host compared it, and says no more
        before.append("another content")
        after.append("the wanted content")
    if not before:
        return None
    return Change("change", ", ".join(before), ", ".join(after), diff, owned == len(before))


def _package(item: Json, seen: Json) -> Change | None:
    version, minimum = seen.get("version"), item.get("minimum")
    deny = [str(prefix) for prefix in item.get("deny") or []]
    if item.get("state") == "absent":
        return Change("remove", version, None) if version else None
    rule = str(item.get("version") or (f"≥ {minimum}" if minimum else "any version"))
    if not version:
        return Change("install", None, rule)
    held = " (held)" if seen.get("held") else ""
    exact = item.get("version")
    if exact:  # one that was there before: neither older nor newer will do
        back = at_least(version, str(exact))
        return None if version == exact else Change(
            "downgrade" if back else "upgrade", f"{version}{held}", str(exact))  # fmt: skip
    if is_denied(version, deny):
        return Change("upgrade", f"{version} (known to be bad){held}", rule)
    if minimum and not at_least(version, str(minimum)):
        return Change("upgrade", f"{version}{held}", rule)
    return None


def _user(item: Json, seen: Json) -> Change | None:
    exists, wanted = seen.get("exists"), list(item.get("groups") or [])
    if item.get("state") == "absent":
        return Change("remove", "login", None) if exists else None
    if not exists:
        return Change("create", None, f"in {', '.join(wanted)}" if wanted else "login")
    if item.get("subids") and not seen.get("subids"):
        return Change("change", "no subordinate ids", "subordinate ids")
    missing = [group for group in wanted if group not in (seen.get("groups") or [])]
    now = ", ".join(seen.get("groups") or []) or "no group"
    return Change("change", f"in {now}", f"add to {', '.join(missing)}") if missing else None


def _unit(item: Json, seen: Json) -> Change | None:
    exists, active = seen.get("exists"), seen.get("active")
    now = str(seen.get("sub") or "stopped") if exists else "missing" if exists is False else UNKNOWN
    if item.get("state") == "absent":
        return Change("remove", now, None) if exists else None
    wanted = item.get("active", True)
    if wanted and seen.get("masked"):
        return Change("unmask", f"masked, {now}", "running")
    if wanted and not active:
        return Change("start", now, "running")
    if not wanted:
        return Change("stop", now, "stopped") if active else None
    if item.get("enabled") and seen.get("enabled") not in ("enabled", None):
        return Change("enable", f"{now}, {seen['enabled'] or UNKNOWN}", "enabled")
    config, serves = seen.get("config"), seen.get("serves")
    if item.get("config") and config is not None and config != item["config"]:
        return Change("restart", f"{now} with another configuration", "running")
    if seen.get("key") in ("open", "refused"):
        said = "asks for no key" if seen["key"] == "open" else "refuses its key"
        return Change("restart", f"{now}, but {said}", "running")
    if item.get("model") and serves is not None and not {item["model"], "*"} & set(serves):
        said = f"serves {', '.join(serves)}" if serves else "does not answer"
        return Change("restart", f"{now}, but {said}", "running")
    return None


def _image(item: Json, seen: Json) -> Change | None:
    def plain(value: Any) -> str:
        return str(value or "").removeprefix("sha256:")

    exists = seen.get("exists")
    wanted, now = plain(item.get("image_id")), plain(seen.get("image_id"))
    if item.get("state") == "absent":
        return Change("remove", f"image {now[:12]}", None) if exists else None
    if exists and (not wanted or wanted == now):
        return None
    before = f"image {now[:12]}" if exists else UNKNOWN if exists is None else None
    return Change("load", before, f"image {wanted[:12]}" if wanted else "image")


def _kernel_arg(item: Json, seen: Json) -> Change | None:
    key, values = item["key"], [str(value) for value in seen.get("values") or []]
    value = item.get("value")
    wanted = [] if item.get("state") == "absent" else ["" if value is None else str(value)]

    def said(found: list[str]) -> str:
        return " ".join(f"{key}={one}" if one else key for one in found) or "absent"

    if values != wanted:
        return Change("reboot", said(values), said(wanted))
    # Files that boot entries are made of, as the facts have them: what runs now is not what will.
    wrong = {path: has for path, has in (item.get("sources") or {}).items() if has != wanted}
    if not wrong:
        return None
    before = "; ".join(f"{path}: {said(has)}" for path, has in wrong.items())
    return Change("change", before, said(wanted), stage="prepare")


def _kernel(item: Json, seen: Json) -> Change | None:
    """The package version decides where it is known: streams carry backported fixes."""
    running, minimum = str(seen.get("running") or ""), str(item["minimum"])
    if item.get("release"):  # chosen: a newer one is as wrong as an older one
        right = running == item["release"]
        return None if right else Change("reboot", running or UNKNOWN, str(item["release"]))
    if running and at_least(str(seen.get("version") or running.partition("-")[0]), minimum):
        return None
    return Change("reboot", running or UNKNOWN, f"≥ {minimum}")


def _package_database(item: Json, seen: Json) -> Change | None:
    """Package work that was cut off leaves packages that are neither there nor gone."""
    unfinished = [str(name) for name in seen.get("unfinished") or []]
    if not unfinished:
        return None
    more = f" and {len(unfinished) - 3} more" if len(unfinished) > 3 else ""
    return Change("repair", f"unfinished: {', '.join(unfinished[:3])}{more}", "clean")


COMPARE: dict[str, tuple[str, Callable[[Json, Json], Change | None]]] = {
    "file": ("path", _place),
    "directory": ("path", _place),
    "package": ("name", _package),
    "user": ("name", _user),
    "unit": ("name", _unit),
    "image": ("reference", _image),
    "kernel_arg": ("key", _kernel_arg),
    "kernel": ("kernel", _kernel),
    "package_database": ("package database", _package_database),
}


def _entry(item: Json, what: str, change: Change, reason: str) -> Json:
    entry = {"role": item["role"], "stage": change.stage or item["stage"], "kind": item["kind"],
             "what": what, "action": change.action, "before": change.before,
             "after": change.after, "reason": reason}  # fmt: skip
    return entry | ({"diff": change.diff} if change.diff else {})


def manifest_changes(desired: list[Json], observed: list[Json]) -> list[Json]:
    """What would change on the host, in the order in which it would; empty means converged."""
    if len(desired) != len(observed):
        raise ValueError(f"{len(desired)} items were wanted and {len(observed)} observed")
    changes: list[Json] = []
    restarts: list[tuple[Json, set[str]]] = []
    moved: list[str] = []
    for item, seen in zip(desired, observed, strict=True):
        if item["kind"] not in COMPARE or item["stage"] not in STAGES:
            raise ValueError(f"manifest: unknown kind or stage in {item['kind']}, {item['stage']}")
        field, compare = COMPARE[item["kind"]]
        what = str(item.get(field, field))
        change = compare(item, seen or {})
        reason = str(item.get("reason") or "")
        if change is None and item["kind"] == "unit" and item.get("needs"):
            # Decided below, once it is known which of the files it reads change.
            change = Change("restart", str((seen or {}).get("sub") or "running"), "running")
            entry = _entry(item, what, change, reason)
            if item.get("active", True) and item.get("state") != "absent":
                restarts.append((entry, {str(need) for need in item["needs"]}))
                changes.append(entry)
        elif change:
            changes.append(_entry(item, what, change, reason))
            if not change.same_bytes:
                moved.append(what)
    for entry, needs in restarts:
        because = [what for what in moved if what in needs]
        if because:
            entry["reason"] = f"{', '.join(because)} changes"
        else:
            changes.remove(entry)
    return sorted(changes, key=lambda change: STAGES.index(change["stage"]))


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"manifest_changes": manifest_changes}
