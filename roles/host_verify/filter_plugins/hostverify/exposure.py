"""Bounds on exposure: who can reach a service, what it could do, and who can read its secrets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from .check import Judge, listed, serving

Json = dict[str, Any]

SECRET_NAME = re.compile(r"(TOKEN|API_KEY|PASSWORD|SECRET)=.")
FILTERED = 2
PRIVATE = {"ipc", "mnt", "net", "pid", "uts"}
# A container that sees one of these is not apart from the host, whether it may write there or not.
SYSTEM = ("/", "/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/usr", "/var")
SOCKETS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock")
PROVISION = "stroke provision"


def _addresses(container: Json) -> set[str]:
    host = container.get("HostConfig") or {}
    return {
        binding.get("HostIp") or "0.0.0.0"  # noqa: S104  what was found on a host  # nosec B104
        for bindings in (host.get("PortBindings") or {}).values()
        for binding in bindings or []
    }


def reach(service: Json, judge: Judge) -> Iterator[Json]:
    """Where the port is published, by the runtime's word and by the host's sockets."""
    container, bind = service["seen"]["container"], service["bind"]
    found, only = _addresses(container), f"{bind} only"
    public = not ipaddress.ip_address(bind).is_loopback
    said = f"published on {listed(sorted(found), 'nothing')}"
    if found == {bind} and public and not service["seen"].get("has_key"):
        hint = "give the API a key, or put a proxy in front of it"
        yield judge.check("V601", False, f"{only}, with a key", f"{said}, without a key", hint,
                          warn=True)  # fmt: skip
    else:
        yield judge.check("V601", found == {bind}, only, said, PROVISION)
    listening = set(service["seen"].get("listening") or [])
    said = f"{listed(sorted(listening), 'nothing listens')} on port {service['port']}"
    # A runtime that forwards by firewall rules alone holds no socket: none can be wrong then.
    yield judge.check(
        "V605", listening <= {bind}, only, said, f"ss -ltnp sport = :{service['port']}"
    )


def asked(service: Json, judge: Judge) -> Iterator[Json]:
    """What the container was asked to be."""
    container = service["seen"]["container"]
    host = container.get("HostConfig") or {}
    excess = list(_excess(container, host, service["rootless"]))
    found = "; ".join(excess) or "no capabilities, no new privileges, own namespaces, not root"
    yield judge.check("V602", not excess, "no privilege", found, PROVISION)
    named = [
        word.split("=", 1)[0]
        for word in (container.get("Config") or {}).get("Env") or []
        if SECRET_NAME.search(word)
    ]
    found = f"in the environment: {listed(named)}" if named else "none in the environment"
    hint = "take it out of inference_server_extra_env"
    yield judge.check("V603", not named, "no secret", found, hint)


def _excess(container: Json, host: Json, rootless: bool) -> Iterator[str]:
    """What the container may do that an inference server has no need for.

    Root of a rootless container is the service user outside: V609 looks who its processes are.
    """
    if host.get("Privileged"):
        yield "privileged"
    dropped = {str(word).lower() for word in host.get("CapDrop") or []}
    bare = dropped & {"all", "cap_all"} and not host.get("CapAdd")
    held = container.get("EffectiveCaps") or container.get("BoundingCaps")
    if held or ("EffectiveCaps" not in container and not bare):  # docker does not tell the result
        yield "has capabilities"
    if not any("no-new-privileges" in option for option in host.get("SecurityOpt") or []):
        yield "may gain privileges"
    user = str((container.get("Config") or {}).get("User") or "0").split(":")[0]
    if user in ("0", "root") and not rootless:
        yield "runs as root"
    for key in ("NetworkMode", "IpcMode", "PidMode", "UTSMode"):
        if host.get(key) == "host":
            yield f"{key} is host"


def _allowed(evidence: Json, service: Json) -> set[str]:
    """The GPU nodes that the service is meant to have."""
    gpus = serving(evidence["facts"], evidence["profile"])
    slots = service.get("gpus") or []
    chosen = [gpu for gpu in gpus if not slots or gpu.get("slot") in slots]
    return {"/dev/kfd", *(gpu["render_node"] for gpu in chosen if gpu.get("render_node"))}


def devices(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """Device nodes: what was asked for, and what is there."""
    host = service["seen"]["container"].get("HostConfig") or {}
    asked_for = {entry["PathInContainer"] for entry in host.get("Devices") or []}
    allowed = _allowed(evidence, service)
    wanted = listed(sorted(allowed))
    yield judge.check("V604", asked_for == allowed, wanted, listed(sorted(asked_for)), PROVISION)
    process = service["seen"].get("process") or {}
    if process:
        there = {node["path"] for node in process["devices"]}
        found = listed(sorted(there))
        yield judge.check("V610", there <= allowed, f"nothing but {wanted}", found, PROVISION)


def processes(service: Json, judge: Judge) -> Iterator[Json]:
    """What the processes really have; left out where there is none to look at."""
    process = service["seen"].get("process") or {}
    if not process:
        return
    masks = process["capabilities"]
    held = {name: mask for name, mask in masks.items() if int(mask, 16)}
    found = listed(f"{name} {mask}" for name, mask in held.items())
    yield judge.check("V606", not held, "none", found, PROVISION)
    mode = process["seccomp"]
    found = {0: "no filter", 1: "strict mode", FILTERED: "a filter is active"}.get(mode, str(mode))
    hint = "take seccomp=unconfined out of the container's options"
    yield judge.check("V607", mode == FILTERED, "a filter is active", found, hint)
    kept = process["no_new_privileges"]
    found = "set" if kept else "not set"
    yield judge.check("V608", kept, "set", found, PROVISION)
    found = f"uid {listed(process['uids'])}"
    yield judge.check("V609", 0 not in process["uids"], "not 0", found, PROVISION)
    shared = PRIVATE & set(process["shared_namespaces"])
    found = f"shared with the host: {listed(sorted(shared))}"
    yield judge.check("V612", not shared, "none shared", found, PROVISION)


def _forbidden(source: str) -> bool:
    path = PurePosixPath(source)
    return path.name in SOCKETS or str(path) in SYSTEM


def mounts(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """The root file system, and what of the host is in the container."""
    binds = service["seen"]["container"].get("Mounts") or []
    problems = []
    if (service["seen"].get("process") or {}).get("root_read_only") is False:
        problems.append("the root file system can be written")
    for bind in binds:
        source = str(bind.get("Source") or "")
        place = PurePosixPath(source)
        if _forbidden(source):
            problems.append(f"{source} is inside")
        elif bind.get("RW") and bind.get("Type") == "bind" and not any(
            place.is_relative_to(path) for path in evidence["writable"]
        ):  # fmt: skip
            problems.append(f"{source} can be written")
    wanted = f"read-only but for {listed(evidence['writable'], 'nothing')}"
    found = "; ".join(problems) or f"{len(binds)} mounts, as wanted"
    yield judge.check("V611", not problems, wanted, found, PROVISION)


def launcher(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """systemd's own figure for the unit that starts the container."""
    value, bound = service["seen"].get("exposure"), evidence["exposure"]
    if value is not None:
        hint = f"systemd-analyze security {service['unit']} lists what the unit leaves open"
        yield judge.check("V613", value <= bound, f"{bound} or less", value, hint, warn=True)


def secrets(evidence: Json, judge: Judge) -> Iterator[Json]:
    """Files of secrets, and whether what is in them shows up in other places."""
    entries = evidence["secrets"]
    if not entries:
        return
    owners = {0, *(evidence["service_uids"])}
    wrong = [f"{e['path']} ({e['mode']}, uid {e['uid']})" for e in entries if _loose(e, owners)]
    wanted = "files 0400 or 0600 of root or the service, directories closed to others"
    found = listed(wrong) if wrong else f"{len(entries)} entries, all closed"
    yield judge.check("V614", not wrong, wanted, found, PROVISION)


def _loose(entry: Json, owners: set[int]) -> bool:
    mode = int(entry["mode"], 8)
    if entry["uid"] not in owners or entry["type"] == "link":
        return True
    # A user's own service has to pass through the directory, but may not list or change it.
    return bool(mode & (0o066 if entry["type"] == "directory" else 0o077))


def elsewhere(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """Whether a secret stands where others can read it."""
    if evidence["secrets"]:
        places = service["seen"].get("secrets_in") or []
        found = f"a secret stands in {listed(places)}" if places else "in none of them"
        hint = "change the secret, then stroke provision"
        yield judge.check("V615", not places, "no secret outside its file", found, hint)
