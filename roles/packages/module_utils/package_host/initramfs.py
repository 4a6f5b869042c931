"""The initramfs of the kernel that will boot: amdgpu's firmware is read from there."""

from __future__ import annotations

import re
from pathlib import Path

from .shell import Shell, Trouble

MODULES = ("/usr/lib/modules", "/lib/modules")


def _by_number(release: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", release)]


def next_release(shell: Shell, root: Path = Path("/")) -> str | None:
    """The kernel that will boot: the boot loader's default where grubby tells it, else the newest.

    Boot loader entries (BLS) have a default that the administrator may have set.
    """
    if shell.has("grubby"):
        said = shell.run("grubby", "--default-kernel").out.strip()
        release = Path(said).name.removeprefix("vmlinuz-")
        if said and any((root / top.lstrip("/") / release).is_dir() for top in MODULES):
            return release
    found = {
        path.name
        for top in MODULES
        for path in (root / top.lstrip("/")).glob("*")
        if (root / "boot" / f"vmlinuz-{path.name}").exists() or (path / "vmlinuz").exists()
    }
    return max(found, key=_by_number, default=None)


def rebuild(
    shell: Shell, tool: str, since: float, root: Path = Path("/"), chosen: str = ""
) -> str | None:
    """Build the initramfs anew where the packages themselves have not; the release, or null.

    `since`: seconds since 1970 at which the transaction began. A newer image has the firmware.
    `chosen` is the kernel that will boot, where it is not the loader's default.
    """
    release = chosen or next_release(shell, root)
    if release is None:
        return None
    boot = root / "boot"
    places = [boot / f"initrd.img-{release}", boot / f"initramfs-{release}.img",
              *boot.glob(f"*/{release}/initrd"), *boot.glob(f"efi/*/{release}/initrd")]  # fmt: skip
    image = next((place for place in places if place.exists()), None)
    if image is not None and image.stat().st_mtime >= since:
        return None
    if tool == "initramfs-tools":
        done = shell.run("update-initramfs", "-u" if image else "-c", "-k", release)
    elif image is not None and image.name == "initrd" and shell.has("kernel-install"):
        kernel = next(str(root / top.lstrip("/") / release / "vmlinuz") for top in MODULES)
        done = shell.run("kernel-install", "add", release, kernel)
    else:
        target = image or boot / f"initramfs-{release}.img"
        done = shell.run("dracut", "--force", str(target), release)
    if done.rc:
        raise Trouble("STK-801", f"the initramfs of {release} could not be built: {done.said}",
                      "the host still starts with the old one; mend what is named, "
                      "then run stroke again")  # fmt: skip
    return release
