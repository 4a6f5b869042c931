"""Every failure that a user can meet, as data: a stable code, its name, the exit code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """What stroke's exit code says; derived from what happened, never from ansible's own code."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    FAILED = 3
    UNREACHABLE = 4
    REFUSED = 5
    VERIFY = 6
    CHANGES = 10
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the catalogue; docs/errors.md has a section for each."""

    code: str
    title: str
    exit: Exit


CATALOGUE: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("STK-101", "inventory not found", Exit.USAGE),
        Kind("STK-102", "inventory has no hosts", Exit.USAGE),
        Kind("STK-103", "inventory cannot be read", Exit.USAGE),
        Kind("STK-104", "--limit matches no host", Exit.USAGE),
        Kind("STK-105", "confirmation needed", Exit.USAGE),
        Kind("STK-106", "argument that cannot be used", Exit.USAGE),
        Kind("STK-107", "no such catalogue entry", Exit.USAGE),
        Kind("STK-108", "capture cannot be written", Exit.USAGE),
        Kind("STK-201", "host unreachable", Exit.UNREACHABLE),
        Kind("STK-202", "login refused", Exit.UNREACHABLE),
        Kind("STK-203", "host key unknown or changed", Exit.UNREACHABLE),
        Kind("STK-204", "sudo needs a password", Exit.UNREACHABLE),
        Kind("STK-205", "no usable Python on the host", Exit.UNREACHABLE),
        Kind("STK-301", "unknown variable", Exit.USAGE),
        Kind("STK-302", "wrong type or value", Exit.USAGE),
        Kind("STK-303", "setting refused", Exit.USAGE),
        Kind("STK-304", "site catalogue refused", Exit.USAGE),
        Kind("STK-401", "distribution not supported", Exit.REFUSED),
        Kind("STK-402", "the host is a container", Exit.REFUSED),
        Kind("STK-403", "/boot is too small", Exit.REFUSED),
        Kind("STK-404", "not enough disk space", Exit.REFUSED),
        Kind("STK-405", "image archive unreadable", Exit.REFUSED),
        Kind("STK-406", "repository key or signature wrong", Exit.REFUSED),
        Kind("STK-407", "package database broken", Exit.REFUSED),
        Kind("STK-408", "package database locked", Exit.REFUSED),
        Kind("STK-409", "no supported GPU", Exit.REFUSED),
        Kind("STK-410", "boot loader not handled", Exit.REFUSED),
        Kind("STK-411", "boot configuration cannot be changed", Exit.REFUSED),
        Kind("STK-412", "memory too small", Exit.REFUSED),
        Kind("STK-413", "model file missing or different", Exit.REFUSED),
        Kind("STK-414", "package mirror or archive not reachable", Exit.REFUSED),
        Kind("STK-415", "package held or excluded", Exit.REFUSED),
        Kind("STK-420", "no way back from a bad reboot", Exit.REFUSED),
        Kind("STK-421", "no kernel that the GPU can use", Exit.REFUSED),
        Kind("STK-422", "bad firmware that would come back", Exit.REFUSED),
        Kind("STK-430", "argument that the engine does not know", Exit.REFUSED),
        Kind("STK-431", "argument that the engine has removed", Exit.REFUSED),
        Kind("STK-432", "argument with a wrong value", Exit.REFUSED),
        Kind("STK-435", "model does not fit into the memory", Exit.REFUSED),
        Kind("STK-436", "longer context than the memory has room for", Exit.REFUSED),
        Kind("STK-437", "weights of another engine", Exit.REFUSED),
        Kind("STK-438", "no such model or GPU to estimate", Exit.USAGE),
        Kind("STK-440", "no container runtime to be had", Exit.REFUSED),
        Kind("STK-441", "services clash", Exit.REFUSED),
        Kind("STK-442", "no such GPU for a service", Exit.REFUSED),
        Kind("STK-443", "CDI not to be had", Exit.REFUSED),
        Kind("STK-445", "secret not usable", Exit.REFUSED),
        Kind("STK-446", "secret cannot be kept on the host", Exit.FAILED),
        Kind("STK-447", "secret on the command line", Exit.USAGE),
        Kind("STK-448", "TLS front refused", Exit.REFUSED),
        Kind("STK-449", "services want more memory than there is", Exit.REFUSED),
        Kind("STK-450", "no such generation", Exit.REFUSED),
        Kind("STK-451", "nothing to go back to", Exit.REFUSED),
        Kind("STK-453", "kernel of the generation not to be had", Exit.REFUSED),
        Kind("STK-454", "image of the generation not to be had", Exit.REFUSED),
        Kind("STK-455", "firmware of the generation not to be had", Exit.REFUSED),
        Kind("STK-456", "default kernel not stroke's to choose", Exit.REFUSED),
        Kind("STK-501", "wrong kernel after the reboot", Exit.FAILED),
        Kind("STK-502", "kernel arguments differ after the reboot", Exit.FAILED),
        Kind("STK-503", "host did not come back", Exit.FAILED),
        Kind("STK-504", "reboot needed but not allowed", Exit.FAILED),
        Kind("STK-510", "the host went back to the last known good system", Exit.FAILED),
        Kind("STK-511", "boot transaction cannot go on", Exit.FAILED),
        Kind("STK-512", "the boot menu would start something else", Exit.FAILED),
        Kind("STK-520", "another run is changing the host", Exit.REFUSED),
        Kind("STK-521", "lock of the host lost", Exit.FAILED),
        Kind("STK-522", "every host of a group would be down", Exit.REFUSED),
        Kind("STK-523", "drain hook failed", Exit.FAILED),
        Kind("STK-524", "too many hosts failed", Exit.FAILED),
        Kind("STK-525", "record of generations not usable", Exit.FAILED),
        Kind("STK-530", "no way to go on after the reboot", Exit.USAGE),
        Kind("STK-601", "service does not start", Exit.FAILED),
        Kind("STK-602", "no completion from the endpoint", Exit.VERIFY),
        Kind("STK-603", "unit not generated", Exit.FAILED),
        Kind("STK-604", "a layer differs from what was set", Exit.VERIFY),
        Kind("STK-605", "new service put back", Exit.FAILED),
        Kind("STK-630", "JUnit report cannot be written", Exit.USAGE),
        Kind("STK-650", "cache of downloads without an address", Exit.USAGE),
        Kind("STK-645", "bundle cannot be written", Exit.USAGE),
        Kind("STK-635", "no image build for the GPU", Exit.USAGE),
        Kind("STK-636", "image recipe refused", Exit.USAGE),
        Kind("STK-637", "no program that builds images", Exit.USAGE),
        Kind("STK-638", "image not built", Exit.FAILED),
        Kind("STK-639", "image archive not accepted", Exit.FAILED),
        Kind("STK-615", "model does not exist", Exit.FAILED),
        Kind("STK-616", "hub refuses the token", Exit.FAILED),
        Kind("STK-617", "no room for the model", Exit.FAILED),
        Kind("STK-618", "model download interrupted", Exit.FAILED),
        Kind("STK-619", "TLS front does not start", Exit.FAILED),
        Kind("STK-620", "no endpoint to measure", Exit.FAILED),
        Kind("STK-621", "no completions to measure", Exit.FAILED),
        Kind("STK-622", "the report of a benchmark cannot be drawn", Exit.USAGE),
        Kind("STK-623", "no such benchmark run", Exit.USAGE),
        Kind("STK-624", "benchmark runs cannot be compared", Exit.USAGE),
        Kind("STK-625", "benchmark setting refused", Exit.USAGE),
        Kind("STK-626", "slower than the baseline", Exit.VERIFY),
        Kind("STK-640", "nothing to resume", Exit.USAGE),
        Kind("STK-641", "YAML that grows without bounds", Exit.USAGE),
        Kind("STK-642", "name or address of a host refused", Exit.USAGE),
        Kind("STK-643", "waves not understood", Exit.USAGE),
        Kind("STK-701", "sandbox tool missing", Exit.USAGE),
        Kind("STK-702", "sandbox guest did not boot", Exit.FAILED),
        Kind("STK-703", "sandbox already up, or none", Exit.USAGE),
        Kind("STK-704", "sandbox image or disk problem", Exit.FAILED),
        Kind("STK-801", "a step failed on the host", Exit.FAILED),
        Kind("STK-802", "the playbook could not be run", Exit.INTERNAL),
        Kind("STK-803", "the host was started again in the middle of a step", Exit.FAILED),
        Kind("STK-901", "internal error", Exit.INTERNAL),
        Kind("STK-902", "installation incomplete", Exit.INTERNAL),
    )
}

_PREFIXED = re.compile(r"(STK-\d{3}): (?P<what>.*?)(?:\s+Hint: (?P<hint>.*))?\Z", re.DOTALL)


def exit_of(code: str) -> Exit:
    """Return the exit code of a catalogue code; an unknown code is our own mistake."""
    kind = CATALOGUE.get(code)
    return kind.exit if kind else Exit.INTERNAL


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong and the command that helps, for one host or for the whole run."""

    code: str
    what: str
    hint: str = ""

    @classmethod
    def parse(cls, message: str) -> Problem | None:
        """Read `STK-nnn: what. Hint: command`, the form of every fail message in the roles."""
        first = re.split(r"\n(?=STK-\d{3}: )", message.strip())[0]
        found = _PREFIXED.search(first)
        if not found:
            return None
        return cls(found[1], found["what"].strip().rstrip("."), (found["hint"] or "").strip())


class StrokeError(Exception):
    """The one error that stroke raises on purpose; rendered once, in `__main__.main`."""

    def __init__(self, what: str, *, code: str = "STK-901", hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.hint = hint

    @property
    def exit(self) -> Exit:
        """The exit code that belongs to the code."""
        return exit_of(self.code)

    @property
    def problem(self) -> Problem:
        """The same facts as data, for reports."""
        return Problem(self.code, self.what, self.hint or "")
