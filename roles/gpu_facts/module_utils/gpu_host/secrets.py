"""Secret files: are they what is wanted? Neither they nor a hash of them leave the host."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from .files import Host
from .items import Names, place

# The same as in the filter that makes the questions.
ROUNDS = 20_000
LIMIT = 64 * 1024


def _same(data: bytes | None, wanted: bytes) -> bool:
    return data is not None and hmac.compare_digest(data, wanted)


def secrets(host: Host, questions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mode and owner by path, and `same`: yes, no, or null where nobody can say."""
    names = Names(host)
    found: dict[str, dict[str, Any]] = {}

    def one(path: str) -> bytes | None:
        found[path] = place(host, path, names, follow=False) | {"same": None}
        return host.read(path, LIMIT) if found[path].get("type") == "file" else None

    for question in questions:
        path = str(question["path"])
        folder = path.rpartition("/")[0]
        for above in (folder, folder.rpartition("/")[0]):
            found.setdefault(above, place(host, above, names, follow=False))
        data = one(path)
        if question.get("digest"):
            salt = str(question["salt"]).encode()
            digest = hashlib.pbkdf2_hmac("sha256", data or b"", salt, ROUNDS).hex()
            found[path]["same"] = hmac.compare_digest(digest, str(question["digest"]))
        elif data is not None and not data.strip():
            found[path]["same"] = False
        key = (data or b"").strip()
        for other, text in (question.get("derived") or {}).items():
            there = one(other)
            if there is not None:
                wanted = str(text).encode().replace(b"{key}", key)
                found[other]["same"] = bool(key) and _same(there, wanted)
    return found
