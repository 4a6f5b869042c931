"""Hosts for tests, natively fast: containers with systemd, reached over SSH as real hosts are.

A container has no kernel of its own. What the kernel and boot roles look at is therefore laid out
in it (the running release, the command line, installed packages, a boot loader's files), so that
all of site.yml runs in full; what needs a real kernel is in tests/vm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.container_image import OPTIONS, image, runtime

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RELEASE = "trixie"
FIRST_PORT = 2200
PORTS = 16  # more sockets sshd does not open
MIRROR_PORT = 8099
# Newer than every floor of the catalogue: nothing about the kernel is left to do.
KERNEL = "7.2.12+deb13-amd64"
KERNEL_VERSION = "7.2.12-1~bpo13+1"
PACKAGES = (
    (f"linux-image-{KERNEL}", KERNEL_VERSION),
    ("linux-image-amd64", KERNEL_VERSION),
    ("firmware-amd-graphics", "20260916-1~bpo13+1"),
)

# Files of a Debian with GRUB, and what a booted machine says of itself.
LAYOUT = r"""
set -eu
mkdir -p /boot/grub /etc/default/grub.d /lib/modules/{kernel} /srv/fake /etc/initramfs-tools
printf 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n' \
    >/etc/default/grub
head -c 8388608 /dev/zero >/boot/vmlinuz-{kernel}
head -c 8388608 /dev/zero >/boot/initrd.img-{kernel}
touch /boot/grub/grub.cfg
for tool in update-grub update-initramfs; do
    printf '#!/bin/sh\necho "$0 $*" >>/var/log/boot-tools\n' >/usr/local/sbin/$tool
    chmod 0755 /usr/local/sbin/$tool
done
printf '{kernel}\n' >/srv/fake/osrelease
mount --bind /srv/fake/osrelease /proc/sys/kernel/osrelease
printf 'BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet\n' >/srv/fake/cmdline
mount --bind /srv/fake/cmdline /proc/cmdline
mount -t tmpfs tmpfs /sys/module
mkdir -p /sys/module/ttm/parameters /sys/module/amdgpu/parameters
"""
DEB = r"""
set -eu
build=$(mktemp -d)
mkdir -p "$build/p/DEBIAN"
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: t\nDescription: t\n' \
    "$1" "$2" >"$build/p/DEBIAN/control"
dpkg-deb --build --root-owner-group "$build/p" "$build/p.deb" >/dev/null
dpkg --force-downgrade --install "$build/p.deb" >/dev/null 2>&1
rm -rf "$build"
"""


@dataclass
class Container:
    """One running container, and the names under which an inventory has it."""

    name: str
    address: str
    state: Path
    names: tuple[str, ...]
    arguments: tuple[str, ...] = ()

    @property
    def inventory(self) -> Path:
        return self.state / "hosts.yml"

    def sh(self, script: str, *arguments: str, check: bool = True) -> str:
        """Run a shell script as root inside."""
        done = subprocess.run(
            ["podman", "exec", "--interactive", self.name, "sh", "-s", "--", *arguments],
            input=script, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {script}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def package(self, name: str, version: str) -> None:
        """Install an empty package of this name and version, a lower one too."""
        self.sh(DEB, name, version)

    def boot(self, arguments: list[str]) -> None:
        """What a reboot would do: the running kernel has these arguments from now on."""
        line = " ".join(["BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet", *arguments])
        self.sh(f"printf '%s\\n' '{line}' >/srv/fake/cmdline")
        for argument in arguments:
            module, dot, rest = argument.partition(".")
            if dot:
                name, _, value = rest.partition("=")
                self.sh(f"printf '%s\\n' '{value}' >/sys/module/{module}/parameters/{name}")

    def converge(self) -> None:
        """Boot with the arguments that are wanted of it, then provision it once."""
        command = [sys.executable, "-m", "stroke"]
        environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"),
                       "XDG_STATE_HOME": os.fspath(self.state / "xdg")}  # fmt: skip
        only = ["--limit", self.names[0]]
        plan = subprocess.run(
            [*command, "plan", self.inventory, "--json", *only], env=environment, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if plan.returncode != 0:
            raise AssertionError(f"exit {plan.returncode}: {plan.stdout}\n{plan.stderr}")
        (host,) = json.loads(plan.stdout)["hosts"]
        self.arguments = tuple(host["profile"]["boot"]["args"])
        self.boot(list(self.arguments))
        done = subprocess.run(
            [*command, "provision", self.inventory, "--yes", *only], env=environment, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {done.stdout}\n{done.stderr}")

    def write_inventory(self, variables: dict[str, Any], **more: Any) -> Path:
        """One inventory in which the container has each of its names, with a port for each."""
        hosts = {
            name: {"ansible_port": FIRST_PORT + number % PORTS}
            for number, name in enumerate(self.names)
        }
        common = {
            "ansible_host": self.address,
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": os.fspath(self.state / "key"),
            "ansible_ssh_common_args": (
                f"-o HostKeyAlias={self.name} -o UserKnownHostsFile={self.state / 'known_hosts'} "
                "-o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
            ),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        content = {"all": {"hosts": hosts, "vars": {**common, **variables, **more}}}
        self.inventory.write_text(yaml.safe_dump(content), encoding="utf-8")
        return self.inventory


def _podman(*words: str | Path) -> str:
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"podman {words[0]}: {done.stderr}")
    return done.stdout.strip()


def _wait_for_systemd(name: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["podman", "exec", name, "systemctl", "is-system-running"],
            capture_output=True, text=True, check=False,
        ).stdout.strip()  # fmt: skip
        if state in ("running", "degraded"):
            return
        time.sleep(1)
    raise AssertionError(f"systemd in {name} did not start in {seconds:.0f} s")


def _settings(artifacts: Path) -> dict[str, Any]:
    """The inventory's variables: a declared GPU, and what the tests serve to the host."""
    made = json.loads((artifacts / "variables.json").read_text(encoding="utf-8"))
    keys = ("rocm_mirror_uri", "rocm_mirror_suite", "rocm_key_url", "rocm_key_fingerprint")
    return {
        "stroke_gpu": "gfx1151",
        "stroke_memory_gib": 128,
        "preflight_refuse_containers": False,
        "boot_guard_attended": True,
        "rocm_source": "mirror",
        **{key: made[key] for key in keys},
        "inference_server_engine": "llamacpp",
        "inference_server_image": made["image"],
        "inference_server_image_archive": made["image_archive"],
        "inference_server_model": made["models"][0]["name"],
        "model_store_models": made["models"],
    }


def _prepare(container: Container, artifacts: Path) -> None:
    name = container.name
    ports = range(FIRST_PORT, FIRST_PORT + min(PORTS, len(container.names)))
    listening = "".join(f"Port {port}\\n" for port in ports)
    key = (container.state / "key.pub").read_text(encoding="utf-8")
    host_key = container.sh(f"""set -eu
install -d -m 0700 -o admin -g admin /home/admin/.ssh
cat >/home/admin/.ssh/authorized_keys <<'EOF'
{key}EOF
chown admin: /home/admin/.ssh/authorized_keys
printf 'AddressFamily inet\\n{listening}MaxStartups 100\\n' >/etc/ssh/sshd_config.d/ports.conf
systemctl restart ssh.service
cat /etc/ssh/ssh_host_ed25519_key.pub""")
    known = container.state / "known_hosts"
    known.write_text(f"{name} {host_key}\n", encoding="utf-8")
    _podman("cp", f"{artifacts}/rocm/served/.", f"{name}:/srv/rocm")
    container.sh(
        "systemd-run --quiet --unit=rocm-mirror /usr/bin/python3 -m http.server "
        f"{MIRROR_PORT} --bind=127.0.0.1 --directory=/srv/rocm"
    )
    container.sh("apt-get -q update")
    container.sh(LAYOUT.format(kernel=KERNEL))
    for package, version in PACKAGES:
        container.package(package, version)


@contextmanager
def container(
    name: str, state: Path, names: tuple[str, ...] = (), more: tuple[str, ...] = ()
) -> Iterator[Container]:
    """A prepared container; it is removed at the end whatever happens. `more`: podman's options."""
    state.mkdir(parents=True, exist_ok=True)
    artifacts = state / "artifacts"
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool")}
    subprocess.run([sys.executable, ROOT / "tests/artifacts.py", artifacts],
                   check=True, env=environment)  # fmt: skip
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name,
                    "-f", state / "key"], check=True)  # fmt: skip
    reference = image(RELEASE)
    _podman("rm", "--volumes", "--force", "--ignore", "--time", "3", name)
    _podman("run", "--detach", "--name", name, "--hostname", name, "--systemd", "always",
            "--runtime", runtime(reference), *OPTIONS, *more, reference, "/sbin/init")  # fmt: skip
    try:
        _wait_for_systemd(name)
        address = _podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
        made = Container(name, address, state, names or (name,))
        _prepare(made, artifacts)
        made.write_inventory(_settings(artifacts))
        yield made
    finally:
        _podman("rm", "--volumes", "--force", "--ignore", "--time", "3", name)
