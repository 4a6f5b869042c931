"""Ask an endpoint for one token, and tell a hung engine from one that is busy or still loading.

Kinds of a look:
  answered  one token came        busy     none came in time, but others get theirs
  flowing   tokens were produced since the last look: nothing had to be asked
  rejected  the key or the model name is refused: the engine cannot be judged by a completion
  silent    the endpoint is up and produces nothing
  error     the endpoint answers with an error of its own   down  nothing answers at all
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

FAILING = ("silent", "error", "down")
GLANCE = 5.0  # seconds for a page that costs the engine nothing
LARGEST = 1 << 20
Look = dict[str, Any]
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def key_of(path: str) -> str:
    """The API key, read anew for every look: it may have been renewed. Empty: none is wanted."""
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else ""
    except FileNotFoundError:
        return ""


def fetch(url: str, key: str, seconds: float, body: bytes | None = None) -> tuple[int, str]:
    """Status and text; raises OSError (a timeout included) or HTTPException."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310  always http
    try:
        with _NO_PROXY.open(request, timeout=seconds) as answer:
            return int(answer.status), answer.read(LARGEST).decode("utf-8", "replace")
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read(4096).decode("utf-8", "replace")


def counters(text: str, names: list[str]) -> list[str]:
    """Samples of a Prometheus page with one of these names: they move when the engine works."""
    wanted = re.compile(rf"^({'|'.join(map(re.escape, names))})(\{{| )")
    return sorted(line for line in text.splitlines() if wanted.match(line))


def values(document: Any, names: list[str]) -> list[str]:
    """The same of a JSON page: every value below one of these names, in order."""
    if isinstance(document, list):
        return [found for part in document for found in values(part, names)]
    if not isinstance(document, dict):
        return []
    own = [f"{name}={document[name]}" for name in names
           if name in document and not isinstance(document[name], (dict, list))]  # fmt: skip
    return own + [found for part in document.values() for found in values(part, names)]


def progress(config: dict[str, Any], key: str) -> list[str]:
    """What the engine says it has done so far; empty where it has no such page."""
    found: list[str] = []
    for page in config.get("progress") or []:
        try:
            status, text = fetch(config["url"] + page["path"], key, GLANCE)
            if status == 200:
                names = [str(name) for name in page["names"]]
                prometheus = page["form"] == "prometheus"
                found += counters(text, names) if prometheus else values(json.loads(text), names)
        except (OSError, http.client.HTTPException, ValueError):
            continue
    return found


def _healthy(config: dict[str, Any], key: str) -> bool:
    try:
        return fetch(f"{config['url']}/health", key, GLANCE)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _tokens(text: str) -> int:
    """Tokens that a completion says it has; a first token may well have no text."""
    answer = json.loads(text)
    told = (answer.get("usage") or {}).get("completion_tokens")
    return int(told) if told is not None else len(answer.get("choices") or [])


def _completion(config: dict[str, Any], key: str) -> tuple[str, str]:
    question = {"model": config["model"], "prompt": "ok", "max_tokens": 1, "temperature": 0}
    try:
        status, text = fetch(f"{config['url']}/v1/completions", key, config["timeout"],
                             json.dumps(question).encode())  # fmt: skip
    except (OSError, http.client.HTTPException) as problem:
        reason = getattr(problem, "reason", problem)
        if isinstance(reason, TimeoutError):
            return "silent", f"no token within {config['timeout']} s"
        if isinstance(reason, ConnectionRefusedError):
            return "down", "nothing listens on its port"
        return "error", f"the connection broke: {reason or type(problem).__name__}"
    if status in (401, 403):
        return "rejected", f"the API key is not accepted (HTTP {status})"
    if status == 429:
        return "busy", "too many requests (HTTP 429)"
    if 400 <= status < 500:
        return "rejected", f"the request is not accepted (HTTP {status})"
    if status != 200:
        return "error", f"HTTP {status}"
    try:
        tokens = _tokens(text)
    except (ValueError, AttributeError, TypeError):
        return "error", "the answer is no completion"
    return ("answered", "one token") if tokens else ("silent", "an answer without any token")


def look(config: dict[str, Any], before: list[str]) -> Look:
    """One look at the endpoint; `before` is the progress that the last look ended with."""
    began = time.monotonic()
    key = key_of(config.get("key_file") or "")
    first = progress(config, key)
    if first and before and first != before:
        kind, detail, last = "flowing", "tokens were produced since the last look", first
    else:
        kind, detail = _completion(config, key)
        if kind == "answered":
            time.sleep(min(1.0, config["timeout"] / 10))  # its own token is counted a moment later
        last = progress(config, key)
        if kind in FAILING and first and last and first != last:
            kind, detail = "busy", f"{detail}, but others get theirs"
    healthy = _healthy(config, key) if kind in FAILING else True
    if kind == "silent" and not healthy:
        kind, detail = "down", f"{detail}, and /health does not answer"
    return {"kind": kind, "detail": detail, "health": healthy, "progress": last,
            "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
