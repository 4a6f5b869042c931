"""What is behind an uplink: a hub, a registry, and the server with files that both redirect to.

    python3 internet.py ADDRESS PORT [DIRECTORY]

PORT is the hub, PORT+1 the registry, PORT+2 the files. DIRECTORY has one file for each blob of the
registry, named by its digest, and `manifest.json`. Standard library only.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIB = 1 << 20
WEIGHTS = b"".join(hashlib.sha512(b"%d" % n).digest() * 64 for n in range(48 * MIB // 4096))
SMALL = b'{"architectures": ["LlamaForCausalLM"]}\n'
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def listing() -> dict[str, Any]:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    git = hashlib.sha1(b"blob %d\0" % len(SMALL) + SMALL).hexdigest()  # noqa: S324
    return {
        "id": "org/model",
        "sha": COMMIT,
        "siblings": [
            {"rfilename": "config.json", "size": len(SMALL), "blobId": git},
            {"rfilename": "model.safetensors", "size": len(WEIGHTS),
             "lfs": {"sha256": digest, "size": len(WEIGHTS)}},
        ],
    }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    manifest: bytes = b""
    base = 0
    address = ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        kind = int(self.connection.getsockname()[1]) - self.base
        (self.hub, self.registry, self.source)[kind](path)

    def hub(self, path: str) -> None:
        import json

        if path.startswith("/api/models/org/model/revision/"):
            self.answer(json.dumps(listing()).encode())
        elif path == f"/org/model/resolve/{COMMIT}/config.json":
            self.answer(SMALL)
        elif path == f"/org/model/resolve/{COMMIT}/model.safetensors":
            self.redirect("weights", 302)
        else:
            self.answer(b"", 404)

    def registry(self, path: str) -> None:
        if path == "/v2/":
            self.answer(b"{}")
        elif re.fullmatch(r"/v2/org/image/manifests/.+", path):
            self.answer(self.manifest, kind=MANIFEST)
        elif found := re.fullmatch(r"/v2/org/image/blobs/(sha256:[0-9a-f]{64})", path):
            self.redirect(found[1], 307)
        else:
            self.answer(b"", 404)

    def source(self, path: str) -> None:
        data = self.files.get(path.rpartition("/")[2])
        if data is None or "signature=" not in self.path:
            self.answer(b"", 403)
        else:
            self.answer(data)

    def redirect(self, name: str, status: int) -> None:
        """To another server, with a signature that is another one each time."""
        mark = hashlib.sha256(repr((name, id(self))).encode()).hexdigest()
        where = f"http://{self.address}:{self.base + 2}/files/{name}?signature={mark}"
        self.send_response(status)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, data: bytes, status: int = 200, kind: str = "application/json") -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, end = 0, len(data) - 1
        if span and status == 200 and data:
            start, end = int(span[1]), min(int(span[2] or end), end)
            status = 206 if start <= end else 416
        part = data[start : end + 1]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        if kind == MANIFEST:
            digest = hashlib.sha256(data).hexdigest()
            self.send_header("Docker-Content-Digest", f"sha256:{digest}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """The counters of the interface say what matters."""


def main() -> None:
    Handler.address, Handler.base = sys.argv[1], int(sys.argv[2])
    Handler.files = {"weights": WEIGHTS}
    if len(sys.argv) > 3:
        folder = Path(sys.argv[3])
        Handler.manifest = (folder / "manifest.json").read_bytes()
        Handler.files |= {path.name: path.read_bytes() for path in folder.glob("sha256:*")}
    ports = range(Handler.base, Handler.base + 3)
    # All of them listen before the first answers.
    for server in [ThreadingHTTPServer((Handler.address, port), Handler) for port in ports]:
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
