"""Judge what was collected from a host, layer by layer. Pure: evidence in, checks out.

A check that needs the real device is `skipped (simulated)` on a host whose GPU is declared, never
passed. A check whose subject was never asked for (no value in the profile) is left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]

PASSED, FAILED, WARNING, SKIPPED = "passed", "failed", "warning", "skipped (simulated)"
SECRET_NAME = re.compile(r"(TOKEN|API_KEY|PASSWORD|SECRET)=.")
GROUP_READ_WRITE = 0o060
NO_COMPLETION, DIFFERENCE = "STK-602", "STK-604"


def _numbers(version: str) -> tuple[int, ...]:
    """Upstream part of a kernel release or a package version, as numbers."""
    upstream = re.split(r"[-+~]", version.split(":", 1)[-1])[0]
    return tuple(int(number) for number in re.findall(r"\d+", upstream))


class _Layer:
    """Builds the checks of one layer with one voice."""

    def __init__(self, name: str, simulated: bool) -> None:
        self.name = name
        self.simulated = simulated

    def check(self, number: str, what: str, good: bool, detail: str, hint: str) -> Json:
        status = PASSED if good else FAILED
        return self._entry(number, what, status, detail, "" if good else hint)

    def warn(self, number: str, what: str, good: bool, detail: str, hint: str) -> Json:
        status = PASSED if good else WARNING
        return self._entry(number, what, status, detail, "" if good else hint)

    def device(self, number: str, what: str, good: bool, detail: str, hint: str) -> Json:
        """A check that only the real GPU can answer."""
        if self.simulated:
            return self._entry(number, what, SKIPPED, "the host's GPU is declared, not real", "")
        return self.check(number, what, good, detail, hint)

    def _entry(self, number: str, what: str, status: str, detail: str, hint: str) -> Json:
        return {
            "id": number,
            "layer": self.name,
            "what": what,
            "status": status,
            "detail": detail,
            "hint": hint,
        }


def _system(evidence: Json, layer: _Layer) -> Iterator[Json]:
    facts, profile = evidence["facts"], evidence["profile"]
    running = facts["kernel"]["running"]
    minimum = (profile.get("kernel") or {}).get("install_floor")
    if minimum:
        detail = f"{running} is running, {minimum} or newer is wanted"
        good = _numbers(running) >= _numbers(minimum)
        yield layer.check("V101", "kernel", good, detail, "stroke provision, and let it reboot")
    gpu: Json = next((gpu for gpu in facts["gpus"] if not gpu["simulated"]), {})
    fixed = bool(gpu.get("cwsr_size"))
    detail = f"cwsr_size in the KFD topology: {gpu.get('cwsr_size') or 'none'}"
    yield layer.device("V102", "kernel has the GPU's fixes", fixed, detail, "stroke provision")
    firmware = profile.get("firmware") or {}
    if firmware.get("package"):
        name, floor = firmware["package"], firmware["minimum"]
        found = (facts["packages"].get(name) or {}).get("version")
        denied = [v for v in firmware.get("deny") or [] if (found or "").startswith(v)]
        good = found is not None and _numbers(found) >= _numbers(floor) and not denied
        detail = f"{name} {found or 'is not installed'}, {floor} or newer is wanted"
        yield layer.check("V103", "firmware package", good, detail, "stroke provision")
        loaded = gpu.get("mes_version")
        bad = loaded is None or (loaded & 0xFF) in (firmware.get("deny_mes") or [])
        detail = f"MES firmware {hex(loaded) if loaded is not None else 'unknown'} is loaded"
        hint = "reboot; if it stays, look for other files in /lib/firmware/updates/amdgpu"
        yield layer.device("V104", "loaded firmware", not bad, detail, hint)


def _memory(evidence: Json, layer: _Layer) -> Iterator[Json]:
    facts, profile = evidence["facts"], evidence["profile"]
    words = facts["kernel"]["args"]
    wanted = (profile.get("boot") or {}).get("args") or []
    wrong = []
    for argument in wanted:
        key = argument.split("=", 1)[0]
        found = [word for word in words if word.split("=", 1)[0] == key]
        if found != [argument]:
            wrong.append(f"{argument} wanted, {' '.join(found) or 'nothing'} found")
    if wanted:
        detail = "; ".join(wrong) or " ".join(wanted)
        hint = "stroke provision, and let it reboot"
        yield layer.check("V201", "kernel arguments, each exactly once", not wrong, detail, hint)
    memory, live = profile.get("memory") or {}, facts["parameters"]
    asked = {argument.split("=", 1)[0] for argument in wanted}
    for number, parameter, value in (
        ("V202", "ttm.pages_limit", memory.get("pages")),
        ("V203", "amdgpu.gttsize", memory.get("gttsize_mib")),
    ):
        if value is None or parameter not in asked:
            continue
        found = live.get(parameter)
        detail = f"{found if found is not None else 'unknown'} is live, {value} was planned"
        hint = "is the module loaded (lsmod), and does modprobe.d set it too?"
        yield layer.check(number, f"live {parameter}", found == value, detail, hint)
    if memory.get("pages"):
        planned = memory["pages"] * memory["page_size"]
        total = next((g["gtt_bytes"] for g in facts["gpus"] if not g["simulated"]), None) or 0
        detail = f"the driver gives {total} bytes of GTT, {planned} were planned"
        hint = "if only this layer disagrees, set boot_params_gttsize: false"
        yield layer.device("V204", "GTT of the driver", total == planned, detail, hint)


def _access(evidence: Json, layer: _Layer) -> Iterator[Json]:
    facts, user = evidence["facts"], evidence["user"]
    gid = facts["groups"].get("render")
    nodes = {"/dev/kfd": facts["devices"]["kfd"], **facts["devices"]["render"]}
    kfd = nodes["/dev/kfd"] is not None
    detail = "/dev/kfd exists" if kfd else "/dev/kfd does not exist"
    hint = "is amdgpu bound to the GPU? lspci -k; journalctl -k -g amdgpu"
    yield layer.device("V301", "compute node", kfd, detail, hint)
    closed = [
        path
        for path, node in nodes.items()
        if node
        and (node["gid"] != gid or int(node["mode"], 8) & GROUP_READ_WRITE != GROUP_READ_WRITE)
    ]
    good = not closed and len(nodes) > 1
    detail = f"not open to the group render: {', '.join(closed)}" if closed else ", ".join(nodes)
    yield layer.device("V302", "nodes open to their group", good, detail, "stroke provision")
    groups = ((facts.get("users") or {}).get(user) or {}).get("groups") or []
    missing = [name for name in ("render", "video") if name not in groups]
    if missing:
        detail = f"{user} is not in {', '.join(missing)}"
    else:
        detail = f"{user} is in render ({gid}) and video ({facts['groups'].get('video')})"
    yield layer.check("V303", "service user", not missing, detail, "stroke provision")


def _container(evidence: Json) -> Json:
    return dict((evidence["container"] or [{}])[0])


def _service(evidence: Json, layer: _Layer) -> Iterator[Json]:
    unit, name = evidence["unit"], evidence["name"]
    state = unit.get("ActiveState") or "unknown"
    journal = f"journalctl -u {name}.service"
    yield layer.check("V401", "service", state == "active", f"{name}.service is {state}", journal)
    good = "multi-user.target" in (unit.get("WantedBy") or "").split()
    detail = f"wanted by {unit.get('WantedBy') or 'nothing'}"
    yield layer.check("V402", "starts at boot", good, detail, "stroke provision")
    restarts = int(unit.get("NRestarts") or 0)
    detail = f"restarted by systemd {restarts} times since it was started"
    yield layer.warn("V403", "no restarts", restarts == 0, detail, journal)
    container = _container(evidence)
    health = ((container.get("State") or {}).get("Health") or {}).get("Status") or "unknown"
    detail = f"its own completion in the container: {health}"
    yield layer.check("V404", "health", health == "healthy", detail, journal)
    if evidence["digest"]:
        label = ((container.get("Config") or {}).get("Labels") or {}).get("stroke.config")
        good = label == evidence["digest"]
        detail = f"the container runs the {'wanted' if good else 'another'} configuration"
        yield layer.check("V405", "configuration", good, detail, "stroke provision")


def _answer(evidence: Json, layer: _Layer) -> Iterator[Json]:
    completion = evidence["completion"]
    tokens, seconds = completion["tokens"], completion["seconds"]
    if tokens:
        detail = f"{tokens} tokens in {seconds} s: {completion['text'][:60]!r}"
    else:
        detail = completion["error"] or "the answer has no tokens"
    hint = f"journalctl -u {evidence['name']}.service"
    yield layer.check("V501", "chat completion over loopback", bool(tokens), detail, hint)
    if tokens:
        named = completion["model"]
        detail = f"the endpoint answers as {named}, {evidence['model']} is wanted"
        good = named == evidence["model"]
        yield layer.check("V502", "model", good, detail, "stroke provision")


def _exposure(evidence: Json, layer: _Layer) -> Iterator[Json]:
    container = _container(evidence)
    if not container:
        return
    host = container.get("HostConfig") or {}
    published = {
        binding.get("HostIp") or "0.0.0.0"  # noqa: S104  the wildcard is what is looked for
        for bindings in (host.get("PortBindings") or {}).values()
        for binding in bindings or []
    }
    good = published == {evidence["bind"]}
    detail = f"published on {', '.join(sorted(published)) or 'nothing'}, not on {evidence['bind']}"
    if good and evidence.get("key"):
        detail = f"published on {evidence['bind']} only, for requests with a key"
        yield layer.check("V601", "bind address", True, detail, "")
    elif good and not ipaddress.ip_address(evidence["bind"]).is_loopback:
        detail = f"published on {evidence['bind']}, as asked: there is no password on the API"
        yield layer.warn("V601", "bind address", False, detail, "put a proxy in front of it")
    else:
        detail = f"published on {evidence['bind']} only" if good else detail
        yield layer.check("V601", "bind address", good, detail, "stroke provision")
    excess = list(_excess(container, host))
    detail = "; ".join(excess) or "no capabilities, no new privileges, own namespaces, not root"
    yield layer.check("V602", "container privileges", not excess, detail, "stroke provision")
    named = [
        word.split("=", 1)[0]
        for word in (container.get("Config") or {}).get("Env") or []
        if SECRET_NAME.search(word)
    ]
    detail = f"in the environment: {', '.join(named)}" if named else "none in the environment"
    hint = "take it out of inference_server_extra_env"
    yield layer.check("V603", "no secrets in the unit", not named, detail, hint)
    inside = {entry["PathInContainer"] for entry in host.get("Devices") or []}
    nodes = {gpu["render_node"] for gpu in evidence["facts"]["gpus"] if gpu.get("render_node")}
    good = inside == {"/dev/kfd", *nodes}
    detail = f"devices in the container: {', '.join(sorted(inside)) or 'none'}"
    yield layer.device("V604", "only the GPU's nodes", good, detail, "stroke provision")


def _excess(container: Json, host: Json) -> Iterator[str]:
    """What the container may do that an inference server has no need for."""
    if host.get("Privileged"):
        yield "privileged"
    if container.get("EffectiveCaps") or container.get("BoundingCaps"):
        yield "has capabilities"
    if not any("no-new-privileges" in option for option in host.get("SecurityOpt") or []):
        yield "may gain privileges"
    if str((container.get("Config") or {}).get("User") or "0").split(":")[0] in ("0", "root"):
        yield "runs as root"
    for key in ("NetworkMode", "IpcMode", "PidMode"):
        if host.get(key) == "host":
            yield f"{key} is host"


def _drift(evidence: Json, layer: _Layer) -> Iterator[Json]:
    changes = evidence["changes"]
    if changes is None:
        return
    detail = ", ".join(f"{change['action']} {change['what']}" for change in changes)
    yield layer.check(
        "V001", "nothing differs from the plan", not changes, detail or "no drift", "stroke plan"
    )


LAYERS: tuple[tuple[str, Callable[[Json, _Layer], Iterator[Json]]], ...] = (
    ("plan", _drift),
    ("kernel and firmware", _system),
    ("memory", _memory),
    ("devices and users", _access),
    ("service", _service),
    ("endpoint", _answer),
    ("exposure", _exposure),
)


def verify_checks(evidence: Json) -> list[Json]:
    """Every check of every layer, in the order in which the layers build on each other."""
    simulated = bool(evidence["profile"].get("simulated"))
    return [check for name, layer in LAYERS for check in layer(evidence, _Layer(name, simulated))]


def verify_failure(checks: list[Json]) -> str:
    """The failure message for the checks that did not hold; empty when all did."""
    failed = [check for check in checks if check["status"] == FAILED]
    if not failed:
        return ""
    code = NO_COMPLETION if any(check["id"] == "V501" for check in failed) else DIFFERENCE
    what = "; ".join(f"{c['id']} {c['what']}: {c['detail']}" for c in failed)
    return f"{code}: {what}. Hint: {failed[0]['hint']}"


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "verify_checks": verify_checks,
            "verify_failure": verify_failure,
        }
