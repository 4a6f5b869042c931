"""Make the image of the systemd test containers, once, and name an OCI runtime that starts it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from stroke.host_apt import Archive, read_archive
from stroke.paths import built_whole, cache_home, locked
from stroke.process import require, run

PACKAGES = (
    *("systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod"),
    *("openssh-server", "sudo", "python3", "iproute2", "ca-certificates", "gpg"),
    "e2fsprogs",
)
# What a variant has on top: a Debian root on which dnf works, which is no Fedora by that.
VARIANTS: dict[str, tuple[str, ...]] = {
    "": (),
    # What an inference image is built on: a base that lacks nothing, so that no network is needed.
    "base": ("python3-venv", "libnuma1", "libgomp1"),
    # The same with what the real vLLM compiles its sampling with on a processor.
    "vllm": ("libnuma1", "libgomp1", "g++"),
    "dnf": ("dnf", "python3-dnf", "dnf-plugins-core", "createrepo-c", "rpm", "gpg-agent", "curl"),
}
# Inside a container these would meddle with the machine below, or wait for hardware.
MASKED = (
    "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-networkd-wait-online.service",
    "systemd-resolved.service", "systemd-modules-load.service", "systemd-sysctl.service",
    "getty.target", "console-getty.service", "sys-kernel-debug.mount",
    "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
RUNTIMES = ("crun", "runc")
# Podman runs in there as well: it needs a file system that overlayfs can lie on, and mounts.
# An unprivileged process cannot raise the limits above the machine's own.
OPTIONS = (
    "--privileged",
    "--volume=/var/lib/containers",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
)


def setup(archive: Archive, release: str) -> str:
    """Commands that turn the bare root into a host that gives a login."""
    return f"""set -eu
useradd --root "$1" --create-home --shell /bin/bash --groups sudo admin
usermod --root "$1" --password '*' admin
printf 'admin ALL=(ALL:ALL) NOPASSWD: ALL\\n' >"$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*
cat >"$1/etc/apt/sources.list.d/debian.sources" <<'EOF'
{archive.deb822_sources(release)}EOF
cat >"$1/etc/apt/apt.conf.d/90archive" <<'EOF'
{archive.apt_options()}EOF
# Podman's own network must not be the one that this container itself is in.
mkdir -p "$1/etc/containers/containers.conf.d"
printf '[network]\ndefault_subnet = "10.213.0.0/24"\n' \
    >"$1/etc/containers/containers.conf.d/50-nested.conf"
mkdir "$1/etc/systemd/system/ssh.service.d"
cat >"$1/etc/systemd/system/ssh.service.d/host-keys.conf" <<'EOF'
# Each container makes keys of its own.
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
EOF
for unit in {" ".join(MASKED)}; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done
"""


def build(target: Path, archive: Archive, release: str, packages: tuple[str, ...]) -> None:
    require(["mmdebstrap", "podman"])
    with built_whole(target) as scratch:
        hook = scratch / "setup.sh"
        hook.write_text(setup(archive, release), encoding="utf-8")
        with tempfile.NamedTemporaryFile("w", suffix=".list") as sources:
            sources.write(archive.one_line_sources(release))
            sources.flush()
            run([
                "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet",
                '--aptopt=APT::Install-Recommends "false"',
                *(f"--aptopt={setting.rstrip(';')}" for setting in archive.settings),
                "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                f"--include={','.join(packages)}", f"--customize-hook=sh {hook} \"$1\"",
                release, scratch / "root.tar", sources.name,
            ])  # fmt: skip


def root_tar(release: str, variant: str = "") -> Path:
    """The root file system of the image; everything that decides its bytes is in its directory."""
    archive = read_archive()
    packages = (*PACKAGES, *VARIANTS[variant])
    recipe = repr((release, packages, setup(archive, release))).encode()
    tag = hashlib.sha256(recipe).hexdigest()[:12]
    target = cache_home() / "containers" / f"{release}-{tag}"
    with locked(target.with_suffix(".lock")):
        if not (target / "root.tar").is_file():
            build(target, archive, release, packages)
    return target / "root.tar"


def image(release: str, variant: str = "") -> str:
    """The reference of the image, with the tag of its root file system."""
    target = root_tar(release, variant).parent
    reference = f"localhost/stroke-test-{release}:{target.name.removeprefix(f'{release}-')}"
    with locked(target.with_suffix(".lock")):
        if run(["podman", "image", "exists", reference], check=False).returncode != 0:
            run(["podman", "import", "--change", 'CMD ["/sbin/init"]', target / "root.tar",
                 reference])  # fmt: skip
    return reference


def runtime(reference: str) -> str:
    """The first runtime that starts a container here: crun refuses some cgroup layouts."""
    said = ""
    for name in RUNTIMES:
        probe = subprocess.run(
            ["podman", "run", "--rm", "--runtime", name, *OPTIONS, "--systemd", "always",
             "--network", "none", reference, "/bin/true"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if probe.returncode == 0:
            return name
        said += f"{name}: {probe.stderr.strip()}\n"
    raise SystemExit(f"no OCI runtime starts a container here\n{said}")


def main() -> None:
    reference = image(*sys.argv[1:3])
    found = {"image": reference, "runtime": runtime(reference), "options": list(OPTIONS)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
