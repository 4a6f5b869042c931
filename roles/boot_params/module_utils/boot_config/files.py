"""Files of the host below a root directory, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from .errors import BootConfigError

# A boot entry has some hundred bytes; what is larger than this is something else.
LIMIT = 1024 * 1024
_SELINUX = "security.selinux"


class Host:
    """One host seen through a root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def real(self, path: str) -> Path:
        """The file behind symbolic links, which a rename would otherwise replace."""
        place = self.at(path)
        for _ in range(40):
            if not place.is_symlink():
                return place
            link = os.fspath(place.readlink())
            place = self.at(link) if link.startswith("/") else place.parent / link
        raise BootConfigError(f"{path} is a loop of symbolic links", f"see: ls -l {path}")

    def exists(self, path: str) -> bool:
        return self.at(path).exists()

    def names(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self.at(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: str) -> str | None:
        """The text of a file, every byte of it; None where there is no file."""
        try:
            place = self.real(path)
            if not stat.S_ISREG(place.stat().st_mode):  # a FIFO would block for ever
                raise BootConfigError(f"{path} is not a regular file", f"see: ls -l {path}")
            with place.open("rb") as stream:
                data = stream.read(LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(data) > LIMIT:
            raise BootConfigError(f"{path} is larger than {LIMIT} bytes", f"see: ls -l {path}")
        return data.decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file in place in one step: a full disk or a power cut leaves the old one."""
        place = self.real(path)
        data = text.encode("utf-8", "surrogateescape")
        # Boot loaders read *.conf, GRUB's scripts *.cfg: the name must not end like one of those.
        number, name = tempfile.mkstemp(prefix=".stroke-", suffix=".new", dir=place.parent)
        try:
            with open(number, "wb") as stream:  # noqa: PTH123  # a descriptor
                stream.write(data)
                _like(place, number, name, mode)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
        _settle(place.parent)

    def remove(self, path: str) -> None:
        place = self.real(path)
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
            _settle(place.parent)

    def make_directory(self, path: str) -> None:
        self.at(path).mkdir(mode=0o755, parents=True, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        """Only if nothing else is in it."""
        with contextlib.suppress(OSError):
            self.at(path).rmdir()


def _like(place: Path, number: int, name: str, mode: int) -> None:
    """Owner, mode and label of the file that is replaced; FAT has none of them."""
    try:
        old = place.stat()
    except FileNotFoundError:
        os.fchmod(number, mode)
        return
    with contextlib.suppress(PermissionError):
        os.fchmod(number, stat.S_IMODE(old.st_mode))
        os.fchown(number, old.st_uid, old.st_gid)
    with contextlib.suppress(OSError):
        os.setxattr(name, _SELINUX, os.getxattr(place, _SELINUX))


def _settle(folder: Path) -> None:
    """The new name itself reaches the disk; some file systems cannot be asked for that."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
