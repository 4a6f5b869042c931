"""Kernel and firmware: the profile's own verdict on what runs, never a second opinion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .check import Judge, listed, serving

Json = dict[str, Any]

PROVISION = "stroke provision, and let it reboot"


def drift(evidence: Json, judge: Judge) -> Iterator[Json]:
    """What the manifest says; left out where nobody has compared."""
    changes = evidence["changes"]
    if changes is not None:
        found = listed((f"{c['action']} {c['what']}" for c in changes), "no drift")
        yield judge.check("V001", not changes, "no drift", found, "stroke plan")


def _kernel(profile: Json, now: Json, judge: Judge) -> Json | None:
    running = (now.get("kernel") or {}).get("running")
    if not running:
        return None
    planned = profile.get("kernel") or {}
    state, asked = running["state"], running.get("asked_met")
    good = state == "good" and asked is not False
    known = {"good": "good", "unstable": "below the floor for stability", "old": "too old"}
    made = f"{running['stream']} kernel" if running["stream"] else "kernel from elsewhere"
    found = (
        f"{running['release']} ({made}, version {running['version']}) is {known.get(state, state)}"
    )
    floor = planned.get("install_floor") if asked is False else running["floor"]
    wanted = f"{floor} or newer, compared as {running['kind']} version"
    # Nothing better is to be had, or the user has lowered the floor: the run has warned of it.
    chosen = planned.get("release")
    if chosen:  # a generation: exactly that one, whatever the catalogue thinks of it by now
        right = running["release"] == chosen
        return judge.check("V101", right and state == "good", f"{chosen}, as was asked for", found,
                           PROVISION, warn=right)  # fmt: skip
    accepted = state == "unstable" and (asked is True or planned.get("stable") is False)
    return judge.check("V101", good, wanted, found, PROVISION, warn=accepted)


def kernel_and_firmware(evidence: Json, judge: Judge) -> Iterator[Json]:
    """What runs and what is loaded; parts that the profile does not have are left out."""
    facts, profile, now = evidence["facts"], evidence["profile"], evidence["now"]
    gpus = serving(facts, profile)
    kernel = _kernel(profile, now, judge)
    if kernel:
        yield kernel
    if (profile.get("kernel") or {}).get("proof"):
        proof = profile["kernel"]["proof"]
        lacking = [gpu["slot"] for gpu in gpus if not gpu.get(proof)]
        found = f"{proof} is missing for {listed(lacking)}" if lacking else f"{proof} is there"
        good = bool(gpus) and not lacking
        yield judge.check("V102", good, f"{proof} in the KFD topology", found, PROVISION)
    firmware = now.get("firmware") or {}
    if firmware.get("package") and "good" in firmware:
        name, installed = firmware["package"], firmware["installed"]
        wanted = f"{name} {firmware['minimum']} or newer" if firmware["minimum"] else name
        if firmware["deny"]:
            wanted += f", not {listed(firmware['deny'])}"
        found = f"{name} {installed or 'is not installed'}"
        exact = (profile.get("firmware") or {}).get("exact")
        right = exact is None or installed == exact
        wanted = f"{name} {exact}, as was asked for" if exact else wanted
        yield judge.check("V103", right and firmware["good"], wanted, found, "stroke provision",
                          warn=bool(exact) and right)  # fmt: skip
    denied = firmware.get("deny_loaded") or []
    if denied:
        loaded = {gpu["slot"]: gpu.get("mes_version") for gpu in gpus}
        bad = [slot for slot, mes in loaded.items() if mes is None or (mes & 0xFF) in denied]
        found = listed(
            f"MES {hex(mes) if mes is not None else 'unknown'} on {slot}"
            for slot, mes in loaded.items()
        )
        wanted = f"known, and not {listed(map(hex, denied))}"
        hint = "reboot; if it stays, look for other files in /lib/firmware/updates/amdgpu"
        yield judge.check("V104", bool(gpus) and not bad, wanted, found, hint)
