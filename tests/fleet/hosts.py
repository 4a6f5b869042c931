"""A fleet for tests: many light containers with systemd and sshd, copies of a prepared one.

They take the steps of site.yml that need no image and no reboot (TAGS): access to the GPU and
kernel arguments. Everything else is as in production: SSH, sudo, the lock, the waves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.container_image import image, runtime
from tests.containers import DEB, KERNEL, LAYOUT, PACKAGES, RELEASE

ROOT = Path(__file__).resolve().parents[2]
TAGS = "gpu_access,boot_params"
PREPARED = "localhost/stroke-test-fleet:prepared"
# What these steps leave on a host, taken away again to have something to do.
UNDO = r"""
rm -f /etc/default/grub.d/90-stroke.cfg /etc/modprobe.d/stroke.conf
id stroke >/dev/null 2>&1 && userdel --force stroke 2>/dev/null
true
"""
# What LAYOUT mounts is not part of an image.
MOUNTS = LAYOUT[LAYOUT.index("printf '{kernel}\\n' >/srv/fake/osrelease") :]
SETTINGS: dict[str, Any] = {
    "ansible_user": "admin",
    "ansible_python_interpreter": "/usr/bin/python3",
    "stroke_gpu": "gfx1151",
    "stroke_memory_gib": 128,
    "preflight_refuse_containers": False,
    "rocm_source": "none",
    "inference_server_engine": "llamacpp",
    "inference_server_image": "localhost/engine:1",
    "model_store_models": [],
}


def podman(*words: str | Path, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(["podman", *words], input=stdin, capture_output=True, text=True,
                          check=False)  # fmt: skip
    if check and done.returncode != 0:
        said = " ".join(map(str, words))[:200]
        raise AssertionError(f"podman {said}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def sh(name: str, script: str, *arguments: str, check: bool = True) -> str:
    """Run a shell script as root in a container."""
    return podman("exec", "--interactive", name, "sh", "-s", "--", *arguments, stdin=script,
                  check=check)  # fmt: skip


def start(name: str, reference: str) -> None:
    podman("rm", "--volumes", "--force", "--ignore", "--time", "3", name)
    podman("run", "--detach", "--name", name, "--hostname", name, "--systemd", "always",
           "--runtime", runtime(image(RELEASE)), "--privileged", reference,
           "/sbin/init")  # fmt: skip


def ready(name: str, seconds: float = 180) -> str:
    """Wait for systemd, and return the address."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if podman("exec", name, "systemctl", "is-active", "ssh", check=False) == "active":
            return podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
        time.sleep(1)
    raise AssertionError(f"sshd in {name} did not start in {seconds:.0f} s")


def prepare(key: str) -> None:
    """One container with all that its copies have in common, kept as an image."""
    name = "stroke-fleet-seed"
    start(name, image(RELEASE))
    try:
        ready(name)
        sh(name, f"""set -eu
install -d -m 0700 -o admin -g admin /home/admin/.ssh
printf '%s\\n' '{key}' >/home/admin/.ssh/authorized_keys
chown admin: /home/admin/.ssh/authorized_keys
printf 'AddressFamily inet\\nMaxStartups 100\\nUseDNS no\\n' >/etc/ssh/sshd_config.d/fleet.conf
apt-get -q update""")
        sh(name, LAYOUT.format(kernel=KERNEL))
        for package, version in PACKAGES:
            sh(name, DEB, package, version)
        podman("commit", "--quiet", name, PREPARED)
    finally:
        podman("rm", "--volumes", "--force", "--ignore", "--time", "3", name)


@dataclass
class Fleet:
    """Running hosts by their names in the inventory, and what stroke says of them."""

    state: Path
    addresses: dict[str, str]
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.addresses)

    def container(self, name: str) -> str:
        return f"stroke-fleet-{name}"

    def sh(self, name: str, script: str, *, check: bool = True) -> str:
        return sh(self.container(name), script, check=check)

    def undo(self, names: list[str] | None = None) -> None:
        """Make hosts as they were before the first run."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.sh(name, UNDO), names or self.names))

    def inventory(self, groups: dict[str, list[str]] | None = None, **variables: Any) -> Path:
        options = (f"-o UserKnownHostsFile={self.state}/known_hosts "
                   "-o GlobalKnownHostsFile=/dev/null "
                   "-o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes")  # fmt: skip
        common = {**SETTINGS, "ansible_ssh_private_key_file": os.fspath(self.state / "key"),
                  "ansible_ssh_common_args": options, **variables}  # fmt: skip
        hosts = {name: {"ansible_host": address, **self.more.get(name, {})}
                 for name, address in self.addresses.items()}  # fmt: skip
        children = {group: {"hosts": dict.fromkeys(members, None)}
                    for group, members in (groups or {}).items()}  # fmt: skip
        content = {"all": {"hosts": hosts, "vars": common, "children": children}}
        path = self.state / "hosts.yml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "stroke", *words]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"), "NO_COLOR": "1",
                "XDG_STATE_HOME": os.fspath(self.state / "xdg"), "HOME": os.fspath(self.state),
                "ANSIBLE_TIMEOUT": "60"}  # fmt: skip

    def stroke(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment, cwd=self.state,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)  # fmt: skip


@contextmanager
def fleet(state: Path, number: int) -> Iterator[Fleet]:
    """So many hosts, node-01 and on; they are removed at the end whatever happens."""
    state.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet",
                    "-f", state / "key"], check=True)  # fmt: skip
    prepare((state / "key.pub").read_text(encoding="utf-8").strip())
    names = [f"node-{one:02d}" for one in range(1, number + 1)]
    made = Fleet(state, {})
    try:
        for name in names:
            start(made.container(name), PREPARED)
        for name in names:
            made.addresses[name] = ready(made.container(name))
            made.sh(name, "set -eu\n" + MOUNTS.format(kernel=KERNEL))
        yield made
    finally:
        for name in names:
            podman("rm", "--volumes", "--force", "--ignore", "--time", "3", made.container(name))
        podman("rmi", "--force", "--ignore", PREPARED)
