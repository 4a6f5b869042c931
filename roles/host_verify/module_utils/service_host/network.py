"""Who can reach the service, and what it says when it is asked for a completion."""

from __future__ import annotations

import ipaddress
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

Json = dict[str, Any]

LISTEN = "0A"
ANSWER = 1 << 22
BAD_REQUEST = 400
NO_CHAT = b"chat template"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def address(raw: str) -> str:
    """An address of /proc/net/tcp, which is written in words of the machine's byte order."""
    data = bytes.fromhex(raw)
    words = [data[place : place + 4][::-1] for place in range(0, len(data), 4)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def listening(port: int, tables: tuple[str, ...] = TABLES) -> list[str]:
    """Addresses of the host on which anything listens on a TCP port."""
    found = set()
    for table in tables:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            host, _, number = words[1].partition(":")
            if words[3] == LISTEN and int(number, 16) == port:
                found.add(address(host))
    return sorted(found)


def _request(url: str, key: str, body: Json | None, seconds: float) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310
    try:
        with _DIRECT.open(request, timeout=seconds) as answer:
            return answer.status, answer.read(ANSWER)
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read(4096)


def completion(url: str, key: str, body: Json, seconds: float) -> Json:
    """`json` and `elapsed` of a chat completion, or `msg`, which says why there is none.

    A base model has no chat template, and vLLM refuses to chat with it: it is asked to go on with
    the same words.
    """
    began = time.monotonic()
    try:
        code, raw = _request(f"{url}/v1/chat/completions", key, body, seconds)
        if code == BAD_REQUEST and NO_CHAT in raw:
            plain = {name: value for name, value in body.items() if name != "messages"}
            plain["prompt"] = body["messages"][-1]["content"]
            code, raw = _request(f"{url}/v1/completions", key, plain, seconds)
        if code != 200:
            text = raw.decode("utf-8", "replace")[:200]
            return {
                "status": code,
                "msg": f"HTTP status {code}: {text.replace(key, '') if key else text}",
            }
        elapsed = round(time.monotonic() - began, 2)
        return {"status": code, "json": json.loads(raw), "elapsed": elapsed}
    except (OSError, ValueError) as problem:
        return {"status": None, "msg": str(getattr(problem, "reason", problem))}


def without_key(url: str, seconds: float) -> int | None:
    """HTTP status that somebody without a key gets; None: no answer."""
    try:
        return _request(f"{url}/v1/models", "", None, seconds)[0]
    except (OSError, ValueError):
        return None
