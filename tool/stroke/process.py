"""Spawn other programs: the only place that does, so that every failure reads the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stroke.errors import StrokeError

# Sandbox tools live in sbin on Debian, which a user's PATH often lacks.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")

# Command -> package names by family; the same word twice means both families agree.
_PACKAGES: dict[str, tuple[str, str]] = {
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86-core"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "qemu-io": ("qemu-utils", "qemu-img"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "mkfs.vfat": ("dosfstools", "dosfstools"),
    "mcopy": ("mtools", "mtools"),
    "ovmf": ("ovmf", "edk2-ovmf"),
    "ssh": ("openssh-client", "openssh-clients"),
    "ssh-keygen": ("openssh-client", "openssh-clients"),
    "gpg": ("gpg", "gnupg2"),
    "gpgconf": ("gpgconf", "gnupg2"),
    "apt-ftparchive": ("apt-utils", "apt-utils"),
    "dpkg-deb": ("dpkg", "dpkg"),
    "debian-archive-keyring": ("debian-archive-keyring", "debian-keyring"),
    "newuidmap": ("uidmap", "shadow-utils"),
    "unshare": ("util-linux", "util-linux"),
}


def search_path() -> str:
    """PATH with the system directories that hold the sandbox's tools added at its end."""
    parts = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    return os.pathsep.join([*parts, *(part for part in _SYSTEM_PATH if part not in parts)])


def which(command: str) -> str | None:
    """Where a command is, system directories included."""
    return shutil.which(command, path=search_path())


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    code: str = "STK-704",
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with its output captured; failing says what it said last."""
    arguments = [os.fspath(part) for part in command]
    arguments[0] = which(arguments[0]) or arguments[0]
    try:
        result = subprocess.run(
            arguments,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
            input="" if stdin is None else stdin,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise missing_tools([Path(arguments[0]).name]) from None
    if check and result.returncode != 0:
        said = "\n".join((result.stderr or result.stdout).strip().splitlines()[-8:])
        raise StrokeError(
            f"{Path(arguments[0]).name} failed (exit {result.returncode}): {said}", code=code
        )
    return result


def require(commands: Sequence[str], files: Sequence[Path] = ()) -> None:
    """Stop early, naming the packages, when programs or files that will be used are not there."""
    absent = [command for command in commands if which(command) is None]
    if absent := [*absent, *(path.stem for path in files if not path.exists())]:
        raise missing_tools(absent)


def missing_tools(commands: Sequence[str]) -> StrokeError:
    """The error for absent programs, with the install command of this machine's family."""
    family, installer = _family()
    column = 1 if family == "rhel" else 0
    packages = sorted({_PACKAGES.get(command, (command, command))[column] for command in commands})
    return StrokeError(
        f"the sandbox needs {', '.join(commands)}, not found on this machine",
        code="STK-701",
        hint=f"{installer} {' '.join(packages)}",
    )


def _family() -> tuple[str, str]:
    import distro

    names = {distro.id(), *distro.like().split()}
    if names & {"debian", "ubuntu"}:
        return "debian", "sudo apt-get install"
    if names & {"rhel", "fedora", "centos"}:
        return "rhel", "sudo dnf install"
    return "other", "install the packages (Debian's names):"
