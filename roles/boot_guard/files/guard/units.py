"""The systemd unit that watches the boots of an open transaction."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import disk
from state import Places

NAME = "stroke-boot-guard.service"
# Wanted by the targets of broken boots too: a system that ends in a rescue shell has to come back.
TARGETS = ("sysinit.target", "rescue.target", "emergency.target")
UNIT = """\
# Managed by stroke (role boot_guard): there while a boot transaction is open.
[Unit]
Description=Return to the last known good system unless this boot proves itself
DefaultDependencies=no
IgnoreOnIsolate=yes
ConditionKernelCommandLine=|stroke.trial
ConditionKernelCommandLine=|stroke.lkg
StartLimitIntervalSec=0

[Service]
ExecStart={python} -B -E -s {code} watch
Restart=on-failure
RestartSec=2
OOMScoreAdjust=-1000
StandardOutput=journal+console
StandardError=journal+console
"""


def links(places: Places) -> list[Path]:
    return [places.units / f"{target}.wants" / NAME for target in TARGETS]


def reload() -> None:
    """Let systemd see what changed; there is none where the files are a test's."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["systemctl", "daemon-reload"], timeout=60, check=False)


def install(places: Places) -> None:
    """The unit first and its links last: a link to nothing would be noise in every boot."""
    text = UNIT.format(python=sys.executable, code="/usr/local/lib/stroke/boot_guard.py")
    disk.write(places.units / NAME, text.encode("utf-8"))
    label(places.units / NAME)
    for link in links(places):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"../{NAME}")
            disk.sync_directory(link.parent)


def reboot() -> None:
    """Ask systemd for it, and do not wait."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["systemctl", "--no-block", "reboot"], timeout=30, check=False)


def stop() -> None:
    """End the watching of this boot; there is no systemd where the files are a test's."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["systemctl", "stop", NAME], timeout=60, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def remove(places: Places) -> None:
    """The unit last: while it is there, the host is known to need tidying up."""
    for link in links(places):
        disk.remove(link)
        with contextlib.suppress(OSError):
            link.parent.rmdir()  # only if nothing else is in it
    disk.remove(places.units / NAME)


def make_menu() -> None:
    """Let the distribution write its boot menu anew."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["update-grub"], timeout=600, check=False, stdout=subprocess.DEVNULL)


def label(*paths: Path) -> None:
    """Give files the SELinux type of their place: other programs read and remove them, too."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["restorecon", "-F", "-R", *paths], timeout=60, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
