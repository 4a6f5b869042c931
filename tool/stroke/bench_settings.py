"""What the user asks `stroke bench` to measure, and how the playbook is told."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import StrokeError


@dataclass(frozen=True, slots=True)
class Settings:
    """One measurement; what is None is left to the defaults of the role host_bench."""

    concurrency: tuple[int, ...] = ()
    repetitions: int | None = None
    requests: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    service: str | None = None
    url: str | None = None
    model: str | None = None
    label: str = ""
    baseline: bool = False
    results: Path | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.url and not self.model:
            raise StrokeError(
                "--url needs --model, the name that requests use",
                code="STK-625",
                hint="curl URL/models on the host lists the names",
            )
        if self.label and not re.fullmatch(r"[\w.+=-]+", self.label):
            raise StrokeError(
                f"--label {self.label} has characters that a name of a run may not have",
                code="STK-625",
                hint="use letters, digits and . _ + = -",
            )

    @property
    def variables(self) -> tuple[str, ...]:
        """The extra variables of the playbook, as one JSON document."""
        role = {
            "concurrency": list(self.concurrency) or None,
            "repetitions": self.repetitions,
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "url": self.url,
            "model": self.model,
        }
        given = {f"host_bench_{name}": value for name, value in role.items() if value is not None}
        if self.url:
            given["stroke_bench_deployed"] = False
        if self.service:
            given["stroke_bench_service"] = self.service
        return (json.dumps(given),) if given else ()


def levels(text: str) -> tuple[int, ...]:
    """Read `1,2,8`."""
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{0,3}", word) for word in words):
        raise StrokeError(
            f"--concurrency {text} is not a list of numbers from 1 to 9999",
            code="STK-625",
            hint="for example: --concurrency 1,2,4,8",
        )
    return tuple(sorted({int(word) for word in words}))
