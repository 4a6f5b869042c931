"""Runs first in a container: stands in for the firmware, the boot loader and the kernel.

What GRUB would start decides what /proc says of the running system. A word `fault=` on the command
line of the trial says what is wrong with it. Each start is a line in /srv/fake/console.
"""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path

import grub  # type: ignore[import-not-found]  # beside this file in the container

FAKE = Path("/srv/fake")
GUARD = "stroke-boot-guard.service"
TOKENS = ("stroke.trial=", "stroke.lkg=")


def say(sentence: str) -> None:
    with (FAKE / "console").open("a", encoding="utf-8") as handle:
        handle.write(f"{time.time():.0f} {sentence}\n")


def show(name: str, place: str, content: str) -> None:
    (FAKE / name).write_text(content + "\n", encoding="utf-8")
    subprocess.run(["mount", "--bind", FAKE / name, place], check=True)


def main() -> None:
    name, (kernel, _, words) = grub.start(Path("/"))
    with Path(kernel).open("rb") as handle:
        release = handle.read(64).rstrip(b"\0").decode()
    say(f"{name} {release} {words}")
    faults = [word.partition("=")[2] for word in words.split() if word.startswith("fault=")]
    if "panic" in faults:
        time.sleep(1)
        say("Kernel panic - not syncing; rebooting")
        subprocess.run(["systemctl", "reboot", "--force", "--force"], check=True)
        time.sleep(60)
    show("cmdline", "/proc/cmdline", f"BOOT_IMAGE={kernel} {words}")
    show("osrelease", "/proc/sys/kernel/osrelease", release)
    Path("/run/systemd/container").unlink(missing_ok=True)  # a machine has no such word
    show("boot_id", "/proc/sys/kernel/random/boot_id", str(uuid.uuid4()))
    # Its network may outlive the restart of a container, which no machine's does.
    gateway = (FAKE / "gateway").read_text(encoding="utf-8").strip()
    subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
    subprocess.run(["ip", "route", "replace", "default", "via", gateway], check=True)
    if "network" in faults:
        subprocess.run(["ip", "link", "set", "eth0", "down"], check=True)
    if any(token in words for token in TOKENS):
        # In a container systemd takes its own arguments for the kernel's: no condition would hold.
        folder = Path(f"/run/systemd/system/{GUARD}.d")
        folder.mkdir(parents=True)
        (folder / "container.conf").write_text("[Unit]\nConditionKernelCommandLine=\n")
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", "--no-block", GUARD], check=True)


if __name__ == "__main__":
    main()
