"""UEFI for a guest: the firmware's code, and a store for its variables that is the guest's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from stroke.process import missing_tools

PACKAGE = "ovmf"
# Debian's and Fedora's package, without Secure Boot.
_PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)


@dataclass(frozen=True, slots=True)
class Firmware:
    """Files of one guest's firmware."""

    code: Path
    variables: Path

    def arguments(self) -> list[str]:
        """QEMU's options for both flash chips."""
        # fmt: off
        return [
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escaped(self.code)}",
            "-drive", f"if=pflash,unit=1,format=raw,file={escaped(self.variables)}",
        ]
        # fmt: on


def escaped(path: Path) -> str:
    """A path inside of one of QEMU's comma separated options."""
    return str(path).replace(",", ",,")


def installed(root: Path = Path("/")) -> tuple[Path, Path]:
    """The firmware of this machine: its code, and the empty store that comes with it."""
    for names in _PLACES:
        code, variables = (root / name.lstrip("/") for name in names)
        if code.is_file() and variables.is_file():
            return code, variables
    raise missing_tools([PACKAGE])


def for_guest(directory: Path) -> Firmware:
    """Firmware whose variables live in the guest's directory, and end with it."""
    code, empty = installed()
    variables = directory / "uefi-variables.fd"
    shutil.copyfile(empty, variables)
    return Firmware(code, variables)
