"""Small rpm repositories in /srv/rpm of the container: real names and versions, no content.

base    what a distribution has: kernels, firmware, Podman, a dracut that only notes its calls
rocm    two of AMD's packages; signed by its own key, which is beside it with a wrong one
keys    base.asc, rocm.asc, wrong.asc (which has signed nothing)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TOP = Path("/srv/rpm")
NOTE = "test package of stroke, not the real one"
PODMAN = f"#!/bin/sh\necho 'podman version 5.7.0 ({NOTE})'\n"
DRACUT = """#!/bin/sh
# dracut --force IMAGE RELEASE: notes the call and writes the image.
echo "$*" >>/var/log/dracut-calls
date >"$2"
"""


@dataclass(frozen=True)
class Rpm:
    """One test package; `files` are path, content and mode."""

    name: str
    version: str
    release: str
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: tuple[tuple[str, str, int], ...] = ()
    epoch: int = 0
    script: str = ""


def kernel(version: str, release: str) -> tuple[Rpm, Rpm]:
    """The kernel and its meta package; as kernel-install does, it makes an initramfs at the end."""
    uname = f"{version}-{release}.x86_64"
    initramfs = f'io.open("/boot/initramfs-{uname}.img", "w"):write("first\\n")'
    several = ("installonlypkg(kernel)",)
    core = Rpm(
        "kernel-core", version, release, provides=several, script=initramfs,
        files=(
            (f"/boot/vmlinuz-{uname}", "kernel\n", 0o755),
            (f"/usr/lib/modules/{uname}/vmlinuz", "kernel\n", 0o755),
        ),
    )  # fmt: skip
    meta = Rpm("kernel", version, release, requires=(f"kernel-core = {version}-{release}",),
               provides=several)  # fmt: skip
    return core, meta


def firmware(date: str) -> Rpm:
    path = "/usr/lib/firmware/amdgpu/gc_11_5_1_mes_2.bin"
    return Rpm("amd-gpu-firmware", date, "1.fc44", files=((path, f"{date}\n", 0o644),))


BASE = (
    *kernel("6.17.1", "300.fc44"),
    *kernel("6.19.12", "200.fc44"),
    firmware("20251111"),
    firmware("20251125"),
    firmware("20260309"),
    Rpm("podman", "5.7.0", "1.fc44", ("conmon", "crun", "netavark"), epoch=5,
        files=(("/usr/bin/podman", PODMAN, 0o755),)),
    *(Rpm(name, "2.0", "1.fc44") for name in ("crun", "netavark", "aardvark-dns", "nftables")),
    Rpm("conmon", "2.1.13", "1.fc44"),
    Rpm("dracut", "107", "4.fc44", files=(("/usr/bin/dracut", DRACUT, 0o755),)),
    Rpm("toolbox", "0.3", "1.fc44", ("conmon >= 2.0",)),
)  # fmt: skip
ROCM = (
    Rpm("rocm-core", "7.2.4.70204", "93.el9",
        files=(("/opt/rocm-7.2.4/.info/version", "7.2.4-93\n", 0o644),)),
    Rpm("rocminfo", "1.0.0.70204", "93.el9", ("rocm-core",),
        files=(("/opt/rocm-7.2.4/bin/rocminfo", f"#!/bin/sh\necho '{NOTE}'\n", 0o755),)),
)  # fmt: skip


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def specification(rpm: Rpm, content: Path) -> str:
    """A spec file; no automatic dependencies, as nothing else in the container is an rpm."""
    lines = [
        f"Name: {rpm.name}", f"Version: {rpm.version}", f"Release: {rpm.release}",
        *([f"Epoch: {rpm.epoch}"] if rpm.epoch else []),
        f"Summary: {NOTE}", "License: Apache-2.0", "AutoReqProv: no",
        *(f"Requires: {name}" for name in rpm.requires),
        *(f"Provides: {name}" for name in rpm.provides),
        "%description", NOTE, "%install",
        *(f"install -D -m {mode:o} {content}{path} %{{buildroot}}{path}"
          for path, _, mode in rpm.files),
        *(["%posttrans -p <lua>", rpm.script] if rpm.script else []),
        "%files", *(path for path, _, _ in rpm.files),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def build(rpm: Rpm, target: Path, scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    for path, text, _ in rpm.files:
        file = scratch / "content" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    scratch.mkdir(parents=True, exist_ok=True)
    spec = scratch / f"{rpm.name}.spec"
    spec.write_text(specification(rpm, scratch / "content"), encoding="utf-8")
    run("rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", f"_topdir {scratch}/top",
        "--define", f"_rpmdir {target}",
        "--define", "_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.rpm",
        "--define", "debug_package %{nil}", spec)  # fmt: skip


def new_key(name: str) -> str:
    """Makes a key, exports it, and gives its fingerprint."""
    user = f"stroke test {name} <{name}@localhost>"
    gpg = ("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
    run(*gpg, "--quick-generate-key", user, "rsa2048", "sign", "never")
    exported = TOP / "keys" / f"{name}.asc"
    exported.write_text(run("gpg", "--armor", "--export", user), encoding="utf-8")
    listing = run("gpg", "--list-keys", "--with-colons", user)
    found = re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE)
    assert found, "gpg made no key"  # noqa: S101
    return found[1]


def main() -> None:
    shutil.rmtree(TOP, ignore_errors=True)
    (TOP / "keys").mkdir(parents=True)
    os.environ["GNUPGHOME"] = os.fspath(TOP / "gpg")
    (TOP / "gpg").mkdir(mode=0o700)
    fingerprints = {name: new_key(name) for name in ("base", "rocm", "wrong")}
    for name, packages in (("base", BASE), ("rocm", ROCM)):
        for rpm in packages:
            build(rpm, TOP / name, TOP / "scratch")
        signer = ("--define", f"_gpg_name {fingerprints[name]}")
        run("rpmsign", *signer, "--addsign", *sorted((TOP / name).glob("*.rpm")))
        run("createrepo_c", "--quiet", TOP / name)
    shutil.rmtree(TOP / "scratch")
    print(json.dumps(fingerprints))


if __name__ == "__main__":
    main()
