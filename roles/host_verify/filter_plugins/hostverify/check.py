"""One check: its place in the table of checks, and what became of it on a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

PASSED, FAILED, WARNING, SKIPPED = "passed", "failed", "warning", "skipped (simulated)"
TABLE = Path(__file__).parents[2] / "files" / "checks.yml"
CHECKS: dict[str, Json] = {
    entry["id"]: entry for entry in yaml.safe_load(TABLE.read_text(encoding="utf-8"))["checks"]
}


class Judge:
    """Builds checks with one voice; knows whether the GPU is real and which service is meant."""

    def __init__(self, simulated: bool, service: str = "") -> None:
        self.simulated = simulated
        self.service = service

    def check(
        self,
        number: str,
        good: bool,
        wanted: object,
        found: object,
        hint: str,
        *,
        warn: bool = False,
    ) -> Json:
        """A check that holds or does not; `warn`: not holding is a warning."""
        known = CHECKS[number]
        if known.get("gpu") and self.simulated:
            return self._entry(known, SKIPPED, wanted, "the host's GPU is declared, not real", "")
        status = PASSED if good else WARNING if warn else FAILED
        return self._entry(known, status, wanted, found, "" if good else hint)

    def failed(self, number: str, wanted: object, found: object, hint: str) -> Json:
        """A fault that shows on a simulated host, too, in a check that needs the GPU to pass."""
        return self._entry(CHECKS[number], FAILED, wanted, found, hint)

    def _entry(self, known: Json, status: str, wanted: object, found: object, hint: str) -> Json:
        detail = str(found)
        if status in (FAILED, WARNING):
            detail = f"{found}; wanted: {wanted}"
        return {
            "id": known["id"],
            "layer": known["layer"],
            "what": f"{known['what']} ({self.service})" if self.service else known["what"],
            "status": status,
            "wanted": str(wanted),
            "found": str(found),
            "detail": detail,
            "hint": hint,
        }


def listed(words: Any, nothing: str = "none") -> str:
    """Words with commas, or a word for none."""
    return ", ".join(str(word) for word in words) or nothing


def serving(facts: Json, profile: Json) -> list[Json]:
    """The real GPUs that the profile serves with; all of them where it names none."""
    slots = profile.get("serving_gpus") or []
    real = [gpu for gpu in facts["gpus"] if not gpu["simulated"]]
    return [gpu for gpu in real if not slots or gpu.get("slot") in slots]
