"""What the facts say of the manifest's items, and which roles have something to do."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

Json = dict[str, Any]

# In the order of playbooks/site.yml.
ROLES = (
    "preflight",
    "kernel",
    "boot_params",
    "rocm",
    "gpu_access",
    "container_runtime",
    "inference_server",
    "model_store",
    "boot_guard",
    "metrics",
    "service_watchdog",
    "tls_proxy",
    "host_verify",
    "generation",
    "service_drain",
)
REBOOTING = {"kernel", "boot_params"}


def _of_survey(item: Json, seen: Json) -> Json | None:
    """What a survey of the host says of one item; None where it did not look."""
    if item["kind"] in ("file", "directory"):
        path = str(item["path"])
        folder, _, name = path.rpartition("/")
        found: Json | None = seen["paths"].get(path)
        if found:
            followed = item["kind"] == "directory" and found.get("type") == "link"
            return None if followed else found
        places = (pattern.rpartition("/") for pattern in seen["patterns"])
        looked = any(at == folder and fnmatch.fnmatchcase(name, last) for at, _, last in places)
        return {"exists": False} if looked else None
    if item["kind"] == "unit":
        return dict(seen["units"].get(item["name"]) or {}) or None
    if item["kind"] == "image":
        last = item["reference"].rsplit("/", 1)[-1]
        full = item["reference"] + ("" if ":" in last or "@" in last else ":latest")
        names = (full, f"localhost/{full}", f"docker.io/{full}", f"docker.io/library/{full}",
                 full.removeprefix("docker.io/"))  # fmt: skip
        user, runtime = item.get("user"), item.get("runtime") or "podman"
        store = f"{runtime}:{user}" if user else runtime
        known = (seen["images"] if store == "podman" else seen["stores"].get(store)) or {}
        image_id = next((known[name] for name in names if name in known), None)
        return {"exists": True, "image_id": image_id} if image_id else None
    key = str(item["key"]).replace("-", "_")
    pairs = (token.partition("=") for token in seen["arguments"])
    named = ((name.strip('"').replace("-", "_"), value.strip('"')) for name, _, value in pairs)
    return {"values": [value for name, value in named if name == key]}


def _of_facts(item: Json, facts: Json) -> Json | None:
    if item["kind"] == "package":
        return facts["packages"].get(item["name"]) or None
    if item["kind"] == "package_database":
        apt = facts["apt"]
        return {"unfinished": [*apt["broken"], *(apt.get("interrupted") or [])]}
    if item["kind"] == "user":
        if item["name"] not in facts["users"]:
            return None
        login = facts["users"][item["name"]]
        seen = {"exists": login is not None, "groups": login["groups"] if login else []}
        return seen | {"subids": bool(login and login.get("subids"))}
    if item["kind"] == "kernel":
        package = facts["kernel"].get("running_package") or {}
        return {"running": facts["kernel"]["running"], "version": package.get("version")}
    if item["kind"] in ("file", "directory") and item["path"] in (facts.get("secrets") or {}):
        return dict(facts["secrets"][item["path"]])
    known = ("file", "directory", "unit", "image", "kernel_arg")
    return _of_survey(item, facts["seen"]) if item["kind"] in known and "seen" in facts else None


def manifest_seen(desired: list[Json], facts: Json, later: list[Json] | None = None) -> list[Any]:
    """What the facts say of each item; None where they do not say, unless `later` does, in order.

    A converged host is told by its facts alone: nothing has to be asked a second time.
    """
    answers = iter(later or [])
    seen = (_of_facts(item, facts) for item in desired)
    return [next(answers, None) if found is None else found for found in seen]


def manifest_unseen(desired: list[Json], facts: Json) -> list[Json]:
    """Items that the host has to be asked about once more."""
    seen = manifest_seen(desired, facts)
    return [item for item, found in zip(desired, seen, strict=True) if found is None]


def manifest_roles(changes: list[Json], full: bool = False, tags: Sequence[str] = ()) -> list[str]:
    """Roles that have something to do, with those that have to follow; `full` means every role.

    What changes a kernel or its arguments is not done before the host runs it, and nothing is done
    before it is proven. Proof alone may be asked for by its tag.
    """
    if full:
        return list(ROLES)
    named = {str(change["role"]) for change in changes}
    if named & REBOOTING or any(change["stage"] == "reboot" for change in changes):
        named.add("boot_guard")
    if named:  # what was proven is kept, to go back to
        named.add("generation")
    if named or {"verify", "host_verify"} & set(tags):
        named.add("host_verify")
    unknown = sorted(named - set(ROLES))
    if unknown:
        raise ValueError(f"manifest: no step of site.yml runs {', '.join(unknown)}")
    return [role for role in ROLES if role in named]


def manifest_restarts(changes: list[Json]) -> list[str]:
    """Units that run and have to be started again, though their own files may be right."""
    return [c["what"] for c in changes if (c["kind"], c["action"]) == ("unit", "restart")]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "manifest_seen": manifest_seen,
            "manifest_unseen": manifest_unseen,
            "manifest_roles": manifest_roles,
            "manifest_restarts": manifest_restarts,
        }
