"""A fleet for tests: many light hosts on this machine, reached over SSH as real ones are.

Each is a Debian root of its own (an overlay of one that was prepared) with its own mounts,
processes and name, and with sshd and sudo; a port of the loopback interface is its address. There
is no systemd in it: the steps of site.yml that need none are played (TAGS), access to the GPU and
kernel arguments. Everything else is as in production: the login, the lock, the waves.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.container_image import root_tar
from tests.containers import DEB, KERNEL, LAYOUT, PACKAGES, RELEASE

ROOT = Path(__file__).resolve().parents[2]
TAGS = "gpu_access,boot_params"
# What these steps leave on a host, taken away again to have something to do.
UNDO = r"""
rm -f /etc/default/grub.d/90-stroke.cfg /etc/modprobe.d/stroke.conf /sys/module/*/parameters/*
printf 'BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro\n' >/srv/fake/cmdline
id stroke >/dev/null 2>&1 && userdel --force stroke 2>/dev/null
true
"""
# What a reboot would do: the running kernel has the arguments that the loader's files give it.
BOOT = r"""
set -eu
. /etc/default/grub
for file in /etc/default/grub.d/*.cfg; do . "$file"; done
line="$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"
printf 'BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro %s\n' "$line" >/srv/fake/cmdline
for word in $line; do
    case $word in *.*=*)
        name=${word%%=*}
        printf '%s\n' "${word#*=}" >"/sys/module/${name%.*}/parameters/${name#*.}";;
    esac
done
"""
# The layout of a Debian host has a part that is files, and one that is mounted at each start.
AT = LAYOUT.index("mount --bind")
FILES = LAYOUT[:AT] + "printf 'BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro' >/srv/fake/cmdline\n"
START = r"""
set -eu
place=$1 name=$2 port=$3
mount -t overlay overlay \
    -o "lowerdir=$place/../seed,upperdir=$place/upper,workdir=$place/work" "$place/root"
cd "$place/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs sys
mount -t tmpfs tmpfs dev
mkdir -p run/sshd dev/pts sys/module/ttm/parameters sys/module/amdgpu/parameters
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 0666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 0666 dev/tty c 5 0
hostname "$name"
mount --bind srv/fake/osrelease proc/sys/kernel/osrelease
mount --bind srv/fake/cmdline proc/cmdline
chroot . /usr/bin/ssh-keygen -q -A
exec chroot . /usr/sbin/sshd -D -p "$port" -o ListenAddress=127.0.0.1 -o PidFile=none
"""
SETTINGS: dict[str, Any] = {
    "ansible_host": "127.0.0.1",
    "ansible_user": "admin",
    "ansible_python_interpreter": "/usr/bin/python3",
    "stroke_gpu": "gfx1151",
    "stroke_memory_gib": 128,
    "preflight_refuse_containers": False,
    "boot_guard_attended": True,  # no boot loader of theirs is ever asked: nothing here boots
    "rocm_source": "none",
    "inference_server_engine": "llamacpp",
    "inference_server_image": "localhost/engine:1",
    "inference_server_start": False,
    "inference_server_model": "tiny",
    "model_store_models": [{"name": "tiny", "source": "hf:example/tiny"}],
}


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last one is known."""
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in found]


def _run(command: list[str | Path], script: str = "", *, check: bool = True) -> str:
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        said = " ".join(map(str, command))
        raise AssertionError(f"{said}\n{script}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


@dataclass
class Host:
    """One host that runs, or that ran."""

    name: str
    place: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for part in ("root", "upper", "work"):
            (self.place / part).mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "sh", "-c", START,
             "sh", os.fspath(self.place), self.name, str(self.port)],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def wait(self, seconds: float = 60) -> None:
        """Until sshd listens."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
                return
            time.sleep(0.2)
        raise AssertionError(f"{self.name} did not start in {seconds:.0f} s")

    def stop(self) -> None:
        """What pulling the plug does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a shell script as root inside."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        first = children.read_text(encoding="utf-8").split()[0]
        return _run(["nsenter", f"--target={first}", "--mount", "--pid", "--uts", "--root",
                     "--wdns=/", "sh", "-s"], script, check=check)  # fmt: skip


@dataclass
class Fleet:
    """Hosts by their names in the inventory, and what stroke says of them."""

    state: Path
    hosts: dict[str, Host]
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.hosts)

    def undo(self) -> None:
        """Make hosts as they were before the first run."""
        self._everywhere(UNDO, self.names)

    def boot(self, names: list[str] | None = None) -> None:
        """Let hosts run with what was set for the next boot."""
        self._everywhere(BOOT, names or self.names)

    def _everywhere(self, script: str, names: list[str]) -> None:
        running = [self.hosts[name] for name in names if self.hosts[name].process]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda host: host.sh(script), running))

    def inventory(
        self, names: list[str] | None = None, groups: Mapping[str, list[str]] | None = None,
        **variables: Any,
    ) -> Path:  # fmt: skip
        options = (f"-o UserKnownHostsFile={self.state}/known_hosts "
                   "-o GlobalKnownHostsFile=/dev/null "
                   "-o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes")  # fmt: skip
        common = {**SETTINGS, "ansible_ssh_private_key_file": os.fspath(self.state / "key"),
                  "ansible_ssh_common_args": options, **variables}  # fmt: skip
        hosts = {name: {"ansible_port": self.hosts[name].port, **self.more.get(name, {})}
                 for name in names or self.names}  # fmt: skip
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
        """As a person would have it; what is kept between runs is in a directory of its own."""
        return {**os.environ, "PYTHONPATH": os.fspath(ROOT / "tool"), "NO_COLOR": "1",
                "XDG_STATE_HOME": os.fspath(self.state / "xdg"),
                "ANSIBLE_TIMEOUT": "60", "ANSIBLE_PIPELINING": "1"}  # fmt: skip

    def stroke(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment, cwd=self.state,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)  # fmt: skip


def prepare(seed: Path, key: str) -> None:
    """The root that all hosts have in common."""
    seed.mkdir(parents=True)
    _run(["tar", "--extract", "--preserve-permissions", "--numeric-owner",
          "--directory", seed, "--file", root_tar(RELEASE)])  # fmt: skip
    inside: list[str | Path] = ["unshare", "--mount", "chroot", seed, "sh", "-s"]
    _run(
        inside,
        f"""set -eu
install -d -m 0700 -o admin -g admin /home/admin/.ssh
printf '%s\n' '{key}' >/home/admin/.ssh/authorized_keys
chown admin: /home/admin/.ssh/authorized_keys
rm -f /etc/ssh/sshd_config.d/*
printf 'MaxStartups 100\\nUseDNS no\\nUsePAM no\\n' >/etc/ssh/sshd_config.d/fleet.conf
mkdir -p /run/stroke
""",
    )
    _run(inside, FILES.format(kernel=KERNEL))
    for package, version in PACKAGES:
        _run([*inside, "--", package, version], DEB)


@contextmanager
def fleet(state: Path, number: int) -> Iterator[Fleet]:
    """So many hosts, node-01 and on; they are gone at the end whatever happens."""
    state.mkdir(parents=True, exist_ok=True)
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet", "-f", state / "key"])
    prepare(state / "seed", (state / "key.pub").read_text(encoding="utf-8").strip())
    names = [f"node-{one:02d}" for one in range(1, number + 1)]
    ports = dict(zip(names, _free_ports(number), strict=True))
    made = Fleet(state, {name: Host(name, state / name, ports[name]) for name in names})
    try:
        for host in made.hosts.values():
            host.start()
        for host in made.hosts.values():
            host.wait()
        yield made
    finally:
        for host in made.hosts.values():
            host.stop()
            shutil.rmtree(host.place, ignore_errors=True)
        shutil.rmtree(state / "seed", ignore_errors=True)
