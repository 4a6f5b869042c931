"""One event of a playbook run, as data: the only form in which ansible's events travel here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Role → stage, in the order of playbooks/site.yml; a task outside these roles keeps the stage.
STAGES = ("inspect", "prepare", "reboot", "serve", "verify")
STAGE_OF_ROLE = {
    "gpu_facts": "inspect",
    "host_profile": "inspect",
    "preflight": "inspect",
    "kernel": "prepare",
    "boot_params": "prepare",
    "rocm": "prepare",
    "gpu_access": "prepare",
    "container_runtime": "prepare",
    "model_store": "prepare",
    "boot_guard": "reboot",
    "inference_server": "serve",
    "metrics": "serve",
    "service_watchdog": "serve",
    "tls_proxy": "serve",
    "host_verify": "verify",
    "generation": "verify",
}

ENDED = ("runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SECRET_KEY = re.compile(r"pass(word|phrase)?$|secret|token|api_?key|private_?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{16,}\b")
_DROPPED = ("invocation", "environment", "ansible_env")
REDACTED = "(redacted)"


@dataclass(frozen=True, slots=True)
class Event:
    """What stroke keeps of a runner event; `kind` is ansible-runner's event name."""

    counter: int
    kind: str
    created: str = ""
    host: str = ""
    task: str = ""
    task_uuid: str = ""
    role: str = ""
    play: str = ""
    duration: float = 0.0
    ignored: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @classmethod
    def from_runner(cls, raw: Mapping[str, Any]) -> Event:
        """Take over one event of ansible-runner, which leaves out whatever does not apply."""
        data = raw.get("event_data") or {}
        kind = str(raw.get("event", ""))
        result = data.get("res")
        stats = {}
        if kind == "playbook_on_stats":
            stats = {k: v for k, v in data.items() if isinstance(v, dict) and k != "artifact_data"}
        return cls(
            counter=int(raw.get("counter", 0)),
            kind=kind,
            created=str(raw.get("created", "")),
            host=str(data.get("host", "") or ""),
            task=str(data.get("task", "") or ""),
            task_uuid=str(data.get("task_uuid", "") or ""),
            role=str(data.get("role", "") or ""),
            play=str(data.get("play", "") or ""),
            duration=float(data.get("duration") or 0.0),
            ignored=bool(data.get("ignore_errors")),
            result=result if isinstance(result, dict) else {},
            stats=stats,
            text=_ANSI.sub("", str(raw.get("stdout", "") or "")).strip(),
        )

    @property
    def ended(self) -> bool:
        """Whether a host is done with a task."""
        return self.kind in ENDED

    @property
    def changed(self) -> bool:
        """Whether the task changed the host."""
        return self.kind == "runner_on_ok" and self.result.get("changed") is True

    @property
    def failed(self) -> bool:
        """Whether the task failed; that it was rescued is only known at the end of the play."""
        return self.kind == "runner_on_failed" and not self.ignored

    @property
    def published(self) -> Mapping[str, Mapping[str, Any]]:
        """What `set_stats` published under `stroke`, by inventory host name."""
        stats = self.result.get("ansible_stats")
        data = stats.get("data") if isinstance(stats, dict) else None
        mine = data.get("stroke") if isinstance(data, dict) else None
        if not isinstance(mine, dict):
            return {}
        return {str(host): value for host, value in mine.items() if isinstance(value, dict)}

    def to_json(self) -> str:
        """Return one line for events.jsonl, without secrets and without what is empty."""
        data = {key: value for key, value in asdict(self).items() if value not in ("", 0.0, {})}
        return json.dumps(redact(data), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Read back a line of events.jsonl."""
        return cls(**json.loads(line))


def redact(value: Any, secrets: tuple[str, ...] = ()) -> Any:
    """Return a copy that may be stored: no invocations, no environment, no tokens or passwords."""
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if isinstance(item, str) and item and _SECRET_KEY.search(str(key))
            else redact(item, secrets)
            for key, item in value.items()
            if key not in _DROPPED
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return _SECRET_VALUE.sub(REDACTED, value)
    return value


def read(path: Path) -> Iterator[Event]:
    """Yield the events of an events.jsonl file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield Event.from_json(line)
