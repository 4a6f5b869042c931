"""What doctor can find: every code with its meaning; docs/doctor.md has a section for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry: an error keeps models from being served, a warning costs speed or later pain."""

    code: str
    title: str
    severity: str


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("STK-D11", "GPU without a driver", ERROR),
        Kind("STK-D12", "GPU given to virtual machines", WARNING),
        Kind("STK-D13", "no compute interface", ERROR),
        Kind("STK-D21", "no access to the GPU", ERROR),
        Kind("STK-D22", "group membership not active yet", ERROR),
        Kind("STK-D23", "device nodes without a group", WARNING),
        Kind("STK-D31", "kernel too old for the GPU", ERROR),
        Kind("STK-D32", "kernel without the compute fix", ERROR),
        Kind("STK-D33", "known bad firmware loaded", ERROR),
        Kind("STK-D34", "firmware overridden", WARNING),
        Kind("STK-D35", "DKMS driver on an APU", ERROR),
        Kind("STK-D36", "DKMS packages left over", WARNING),
        Kind("STK-D41", "nomodeset", ERROR),
        Kind("STK-D42", "kernel argument without effect", WARNING),
        Kind("STK-D43", "argument set to different values", WARNING),
        Kind("STK-D44", "GPU may take more than the RAM", ERROR),
        Kind("STK-D45", "too little RAM left for the system", WARNING),
        Kind("STK-D46", "gttsize and pages_limit disagree", WARNING),
        Kind("STK-D47", "IOMMU off, but needed", WARNING),
        Kind("STK-D48", "workaround that is not needed any more", WARNING),
        Kind("STK-D49", "configured, but not running", WARNING),
        Kind("STK-D51", "environment variable that harms ROCm", WARNING),
        Kind("STK-D52", "stale ROCm repository", WARNING),
        Kind("STK-D61", "container: argument that the engine refuses", ERROR),
        Kind("STK-D62", "container: environment that cannot work", ERROR),
        Kind("STK-D63", "container: GPU not passed in", ERROR),
        Kind("STK-D64", "container: group by name", WARNING),
        Kind("STK-D65", "container: setting for another GPU", WARNING),
        Kind("STK-D66", "container: image without code for the GPU", ERROR),
        Kind("STK-D67", "container: restarts in a loop", ERROR),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong here: where it shows, and the command that mends it."""

    code: str
    what: str
    evidence: tuple[str, ...]
    fix: str

    @property
    def kind(self) -> Kind:
        """Title and severity, which belong to the code."""
        return KINDS[self.code]


def finding(code: str, what: str, evidence: Iterable[str], fix: str) -> Finding:
    """Build a finding; an unknown code is our own mistake and shows in the tests."""
    assert code in KINDS, code  # noqa: S101 — a mistake of this program, not of a host
    return Finding(code, what, tuple(evidence), fix)
