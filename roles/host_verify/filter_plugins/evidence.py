"""What programs on the host answered, as data that verify.py can judge."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]


def read_completion(answer: Json, prompt: str) -> Json:
    """What the endpoint said: text, tokens and seconds, or why there is nothing."""
    body: Any = answer.get("json")
    empty: Json = {"prompt": prompt, "text": "", "tokens": 0, "seconds": 0, "model": None}
    try:
        choice = body["choices"][0]["message"]
        return empty | {
            "text": choice.get("content") or choice.get("reasoning_content") or "",
            "tokens": int(body["usage"]["completion_tokens"]),
            "seconds": answer.get("elapsed", 0),
            "model": body.get("model"),
            "error": None,
        }
    except (TypeError, LookupError, ValueError, AttributeError):
        return empty | {"error": str(answer.get("msg") or "the answer is no completion")}


def unit_properties(text: str) -> dict[str, str]:
    """Output of `systemctl show`: one NAME=value per line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def wanted_digest(manifest: list[Json], path: str) -> str | None:
    """The configuration's digest in the wanted unit file; None when its ids were not known yet."""
    content = next((i.get("content") or "" for i in manifest if i.get("path") == path), "")
    found = re.search(r"^Label=stroke\.config=([0-9a-f]{64})$", content, re.MULTILINE)
    return found[1] if found and "(id of" not in content else None


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "read_completion": read_completion,
            "unit_properties": unit_properties,
            "wanted_digest": wanted_digest,
        }
