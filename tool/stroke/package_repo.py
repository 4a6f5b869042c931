"""A small signed package archive on loopback, laid out as AMD's, with test packages in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stroke.errors import StrokeError
from stroke.machine import Process, spawn, tail
from stroke.process import run

VERSION = "7.2.4"
SUITE = "noble"
_PREFIX = f"/opt/rocm-{VERSION}"
_NOTE = "test package of stroke's sandbox, not AMD's"

_ROCMINFO = f"""\
#!/bin/sh
echo "rocminfo {VERSION}: {_NOTE}"
echo "ROCk module is not looked at"
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One test package under a real name and version."""

    name: str
    version: str
    files: tuple[tuple[str, str, int], ...]
    depends: str = ""


PACKAGES = (
    Package(
        "rocm-core",
        "7.2.4.70204-93~24.04",
        ((f"{_PREFIX}/.info/version", "7.2.4-93\n", 0o644),),
    ),
    Package(
        "rocminfo",
        "1.0.0.70204-93~24.04",
        ((f"{_PREFIX}/bin/rocminfo", _ROCMINFO, 0o755),),
        depends="rocm-core",
    ),
)


class PackageRepository:
    """The archive of one sandbox: built in its state directory, served by its own process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._served = directory / "served"
        self._data = directory / "repository.json"

    @property
    def port(self) -> int:
        """The loopback port of the server."""
        return int(self._load("port"))

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the signing key."""
        return self._load("fingerprint")

    @property
    def uri(self) -> str:
        """The archive as the guest sees it."""
        return f"{self._root}/rocm/apt/{VERSION}"

    @property
    def key_url(self) -> str:
        """The signing key as the guest sees it."""
        return f"{self._root}/rocm.gpg.key"

    @property
    def wrong_key_url(self) -> str:
        """Another key, which has signed nothing: a role that is given it must stop."""
        return f"{self._root}/wrong.gpg.key"

    @property
    def _root(self) -> str:
        return f"http://10.0.2.2:{self.port}"

    def build(self) -> None:
        """Make packages, indices, keys and signatures."""
        apt = self._served / "rocm/apt" / VERSION
        pool = apt / "pool/main"
        binary = apt / f"dists/{SUITE}/main/binary-amd64"
        pool.mkdir(parents=True)
        binary.mkdir(parents=True)
        for package in PACKAGES:
            _build_package(package, pool)
        packages = run(["apt-ftparchive", "packages", "pool/main"], cwd=apt).stdout
        (binary / "Packages").write_text(packages, encoding="utf-8")
        release = apt / f"dists/{SUITE}"
        fields = {
            "Origin": "repo.radeon.com", "Label": "repo.radeon.com", "Suite": SUITE,
            "Codename": SUITE, "Architectures": "amd64", "Components": "main",
            "Description": _NOTE,
        }  # fmt: skip
        options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in fields.items()]
        text = run(["apt-ftparchive", *options, "release", "."], cwd=release).stdout
        (release / "Release").write_text(text, encoding="utf-8")
        with _keyring() as home:
            signer = _new_key(home, "stroke sandbox test archive")
            other = _new_key(home, "stroke sandbox wrong key")
            for fingerprint, name in ((signer, "rocm.gpg.key"), (other, "wrong.gpg.key")):
                armoured = _gpg(home, "--armor", "--export", fingerprint)
                (self._served / name).write_text(armoured, encoding="utf-8")
            sign = ["--local-user", signer, "--digest-algo", "SHA256"]
            _gpg(home, *sign, "--clearsign", "--output", os.fspath(release / "InRelease"),
                 os.fspath(release / "Release"))  # fmt: skip
            _gpg(home, *sign, "--armor", "--detach-sign", "--output",
                 os.fspath(release / "Release.gpg"), os.fspath(release / "Release"))  # fmt: skip
        self._save(fingerprint=signer, port=0)

    def serve(self) -> None:
        """Start the server on a port that the system picks; the guest reaches it at 10.0.2.2."""
        log = self._directory / "server.log"
        # fmt: off
        process = spawn([
            sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1",
            "--directory", os.fspath(self._served),
        ], log)
        # fmt: on
        process.save(self._directory / "server.json")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.alive:
            if found := re.search(r"port (\d+)", log.read_text(encoding="utf-8")):
                self._save(fingerprint=self.fingerprint, port=int(found[1]))
                return
            time.sleep(0.05)
        process.stop()
        raise StrokeError(f"the test archive's server does not start: {tail(log)}", code="STK-704")

    def stop(self) -> None:
        """End the server, if it is ours and still there."""
        if process := Process.load(self._directory / "server.json"):
            process.stop()

    def _save(self, **data: object) -> None:
        self._data.write_text(json.dumps(data) + "\n", encoding="utf-8")

    def _load(self, key: str) -> str:
        return str(json.loads(self._data.read_text(encoding="utf-8"))[key])


def _build_package(package: Package, pool: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="stroke-deb-") as name:
        root = Path(name, package.name)
        control = root / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        depends = f"Depends: {package.depends}\n" if package.depends else ""
        control.write_text(
            f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\n"
            f"Maintainer: stroke sandbox <sandbox@localhost>\n{depends}Section: devel\n"
            f"Priority: optional\nDescription: {_NOTE}\n",
            encoding="utf-8",
        )
        for path, content, mode in package.files:
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
            target.chmod(mode)
        root.chmod(0o755)
        for folder in root.rglob("*/"):
            if folder.is_dir():
                folder.chmod(0o755)
        target = pool / f"{package.name}_{package.version}_amd64.deb"
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, target])


@contextmanager
def _keyring() -> Iterator[Path]:
    # gpg's sockets have short paths only, so not in the state directory; mkdtemp makes it private.
    home = Path(tempfile.mkdtemp(prefix="stroke-gpg-", dir="/tmp"))  # nosec B108
    try:
        yield home
    finally:
        run(["gpgconf", "--kill", "all"], check=False, env={"GNUPGHOME": os.fspath(home)})
        shutil.rmtree(home, ignore_errors=True)


def _gpg(home: Path, *arguments: str) -> str:
    command = ["gpg", "--homedir", os.fspath(home), "--batch", "--yes", "--no-tty", "--quiet"]
    return run([*command, "--pinentry-mode", "loopback", "--passphrase", "", *arguments]).stdout


def _new_key(home: Path, name: str) -> str:
    _gpg(home, "--quick-generate-key", f"{name} <sandbox@localhost>", "rsa2048", "sign", "never")
    listing = _gpg(home, "--list-keys", "--with-colons", f"={name} <sandbox@localhost>")
    found = re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE)
    if found is None:
        raise StrokeError("gpg made no key for the test archive", code="STK-704")
    return found[1]
