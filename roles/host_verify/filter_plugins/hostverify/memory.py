"""How much memory the GPU may use, from the request down to the container.

Requested → configured on disk → live module parameter → GTT of the driver → the container.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .check import FAILED, Judge, listed, serving

Json = dict[str, Any]

PARAMETERS = (("V202", "ttm.pages_limit", "pages"), ("V203", "amdgpu.gttsize", "gttsize_mib"))
GRUB = "/etc/default/grub"
REBOOT = "stroke provision, and let it reboot"
# In the order in which a request travels; the first that fails is the one to mend.
CHAIN = (
    ("V205", "what is configured on disk"),
    ("V201", "the running command line"),
    ("V202", "the live module parameter"),
    ("V203", "the live module parameter"),
    ("V204", "the driver"),
    ("V206", "the container"),
)


def _key(argument: str) -> str:
    return argument.split("=", 1)[0]


def command_line(evidence: Json, judge: Judge) -> Iterator[Json]:
    """Arguments of the running kernel."""
    words = evidence["facts"]["kernel"]["args"]
    wanted = (evidence["profile"].get("boot") or {}).get("args") or []
    wrong = []
    for argument in wanted:
        found = [word for word in words if _key(word) == _key(argument)]
        if found != [argument]:
            wrong.append(f"{' '.join(found) or 'nothing'} in place of {argument}")
    if wanted:
        said = "; ".join(wrong) or " ".join(wanted)
        yield judge.check("V201", not wrong, " ".join(wanted), said, REBOOT)


def _planned(evidence: Json) -> dict[str, int]:
    """The parameters that were asked for by a kernel argument, with their planned values."""
    memory = evidence["profile"].get("memory") or {}
    asked = {_key(word) for word in (evidence["profile"].get("boot") or {}).get("args") or []}
    return {
        parameter: memory[field]
        for _, parameter, field in PARAMETERS
        if memory.get(field) is not None and parameter in asked
    }


def _set_on_disk(arguments: Json) -> list[tuple[str, str, Any]]:
    """File, key and value of every setting that counts; of GRUB's own files the last one does."""
    grub: dict[str, tuple[str, str, Any]] = {}
    found = []
    for entry in arguments["configured"]:
        # A drop-in adds to what was there: "${X:+$X }key=value".
        key = entry["key"].lstrip("}")
        if entry["source"].startswith(GRUB):
            grub[key] = (entry["source"], key, entry["value"])
        else:
            found.append((entry["source"], key, entry["value"]))
    options = arguments["modprobe"]
    found += [(e["file"], f"{e['module']}.{e['key']}", e["value"]) for e in options]
    return [*grub.values(), *found]


def configured(evidence: Json, judge: Judge) -> Iterator[Json]:
    """Every place on disk that sets a memory parameter, boot entries and modprobe.d alike."""
    planned = _planned(evidence)
    arguments = evidence["facts"].get("arguments") or {}
    if not planned or not arguments:
        return
    set_to = _set_on_disk(arguments)
    other = [
        f"{key}={value} in {file}"
        for file, key, value in set_to
        if key in planned and str(value) != str(planned[key])
    ]
    missing = [key for key in planned if key not in {key for _, key, _ in set_to}]
    # A container, and a loader whose files nobody may read, show nothing at all.
    silent = len(missing) == len(planned) and not arguments["configured"]
    problems = other + ([] if silent else [f"{key} is nowhere" for key in missing])
    wanted = " ".join(f"{key}={value}" for key, value in planned.items())
    found = "; ".join(problems) or ("no boot configuration to be seen" if silent else wanted)
    foreign = [entry for entry in other if "/modprobe.d/" in entry]
    hint = f"remove {foreign[0].replace(' in ', ' from ')}" if foreign else "stroke provision"
    yield judge.check("V205", not problems, wanted, found, hint)


def live(evidence: Json, judge: Judge) -> Iterator[Json]:
    """What the loaded modules use."""
    planned, now = _planned(evidence), evidence["facts"]["parameters"]
    for number, parameter, _ in PARAMETERS:
        if parameter in planned:
            found = now.get(parameter)
            hint = "is the module loaded (lsmod), and does modprobe.d set it too?"
            shown = "unknown" if found is None else found
            yield judge.check(number, found == planned[parameter], planned[parameter], shown, hint)


def driver(evidence: Json, judge: Judge) -> Iterator[Json]:
    """What the driver made of it."""
    memory = evidence["profile"].get("memory") or {}
    if not memory.get("pages"):
        return
    planned = memory["pages"] * memory["page_size"]
    gpus = serving(evidence["facts"], evidence["profile"])
    sizes = [gpu.get("gtt_bytes") for gpu in gpus]
    good = bool(sizes) and all(size == planned for size in sizes)
    hint = "if only this layer disagrees, set boot_params_gttsize: false"
    yield judge.check("V204", good, f"{planned} bytes", f"{listed(sizes)} bytes", hint)


def container(evidence: Json, service: Json, judge: Judge) -> Iterator[Json]:
    """What a program in the container of one service is offered."""
    memory = evidence["profile"].get("memory") or {}
    inside = (service["seen"].get("process") or {}).get("memory")
    if not memory.get("pages") or inside is None:
        return
    planned = memory["pages"] * memory["page_size"]
    sizes = inside["device_bytes"]
    good = bool(sizes) and max(sizes) >= planned
    hint = "stroke provision: an old kernel offers the carve-out only"
    if not sizes:
        hint = "is /sys/class/kfd masked in the container? stroke provision"
    yield judge.check("V206", good, f"{planned} bytes or more", f"{listed(sizes)} bytes", hint)
    limit = inside["limit_bytes"]
    found = "no limit" if limit is None else f"{limit} bytes"
    hint = "raise the memory limit of the service, or of the slice that it is in"
    yield judge.check("V207", limit is None or limit >= planned, f"no limit below {planned} bytes",
                      found, hint, warn=True)  # fmt: skip


def chain(evidence: Json, checks: list[Json], judge: Judge) -> Iterator[Json]:
    """The one figure through all layers: the first that disagrees, with its way out."""
    if not _planned(evidence):
        return
    memory = evidence["profile"]["memory"]
    wanted = f"{memory['pages']} pages" if memory.get("pages") else f"{memory['gttsize_mib']} MiB"
    for number, name in CHAIN:
        bad = next((c for c in checks if c["id"] == number and c["status"] == FAILED), None)
        if bad:
            found = f"{name} is the first to disagree ({number}): {bad['found']}"
            yield judge.failed("V200", wanted, found, bad["hint"])
            return
    yield judge.check("V200", True, wanted, f"{wanted} in every layer", "")
