"""A hub on loopback that speaks as much of Hugging Face's API as a download needs.

    python3 hub.py ADDRESS PORT [--digest SHA512] [--slow SECONDS] [--files DIRECTORY]

org/tiny is public, org/gated wants the token, org/private does not exist without it, org/spoilt has
a file that is not what its checksum says; `--files`: they are made of what is in a directory.
Python's standard library only: it also runs on hosts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 4096 * 24  # 24 MiB
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}\n',
    "sub/tokenizer.json": b"{}\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"unsafe",
}
REPOSITORIES = ("org/tiny", "org/gated", "org/private", "org/spoilt")
CHUNK = 256 * 1024


def listing(repository: str) -> dict[str, Any]:
    siblings = []
    for name, data in FILES.items():
        entry: dict[str, Any] = {"rfilename": name, "size": len(data)}
        entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324
        if len(data) > 1024:
            sha256 = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
        if repository == "org/spoilt" and name == "config.json":
            entry["blobId"] = "0" * 40
        siblings.append(entry)
    return {"id": repository, "sha": COMMIT, "siblings": siblings}


class Hub(ThreadingHTTPServer):
    """The server with what it was asked."""

    def __init__(self, address: tuple[str, int], token: str = "", slow: float = 0) -> None:
        super().__init__(address, Handler)
        said = f"Bearer {token}".encode()
        self.digest = hashlib.sha512(said).hexdigest() if token else ""
        self.slow = slow
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: set[str | None] = set()
        self.sent = 0


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        said = self.headers.get("Authorization")
        self.server.asked.append((path, self.headers.get("Range")))
        self.server.tokens.add(said)
        good = hashlib.sha512((said or "").encode()).hexdigest() == self.server.digest
        if said and not good:
            self.refuse(401, None, "Invalid credentials in Authorization header")
        elif found := re.fullmatch(r"/api/models/(\w+/\w+)/revision/(.+)", path):
            if found[1] not in REPOSITORIES or (found[1] == "org/private" and not good):
                self.refuse(404 if good else 401, "RepoNotFound", "Repository not found")
            elif found[2] not in ("main", COMMIT):
                self.refuse(404, "RevisionNotFound", "Invalid rev id")
            else:
                self.answer(json.dumps(listing(found[1])).encode())
        elif found := re.fullmatch(rf"/(\w+/\w+)/resolve/{COMMIT}/(.+)", path):
            if found[1] == "org/gated" and not good:
                self.refuse(401, "GatedRepo", "Access to model org/gated is restricted")
            else:
                self.answer(FILES[found[2]])
        else:
            self.refuse(404, "EntryNotFound", "no such thing")

    def refuse(self, status: int, code: str | None, message: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(span[1]) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        try:
            for at in range(start, len(data), CHUNK):
                self.wfile.write(data[at : at + CHUNK])
                self.server.sent += min(CHUNK, len(data) - at)
                if len(data) > CHUNK:
                    time.sleep(self.server.slow)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: a token would be in no log of ours either."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--digest", default="", help="of the Authorization that is let in")
    parser.add_argument("--slow", type=float, default=0)
    parser.add_argument("--files", type=Path, help="what the models are made of")
    given = parser.parse_args()
    if given.files:
        FILES.clear()
        FILES.update({path.name: path.read_bytes() for path in given.files.iterdir()})
    hub = Hub((given.address, given.port), slow=given.slow)
    hub.digest = given.digest
    hub.serve_forever()


if __name__ == "__main__":
    main()
