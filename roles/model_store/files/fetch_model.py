#!/usr/bin/python3
# Managed by stroke (role model_store); changes are overwritten. Remove with: stroke remove
"""Fetch one model of a Hugging Face hub: resumable, verified, there as a whole or not at all.

Runs on the host as the owner of the store, in a unit of its own, with nothing but Python. The token
comes on standard input. What is not finished stays in STORE/.partial and is continued next time.
"""

from __future__ import annotations

import argparse
import errno
import fnmatch
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

CHUNK = 1024 * 1024
CONNECTIONS = 4
TRIES = 6
PATIENCE = 60
TOLD_EVERY = 2.0
STATE = 2048  # bytes of the state, always the same
# Weights in formats that can run code when they are read are left out where there are safe ones.
UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack", "*.onnx", "original/*")


class Failure(Exception):
    """Why there is no model: `kind` is missing, refused, space, network or damaged."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


class _SameHost(urllib.request.HTTPRedirectHandler):
    """The token is for the hub, not for whom it redirects to."""

    def redirect_request(self, req: Any, *rest: Any) -> Any:
        new = super().redirect_request(req, *rest)
        if new is not None and new.host != req.host:
            new.remove_header("Authorization")
        return new


class Hub:
    """What is asked of a hub, with its refusals in words."""

    def __init__(self, endpoint: str, repository: str, revision: str, token: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.repository = repository
        self.revision = revision
        self.headers = {"User-Agent": "stroke"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.opener = urllib.request.build_opener(_SameHost())

    def open(self, path: str, start: int = 0) -> Any:
        headers = {**self.headers, **({"Range": f"bytes={start}-"} if start else {})}
        asked = urllib.request.Request(  # noqa: S310  refused below where it is no http
            f"{self.endpoint}/{path}", headers=headers
        )
        try:
            return self.opener.open(asked, timeout=PATIENCE)
        except urllib.error.HTTPError as answer:
            if answer.code == 416 or answer.code == 429 or answer.code >= 500:
                raise
            self._refuse(answer)

    def _refuse(self, answer: urllib.error.HTTPError) -> NoReturn:
        page = f"{self.endpoint}/{self.repository}"
        code = answer.headers.get("X-Error-Code") or ""
        said = answer.headers.get("X-Error-Message") or answer.reason or ""
        token = "Authorization" in self.headers
        if code == "GatedRepo":
            who = "this token's owner has" if token else "there is no token, and nobody has"
            raise Failure("refused", f"{page} is gated: {who} not been let in ({said})")
        if code == "RevisionNotFound":
            raise Failure("missing", f"{page} has no revision {self.revision}")
        if token and answer.code in (401, 403) and code != "RepoNotFound":
            raise Failure("refused", f"{self.endpoint} rejects the token ({answer.code} {said})")
        if answer.code in (401, 403, 404):
            who = "the token may not see it" if token else "it is private, which needs a token"
            raise Failure("missing", f"{page} does not exist, or {who}")
        raise Failure("network", f"{page} answers {answer.code} {said}")

    def listing(self) -> tuple[str, list[dict[str, Any]]]:
        """The commit, and each file with size and checksum."""
        revision = urllib.parse.quote(self.revision, safe="")
        path = f"api/models/{self.repository}/revision/{revision}?blobs=true"
        answer = json.loads(patiently(lambda: self.open(path).read(64 * CHUNK)))
        return str(answer["sha"]), [file_of(entry) for entry in answer["siblings"]]


def patiently(work: Any) -> Any:
    """Try again what the network may have spoilt, and wait longer each time."""
    for attempt in range(1, TRIES + 1):
        try:
            return work()
        except Failure:
            raise
        except OSError as error:  # of which all of urllib's are
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            problem: Exception = error
        except (http.client.HTTPException, ValueError) as error:
            problem = error
        if attempt < TRIES:
            time.sleep(min(2**attempt, 30))
    raise Failure("network", f"the hub could not be reached {TRIES} times: {problem}")


def file_of(entry: dict[str, Any]) -> dict[str, Any]:
    name = str(entry["rfilename"])
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or not re.fullmatch(r"[\w.+@ /-]+", name):
        raise Failure("damaged", f"the hub names a file {name!r}")
    large = entry.get("lfs") or {}
    return {
        "name": name,
        "size": int(large.get("size", entry.get("size") or 0)),
        "sha256": large.get("sha256") or large.get("oid"),
        "blob": entry.get("blobId"),
    }


def chosen(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not any(file["name"].endswith(".safetensors") for file in files):
        return files
    return [f for f in files if not any(fnmatch.fnmatch(f["name"], p) for p in UNSAFE)]


def checksum(path: Path, file: dict[str, Any]) -> str:
    """SHA-256 of a large file; the hub knows of a small one the id that git gives it."""
    digest = hashlib.sha256() if file["sha256"] else hashlib.sha1(usedforsecurity=False)
    if not file["sha256"]:
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class Fetch:
    """One model on its way into the store."""

    def __init__(self, hub: Hub, store: Path, name: str) -> None:
        self.hub = hub
        self.target = store / name
        self.partial = store / ".partial" / name
        self.told = store / ".partial" / f"{name}.json"
        self.verified = self.partial / ".verified.json"
        self.known: dict[str, str] = {}
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.done = self.total = 0

    def tell(self, state: str, **more: Any) -> None:
        """The state, for who waits; written over the one before, which a full disk allows, too."""
        asked = [self.hub.endpoint, self.hub.repository, self.hub.revision]
        now = {"state": state, "done": self.done, "total": self.total, "asked": asked, **more}
        try:
            place = os.open(self.told, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(place, json.dumps(now).encode().ljust(STATE), 0)
            os.close(place)
        except OSError as error:
            print(f"{self.told}: {error}", file=sys.stderr)

    def run(self) -> None:
        self.partial.mkdir(parents=True, exist_ok=True)
        self.tell("asking")
        commit, files = self.hub.listing()
        files = chosen(files)
        if self.verified.is_file():
            try:
                self.known = json.loads(self.verified.read_text(encoding="utf-8"))
            except ValueError:
                self.known = {}
        self.total = sum(file["size"] for file in files)
        self.done = sum(self._have(file) for file in files)
        self._room()
        teller = threading.Thread(target=self._progress, daemon=True)
        teller.start()
        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                jobs = [pool.submit(self._file, commit, file) for file in files]
                wait(jobs, return_when=FIRST_EXCEPTION)
                self.stop.set()
                for job in jobs:
                    job.cancel()
            for job in jobs:
                if not job.cancelled():
                    job.result()
        finally:
            self.stop.set()
            teller.join()
        self._install({file["name"] for file in files})
        self.tell("done", commit=commit)

    def _id(self, file: dict[str, Any]) -> str:
        return str(file["sha256"] or file["blob"] or "")

    def _part(self, file: dict[str, Any]) -> Path:
        return self.partial / f"{file['name']}.{self._id(file)[:16]}.part"

    def _have(self, file: dict[str, Any]) -> int:
        """Bytes that need not come again."""
        there = self.partial / file["name"]
        if there.is_file() and self.known.get(file["name"]) == self._id(file):
            return int(file["size"])
        part = self._part(file)
        return min(part.stat().st_size, file["size"]) if part.is_file() else 0

    def _room(self) -> None:
        free = shutil.disk_usage(self.partial).free
        if self.total - self.done > free:
            what = f"{self.total - self.done} more bytes have to come and {free} are free"
            raise Failure("space", f"{what} in {self.target.parent}")

    def _progress(self) -> None:
        began, before = time.monotonic(), self.done
        while not self.stop.wait(TOLD_EVERY):
            rate = (self.done - before) / max(time.monotonic() - began, 0.1)
            self.tell("fetching", rate=int(rate))

    def _file(self, commit: str, file: dict[str, Any]) -> None:
        there, part = self.partial / file["name"], self._part(file)
        if there.is_file() and self.known.get(file["name"]) == self._id(file):
            return
        there.parent.mkdir(parents=True, exist_ok=True)
        patiently(lambda: self._bytes(commit, file, part))
        if self.stop.is_set():
            return
        found = checksum(part, file)
        if found != self._id(file):
            with self.lock:
                self.done -= part.stat().st_size
            part.unlink()
            raise Failure("damaged", f"{file['name']} has checksum {found}, not {self._id(file)}")
        with self.lock:
            part.replace(there)
            self.known[file["name"]] = self._id(file)
            self.verified.write_text(json.dumps(self.known), encoding="utf-8")

    def _bytes(self, commit: str, file: dict[str, Any], part: Path) -> None:
        """Append what is missing; a connection that breaks is taken up where it broke."""
        start = part.stat().st_size if part.is_file() else 0
        if start > file["size"]:
            part.unlink()
            start = 0
        if start == file["size"] and (start or part.is_file()):
            return
        name = urllib.parse.quote(file["name"])
        with self.hub.open(f"{self.hub.repository}/resolve/{commit}/{name}", start) as answer:
            if start and answer.status != 206:  # the hub does not continue: from the beginning
                self._count(-start)
                start = 0
            with part.open("ab" if start else "wb") as stream:
                while not self.stop.is_set() and (chunk := answer.read(CHUNK)):
                    stream.write(chunk)
                    stream.flush()
                    self._count(len(chunk))
        if not self.stop.is_set() and part.stat().st_size != file["size"]:
            raise ConnectionError(f"{file['name']} ended early")

    def _count(self, number: int) -> None:
        with self.lock:
            self.done += number

    def _install(self, names: set[str]) -> None:
        """Put the whole model in its place; what it replaces is gone only then."""
        for path in sorted(self.partial.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif os.fspath(path.relative_to(self.partial)) not in names:
                path.unlink()
        old = self.partial.with_name(f"{self.target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.target.exists():
            self.target.rename(old)
        self.partial.rename(self.target)
        shutil.rmtree(old, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("endpoint", "repository", "revision", "store", "name"):
        parser.add_argument(f"--{option}", required=True)
    given = parser.parse_args()
    os.umask(0o022)
    hub = Hub(given.endpoint, given.repository, given.revision, sys.stdin.read().strip())
    fetch = Fetch(hub, Path(given.store), given.name)
    try:
        fetch.run()
    except Failure as failure:
        kind, what = failure.kind, str(failure)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = "space" if full else "network"
        what = f"{given.store} is full" if full else str(error)
    except (LookupError, TypeError, ValueError) as error:
        kind, what = "damaged", f"the hub's answer is not understood: {error!r}"
    else:
        return 0
    print(what, file=sys.stderr)
    fetch.tell("failed", kind=kind, what=what)
    return 1


if __name__ == "__main__":
    sys.exit(main())
